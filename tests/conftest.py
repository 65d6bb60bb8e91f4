"""What every test shares: one thread a worker, tiny data, the shared real data where present."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Tests run side by side; two threads each would fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


# Files that take longest: they begin first, or in the end one worker has a long one to itself.
_LONG = (
    *("test_resume", "test_runs", "test_reproduce", "test_hosts", "test_layouts"),
    *("test_cli", "test_draw", "test_study", "test_peers"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order in which workers should take them, tests of a file as they stand."""
    rank = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(_LONG)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and devkits; a newcomer does not have it."""
    if not SHARED.is_dir():
        pytest.skip("needs the real images of ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 small pictures: noise around red, green and blue."""
    return make_image_folder(tmp_path_factory.mktemp("images"))


@pytest.fixture
def new_image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of its own for a test that changes it."""
    return lambda **options: make_image_folder(tmp_path / "pictures", **options)


def make_image_folder(
    root: Path, classes: tuple[str, ...] = ("blue", "green", "red"), count: int = 20, side: int = 40
) -> Path:
    """root/train/CLASS/*.png and root/val/CLASS/*.png."""
    rng = np.random.default_rng(0)
    for split, images in (("train", count), ("val", count // 2)):
        for channel, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(images):
                pixels = rng.integers(0, 120, (side, side, 3), dtype=np.uint8)
                pixels[..., channel % 3] += 120
                Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return root
