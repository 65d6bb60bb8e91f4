"""The processes that make squares: started anywhere, by anybody."""

import fcntl

import lookalikes
import numpy as np
from lookalikes import pictures
from PIL import Image

from alexnet.data.square_worker import Settings, Squares, make_squares
from alexnet.data.squares import WorkerPool

SETTINGS = Settings(size=16, encoding="raw")
IMAGES = [picture.content for picture in pictures(2010).train[:3]]


def squares_of_another_process() -> Squares:
    with WorkerPool(2, SETTINGS) as pool:
        here = pool._idle.get()  # the last put, this process, is the first to serve
        assert here is None
        return pool.run(IMAGES, with_sums=True)


def assert_right(squares: Squares) -> None:
    expected = make_squares(iter(IMAGES), SETTINGS, with_sums=True)
    assert squares.encoded == expected.encoded
    assert squares.sums is not None
    assert expected.sums is not None
    np.testing.assert_array_equal(squares.sums.pixels, expected.sums.pixels)


def test_the_folder_that_one_stands_in_is_not_executed(tmp_path, monkeypatch):
    (tmp_path / "PIL.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    assert_right(squares_of_another_process())


def test_pipes_may_be_as_small_as_the_system_makes_them(monkeypatch):
    """Beyond 64 MiB of pipes Linux refuses all but root."""

    def refused(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(fcntl, "fcntl", refused)
    assert_right(squares_of_another_process())


def test_images_larger_than_a_pipe_pass():
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    large = lookalikes.jpeg(Image.fromarray(noise))
    assert len(large) > 1 << 19
    with WorkerPool(2, Settings(size=800, encoding="raw")) as pool:
        pool._idle.get()
        (square,) = pool.run([large], with_sums=False).encoded
    assert len(square) > 3 * 800 * 800
