"""The kernel for dropout masks draws the bits of the tensor operations."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from alexnet.draws import sample_keys
from alexnet.ops import dropout_mask
from alexnet.ops.dropout import fused_dropout_mask

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module", autouse=True)
def kernels() -> Iterator[None]:
    """Import the kernel, to be interpreted where there is no GPU."""
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":
            patch.setenv("TRITON_INTERPRET", "1")
        from alexnet.ops import dropout_triton  # noqa: F401

        yield


@pytest.mark.parametrize(
    ("images", "units", "probability", "first_unit"),
    [(3, 4096, 0.5, 0), (3, 2048, 0.5, 2048), (5, 37, 0.3, 16), (2, 8, 0.0, 0), (2, 9, 1.0, 0)],
)
def test_same_bits(images: int, units: int, probability: float, first_unit: int) -> None:
    keys = torch.from_numpy(sample_keys(7, 3, np.arange(images)))
    expected = dropout_mask(keys, units, probability, 6, first_unit)
    threshold = round(probability * 2**16)
    mine = fused_dropout_mask(keys.to(DEVICE), units, threshold, 6, first_unit).cpu()
    assert mine.dtype == torch.bool
    assert torch.equal(mine, expected)


def test_no_images() -> None:
    keys = torch.empty(0, 2, dtype=torch.int64, device=DEVICE)
    assert fused_dropout_mask(keys, 16, 2**15, 6, 0).shape == (0, 16)
