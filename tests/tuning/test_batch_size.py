"""Which batch sizes are measured, and which is chosen."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alexnet.config import Config, override
from alexnet.data.sources import open_source
from alexnet.errors import UserError
from alexnet.tuning import batch_size
from alexnet.tuning.batch_size import fastest, speeds
from alexnet.tuning.budget import measure_costs


def tried(
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    most: int = 10**9,
    error: Exception = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),  # noqa: B008 (is not changed)
) -> list[int]:
    """The sizes that are measured where batches up to a size fit."""
    sizes: list[int] = []

    def measure(config: Config, source: Any) -> Any:
        if config.train.batch_size > most:
            raise error
        sizes.append(config.train.batch_size)
        return SimpleNamespace(step=0.1)

    monkeypatch.setattr(batch_size, "measure_costs", measure)
    speeds(config)
    return sizes


def test_a_few_images_are_one_batch(
    new_image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = override(Config(), [f"data.source={new_image_folder(count=3)}"])
    assert tried(few, monkeypatch) == [9]


def test_sizes_grow_while_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(Config(), monkeypatch) == [16, 32, 64, 128, 256, 512]
    assert tried(Config(), monkeypatch, most=100) == [16, 32, 64]
    on_a_processor = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")
    assert tried(Config(), monkeypatch, most=100, error=on_a_processor) == [16, 32, 64]
    with pytest.raises(UserError, match="smallest batch"):
        tried(Config(), monkeypatch, most=8)


def test_the_smallest_near_the_fastest_is_chosen() -> None:
    assert fastest({16: 90.0, 32: 140.0, 64: 141.0}) == 32


def test_a_net_for_small_images_is_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.tuning.budget._MEASURED_SECONDS", 0.0)
    config = override(Config(), ["model.variant=cifar-18", "train.device=cpu", "data.size=32"])
    config = replace(config, train=replace(config.train, batch_size=4))
    assert measure_costs(config, open_source("digits")).step > 0
