"""Which batch fits and is fastest, measured by training on made-up pixels."""

from dataclasses import replace

from alexnet.config import Config
from alexnet.data.sources import open_source
from alexnet.errors import OutOfMemoryError, UserError, within_memory
from alexnet.tuning.budget import measure_costs

_SIZES = (16, 32, 64, 128, 256, 512)


def speeds(config: Config) -> dict[int, float]:
    """Training speed in images/s at each batch size that fits into memory, the smallest first.

    Raises:
        UserError: not even the smallest fits.
    """
    source = open_source(config.data.source, validation_fraction=config.data.validation_fraction)
    images = len(source.train)
    measured: dict[int, float] = {}
    for size in (min(_SIZES[0], images), *(size for size in _SIZES[1:] if size <= images)):
        tried = replace(config, train=replace(config.train, batch_size=size))
        try:
            with within_memory():
                measured[size] = size / measure_costs(tried, source).step
        except OutOfMemoryError:
            break
        if len(measured) > 2 and measured[size] < 0.9 * max(measured.values()):
            break  # larger ones only get slower
    if not measured:
        raise UserError("the memory does not hold the smallest batch; use a smaller model.width")
    return measured


def fastest(measured: dict[int, float]) -> int:
    """The smallest batch within 5 % of the highest speed: smaller batches learn faster."""
    best = max(measured.values())
    return min(size for size, speed in measured.items() if speed >= 0.95 * best)
