"""The layouts on CUDA: two processes share a card where there is one, NCCL where there are two."""

from typing import Any

import pytest
import torch
from test_layouts import relative, train, whole_logits
from workers import together

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def train_on(device: str, layout: str) -> dict[str, Any]:
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    return train(layout, "fp32", "2012", 3, device)


@pytest.mark.parametrize("layout", ["columns", "data", "hybrid"])
def test_two_processes_are_one(layout: str) -> None:
    (alone,) = together(1, train_on, "cuda", "one")
    ranks = together(2, train_on, "cuda", layout)
    assert relative(whole_logits(ranks, layout), alone["logits"]) < 1e-4
    for name, weight in alone["weights"].items():
        assert relative(ranks[0]["weights"][name], weight) < 1e-4, name
