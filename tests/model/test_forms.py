"""The choice of forms: measured once, checked against float32, remembered."""

from collections.abc import Iterator
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
    assert chosen == {"conv1": "plain", "conv2": "split", "conv4": "split", "conv5": "split"}
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
