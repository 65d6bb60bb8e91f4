"""Which batch fits and is fastest, measured by training on made-up pixels."""

from dataclasses import replace

import torch

from alexnet.config import Config
from alexnet.data.sources import open_source
from alexnet.tuning.budget import measure_costs

_SIZES = (16, 32, 64, 128, 256, 512)


def speeds(config: Config) -> dict[int, float]:
    """Training speed in images/s at each batch size that fits into memory, the smallest first."""
    source = open_source(config.data.source, validation_fraction=config.data.validation_fraction)
    measured: dict[int, float] = {}
    for size in _SIZES:
        if size > len(source.train):
            break
        tried = replace(config, train=replace(config.train, batch_size=size))
        try:
            measured[size] = size / measure_costs(tried, source).step
        except (torch.OutOfMemoryError, MemoryError):
            break
        best = max(measured.values())
        if len(measured) > 2 and measured[size] < 0.9 * best:
            break  # larger ones only get slower
    return measured


def fastest(measured: dict[int, float]) -> int:
    """The smallest batch within 5 % of the highest speed: smaller batches learn faster."""
    best = max(measured.values())
    return min(size for size, speed in measured.items() if speed >= 0.95 * best)
