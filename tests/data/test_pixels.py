"""Wherever pixels live, the same samples and views give the same squares."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.config import AugmentConfig
from alexnet.data.augment import IMAGENET_COMPONENTS
from alexnet.data.batches import TrainingFeed, training_batches
from alexnet.data.images import load_square
from alexnet.data.loading import Place, choose_place, load_images
from alexnet.data.pixels import ImageSet
from alexnet.data.prepare import prepare
from alexnet.data.sources import open_source
from alexnet.data.yuv import rgb_from_yuv, yuv_from_rgb
from alexnet.errors import UserError

CPU = torch.device("cpu")
SIZE = 72


def opened(folder: Path, kind: str) -> ImageSet:
    images, _ = load_images(open_source(str(folder)).train, Place(kind, CPU, SIZE, 3), "")
    return images


@pytest.mark.parametrize("kind", ["host", "stream", "device"])
def test_cut_is_the_slice_of_the_decoded_square(image_folder: Path, kind: str) -> None:
    split = open_source(str(image_folder)).train
    images = opened(image_folder, kind)
    samples = [5, 0, 59, 5]
    views = [(0, 0, False), (8, 3, True), (4, 4, False), (1, 8, True)]
    found = images.store.cut(samples, views, 64)
    assert found.shape == (4, 3, 64, 64)
    assert found.dtype == torch.uint8
    assert found.is_contiguous(memory_format=torch.channels_last)
    for row, sample, (top, left, mirrored) in zip(found, samples, views, strict=True):
        square = load_square(split.read(sample), SIZE)[top : top + 64, left : left + 64]
        expected = square[:, ::-1] if mirrored else square
        np.testing.assert_array_equal(row.permute(1, 2, 0).numpy(), expected)


def batches(images: ImageSet, workers: int) -> list[torch.Tensor]:
    """Everything the network would see in two epochs."""
    augment = AugmentConfig(color="original")
    feed = TrainingFeed(images, IMAGENET_COMPONENTS, augment, 64, batch_size=16, seed=3)
    mean = torch.full((3, 64, 64), 120.0)
    made = training_batches(feed, 0, 2 * feed.steps_per_epoch, workers)
    return [tensor for batch in made for tensor in (batch.colored(mean), batch.labels)]


@pytest.mark.parametrize("kind", ["stream", "device"])
def test_training_sees_the_same_from_every_place(image_folder: Path, kind: str) -> None:
    expected = batches(opened(image_folder, "host"), workers=1)
    found = batches(opened(image_folder, kind), workers=4)
    assert len(found) == len(expected) == 16
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_take_and_picture_agree(image_folder: Path) -> None:
    for kind in ("host", "stream", "device"):
        store = opened(image_folder, kind).store
        whole = store.take(7, 9).cut([1], [(0, 0, False)], SIZE)[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(whole, store.picture(8))


def test_half_the_memory_keeps_colours_close(image_folder: Path) -> None:
    """4:2:0 rounds, and shares colour among four pixels: smooth pictures hardly change."""
    ramp = np.linspace(0, 255, 64)[:, None, None] * np.array([1.0, 0.5, 0.8])
    smooth = torch.from_numpy(np.broadcast_to(ramp, (64, 64, 3)).astype(np.uint8))[None]
    luma, chroma = yuv_from_rgb(smooth)
    assert luma.numel() + chroma.numel() == smooth.numel() // 2
    spread = chroma.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    back = rgb_from_yuv(luma, spread)
    assert (back.int() - smooth.int()).abs().max() <= 4
    grey = smooth[..., :1].expand(-1, -1, -1, 3)
    luma, chroma = yuv_from_rgb(grey)
    spread = chroma.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    assert torch.equal(rgb_from_yuv(luma, spread), grey)
    planes = opened(image_folder, "device-yuv").store
    cut = planes.cut([3, 4], [(1, 1, True), (0, 5, False)], 64)
    assert cut.shape == (2, 3, 64, 64)


def test_known_colours_in_yuv() -> None:
    """JFIF's own corners: white, black, and the primaries."""
    colours = torch.tensor([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    images = colours.to(torch.uint8)[:, None, None].expand(5, 2, 2, 3)
    luma, chroma = yuv_from_rgb(images)
    assert luma[:, 0, 0].tolist() == [255, 0, 76, 150, 29]
    assert chroma[:, 0, 0].tolist() == [[128, 128], [128, 128], [85, 255], [44, 21], [255, 107]]


def test_a_prepared_set_streams_without_a_pass(image_folder: Path, tmp_path: Path) -> None:
    """Nothing is read before the first batch: opening is instant at any size."""
    prepare(image_folder, tmp_path / "set", size=SIZE, encoding="raw", workers=1)
    source = open_source(str(tmp_path / "set"))
    place = Place("stream", CPU, SIZE, 2)
    images, sums = load_images(source.train, place, "", trusted=True)
    assert sums is None
    assert source.statistics is not None
    direct = opened(image_folder, "host")
    for index in (0, 31, 59):
        np.testing.assert_array_equal(images.store.picture(index), direct.store.picture(index))


def test_an_image_that_goes_away_is_one_line(image_folder: Path, tmp_path: Path) -> None:
    import shutil

    pictures = tmp_path / "pictures"
    shutil.copytree(image_folder, pictures)
    images = opened(pictures, "stream")
    (pictures / images.keys[2]).unlink()
    with pytest.raises(UserError, match=images.keys[2]):
        images.store.cut([2], [(0, 0, False)], 64)


def test_bad_images_are_left_out_wherever_pixels_live(image_folder: Path, tmp_path: Path) -> None:
    import shutil

    pictures = tmp_path / "pictures"
    shutil.copytree(image_folder, pictures)
    key = open_source(str(pictures)).train.keys[7]
    (pictures / key).write_bytes(b"")
    for kind in ("host", "stream", "device", "device-yuv"):
        images = opened(pictures, kind)
        assert images.skipped == [(key, "empty file")]
        assert len(images) == 59
        assert key not in images.keys
        assert images.store.picture(58).shape == (SIZE, SIZE, 3)


def test_the_place_is_chosen_by_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.loading.device_budget", lambda device: 1000 * 12)
    monkeypatch.setattr("alexnet.data.loading.host_budget", lambda: 10_000 * 12)
    cuda = torch.device("cuda")
    kinds = [choose_place(n, cuda, 2, 2).kind for n in (1000, 1500, 2001, 10_000, 10_001)]
    assert kinds == ["device", "device-yuv", "host", "host", "stream"]
    assert choose_place(1, cuda, 2, 2, wanted="stream").kind == "stream"


def test_half_colours_are_for_even_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.loading.device_budget", lambda device: 2 * 65 * 65)
    monkeypatch.setattr("alexnet.data.loading.host_budget", lambda: 10 * 65 * 65)
    assert [choose_place(1, CPU, size, 2).kind for size in (64, 65)] == ["device-yuv", "host"]
    with pytest.raises(UserError, match=r"device-yuv needs an even data\.size, not 65"):
        choose_place(1, CPU, 65, 2, wanted="device-yuv")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["host", "stream", "device"])
def test_a_gpu_sees_what_a_cpu_sees(image_folder: Path, kind: str) -> None:
    gpu, split = torch.device("cuda"), open_source(str(image_folder)).train
    on_gpu, _ = load_images(split, Place(kind, gpu, SIZE, 3), "")
    feeds = [
        TrainingFeed(images, IMAGENET_COMPONENTS, AugmentConfig(color="original"), 64, 16, seed=3)
        for images in (opened(image_folder, "host"), on_gpu)
    ]
    mean = torch.full((3, 64, 64), 120.0)
    steps = feeds[0].steps_per_epoch
    for cpu, other in zip(*(training_batches(feed, 0, steps, 2) for feed in feeds), strict=True):
        assert kind == "device" or other.images.is_pinned()
        there = other.to(gpu)
        torch.testing.assert_close(there.images.cpu(), cpu.images, atol=0, rtol=0)
        torch.testing.assert_close(there.colored(mean.to(gpu)).cpu(), cpu.colored(mean))
