"""Pictures to measure with: as large and as detailed as photographs, made from nothing."""

from pathlib import Path

import numpy as np
from PIL import Image

_CLASSES = 4


def make_pictures(folder: Path, count: int, width: int = 500, height: int = 375) -> Path:
    """Write folder/CLASS/*.jpg, about 100 kB each at the usual size of ILSVRC photographs."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class{number % _CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        _picture(rng, width, height).save(place / f"{number:05d}.jpg", quality=92)
    return folder


def _picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Noise at every scale, weaker the finer it is, as in photographs."""
    total = np.full((height, width, 3), 128.0)
    for cells in (2, 4, 8, 16, 32, 64, 128):
        coarse = rng.normal(0.0, 1.0, (cells, cells, 3)) * [1.0, 0.9, 1.1]
        grey = coarse.mean(axis=2, keepdims=True)
        values = np.clip(128 + 60 * (grey + 0.3 * coarse), 0, 255).astype(np.uint8)
        layer = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(layer, dtype=np.float64) - 128) * 2.0 / cells**0.5
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))
