"""The choice of forms: measured once, checked against float32, remembered."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from alexnet import AlexNet
from alexnet.errors import UserError
from alexnet.model import forms as module
from alexnet.model.changes import resized
from alexnet.model.forms import choose_forms, use_forms
from alexnet.model.variants import VARIANTS

_TINY = resized(VARIANTS["paper"], 0.1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """Seconds that each form is said to take."""
    said = {"plain": 1.0, "split": 0.5}
    monkeypatch.setattr(module, "_seconds", lambda case, form, *rest: said[form])
    monkeypatch.setattr(
        module,
        "_candidates",
        lambda case, device: ("plain", "split") if case.groups > 1 else ("plain",),
    )
    return said


def test_the_fastest_is_chosen_and_remembered(times: dict[str, float]) -> None:
    model = AlexNet(_TINY, 5)
    chosen = choose_forms(model, torch.float32)
    plain, split = dict.fromkeys(("conv1", "conv3"), "plain"), ("conv2", "conv4", "conv5")
    assert chosen == plain | dict.fromkeys(split, "split")
    times["split"] = 2.0
    assert choose_forms(model, torch.float32) == chosen


def test_a_processor_keeps_the_plain_form_whatever_it_measures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_seconds", lambda case, form, *rest: float(form == "plain"))
    assert set(choose_forms(AlexNet(_TINY, 5), torch.float32).values()) == {"plain"}


def test_a_small_gain_is_not_worth_leaving_the_plain_form(times: dict[str, float]) -> None:
    times["split"] = 0.99
    assert set(choose_forms(AlexNet(_TINY, 5), torch.float32).values()) == {"plain"}


def test_a_damaged_memory_is_measured_anew(times: dict[str, float], tmp_path: Path) -> None:
    model = AlexNet(_TINY, 5)
    choose_forms(model, torch.float32)
    (tmp_path / "cache" / "forms.json").write_text("{")
    assert choose_forms(model, torch.float32)["conv2"] == "split"


def test_a_wrong_form_is_never_used_and_a_wrong_plain_one_is_an_error(
    times: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = module.convolution

    def broken(form_that_lies: str):  # type: ignore[no-untyped-def]
        def lie(x: Tensor, weight: Tensor, *rest: object) -> Tensor:
            wrong = rest[-1] == form_that_lies and x.dtype == torch.bfloat16
            return right(x, weight, *rest) * (1.1 if wrong else 1.0)  # type: ignore[arg-type]

        return lie

    monkeypatch.setattr(module, "convolution", broken("split"))
    assert set(choose_forms(AlexNet(_TINY, 5), torch.bfloat16).values()) == {"plain"}
    monkeypatch.setattr(module, "convolution", broken("plain"))
    with pytest.raises(UserError, match="use --precision fp32"):
        choose_forms(AlexNet(resized(VARIANTS["paper"], 0.2), 5), torch.bfloat16)


def test_a_network_in_other_forms_gives_the_same_logits() -> None:
    model = AlexNet(_TINY, 5).eval()
    images = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    plain = model(images)
    use_forms(model, {"conv1": "blocks", "conv2": "split", "conv4": "dense", "conv5": "split"})
    torch.testing.assert_close(model(images), plain, rtol=1e-4, atol=1e-4)


def test_a_form_that_a_layer_does_not_have_is_passed_over() -> None:
    """Another layout may have chosen it: a column's convolutions are not grouped."""
    column = AlexNet(replace(_TINY, columns=1), 5)
    use_forms(column, {"conv1": "blocks", "conv2": "split", "fc6": "plain", "conv9": "plain"})
    assert (column.conv1.form, column.conv2.form) == ("blocks", "plain")


def test_a_convolution_of_one_form_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As conv3, and every one of the one-tower net after conv1."""
    right = module.convolution

    def broken(x: Tensor, weight: Tensor, *rest: object) -> Tensor:
        y = right(x, weight, *rest)  # type: ignore[arg-type]
        return y * 1.1 if x.dtype == torch.bfloat16 and weight.shape[-1] == 3 else y

    monkeypatch.setattr(module, "convolution", broken)
    model = AlexNet(resized(VARIANTS["one-tower"], 0.1), 5)
    with pytest.raises(UserError, match="conv3 gives wrong results"):
        choose_forms(model, torch.bfloat16)


def test_a_measurement_only_convolves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, cast or sent to the device while the clock runs."""
    case = module._cases(AlexNet(_TINY, 5))["conv2"]
    passed = module._draw(case)
    for name in ("randn", "Generator"):
        monkeypatch.setattr(torch, name, None)
    for name in ("to", "cpu", "cuda"):
        monkeypatch.setattr(Tensor, name, None)
    assert module._seconds(case, "split", passed) > 0


def test_on_a_gpu_its_own_clock_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            done.append("record")

        def synchronize(self) -> None:
            done.append("synchronize")

        def elapsed_time(self, end: "Event") -> float:
            return 250.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    seconds = module._time(lambda: done.append("work"), torch.device("cuda", 0))
    assert seconds == 0.25
    assert done == ["record", "work", "record", "synchronize"]


def test_more_images_for_the_clock_are_the_same_ones_again() -> None:
    drawn = module._draw(module._cases(AlexNet(_TINY, 5))["conv4"])
    many = drawn.repeated(3)
    assert torch.equal(many.x[2:4], drawn.x)
    assert len(many.x) == len(many.gradient) == 6
    assert many.x.is_contiguous(memory_format=torch.channels_last)
    assert many.gradient.is_contiguous(memory_format=torch.channels_last)
