"""Checkpoints come back to the bit, survive damage to the newest, and never hold a pickle."""

import json
import math
from pathlib import Path

import pytest
import torch

from alexnet.errors import UserError
from alexnet.training.checkpoint import Position, checkpoints, load_checkpoint, save_checkpoint

POSITION = Position(
    step=7,
    validation_errors=[0.9, 0.1 + 0.2, 1 / 3],
    best_error=1 / 3,
    metrics_bytes=123,
    train_seconds=0.1,
    wait_seconds=math.pi,
    images=900,
    left_chance=True,
)


def test_comes_back_to_the_bit(tmp_path: Path) -> None:
    tensors = {
        "weights": torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).to(
            memory_format=torch.channels_last
        ),
        "sums": torch.tensor([1 / 3, math.nan, math.inf, -0.0], dtype=torch.float64),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "count": torch.tensor(5),
    }
    save_checkpoint(tmp_path / "checkpoints", POSITION, tensors)
    loaded = load_checkpoint(tmp_path / "checkpoints")
    assert loaded is not None
    position, found = loaded
    assert position == POSITION
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_holds_tensors_and_json_only(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, POSITION, {"w": torch.zeros(2)})
    content = checkpoints(tmp_path)[0].read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert len(content) == 8 + length + 2 * 4
    assert json.loads(header["__metadata__"]["position"])["step"] == 7


def test_an_older_checkpoint_is_read(tmp_path: Path) -> None:
    """Of it nobody knows whether its loss had left that of guessing: it is not blamed."""
    save_checkpoint(tmp_path, Position(step=3), {"w": torch.zeros(2)})
    (path,) = checkpoints(tmp_path)
    content = path.read_bytes()
    noted = b', \\"left_chance\\": false'
    assert noted in content
    path.write_bytes(content.replace(noted, b" " * len(noted)))
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded[0] == Position(step=3, left_chance=True)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 30, 400):
        save_checkpoint(tmp_path, Position(step=step), {"w": torch.full((2,), float(step))})
    assert [path.name for path in checkpoints(tmp_path)] == [
        "step-00000030.safetensors",
        "step-00000400.safetensors",
    ]
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded[0].step == 400


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    assert load_checkpoint(tmp_path / "absent") is None


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "foreign"])
def test_damage_to_the_newest_leaves_the_one_before(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    for step in (1, 2):
        save_checkpoint(tmp_path, Position(step=step), {"w": torch.full((500,), float(step))})
    newest = checkpoints(tmp_path)[-1]
    if damage == "foreign":
        save_file({"w": torch.zeros(2)}, newest)
    else:
        whole = newest.read_bytes()
        newest.write_bytes({"cut": whole[:-1], "empty": b"", "text": b"hello" * 99}[damage])
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded[0].step == 1
    assert torch.equal(loaded[1]["w"], torch.ones(500))
    assert str(newest) in capsys.readouterr().err


def test_two_good_checkpoints_are_kept_after_damage(tmp_path: Path) -> None:
    """A damaged file is worth nothing: it must not count as one of the two that are kept."""
    for step in (10, 20):
        save_checkpoint(tmp_path, Position(step=step), {"w": torch.zeros(2)})
    checkpoints(tmp_path)[-1].write_bytes(b"damaged")
    load_checkpoint(tmp_path)
    for step in (12, 14):
        save_checkpoint(tmp_path, Position(step=step), {"w": torch.zeros(2)})
    (tmp_path / "step-00000014.safetensors").write_bytes(b"damaged again")
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded[0].step == 12


def test_nothing_but_damage_is_a_user_error(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, POSITION, {"w": torch.zeros(2)})
    checkpoints(tmp_path)[0].write_bytes(b"damaged")
    for _ in range(2):  # or the second try would begin anew, over what is left of the run
        with pytest.raises(UserError, match="none of the checkpoints"):
            load_checkpoint(tmp_path)


def test_a_file_that_cannot_be_opened_now_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(24, "Too many open files")

    save_checkpoint(tmp_path, POSITION, {"w": torch.zeros(2)})
    with monkeypatch.context() as patch:
        patch.setattr("alexnet.training.checkpoint.safe_open", refuse)
        with pytest.raises(UserError, match="Too many open files"):
            load_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path) is not None


def test_half_written_files_are_swept_up(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, POSITION, {"w": torch.zeros(2)})
    half = tmp_path / ".step-00000008.safetensors.99.part"
    half.write_bytes(b"half")
    assert load_checkpoint(tmp_path) is not None
    assert not half.exists()
