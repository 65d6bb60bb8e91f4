"""Why the published initial scale of 0.01 drowns the image (reference, section 1.6).

The signal of a layer is how much its activations differ between images: their standard deviation
over images, relative to their root mean square. With weights of 0.01 everywhere the biases of 1
are nearly all that reaches the last layer; the authors' 0.03 in conv3-5 keeps twelve times more.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet.data.images import load_square
from alexnet.model.network import AlexNet


def photographs(folder: Path, count: int) -> Tensor:
    """Central 224x224 of photographs of all ten classes, (count, 3, 224, 224) uint8."""
    files = sorted(folder.rglob("*.JPEG"))
    chosen = files[:: len(files) // count][:count]
    return stacked([load_square(file.read_bytes(), 256)[16:240, 16:240] for file in chosen])


def generated(count: int) -> Tensor:
    """Pictures with the spectrum (1/f), contrast and brightness of photographs."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(224)[:, None], np.fft.rfftfreq(224)[None, :])
    frequency[0, 0] = np.inf
    pictures = []
    for _ in range(count):
        noise = rng.normal(size=(3, *frequency.shape)) + 1j * rng.normal(size=(3, *frequency.shape))
        channels = np.fft.irfft2(noise / frequency, s=(224, 224))
        picture = 0.9 * channels[:1] + 0.35 * channels  # mostly grey
        picture = 116 + 30 * rng.normal() + 65 * picture / picture.std()
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    return stacked(pictures)


def stacked(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


@torch.inference_mode()
def signal(model: AlexNet, images: Tensor, stage: str) -> float:
    activations = model.activations(images)[stage]
    deviation = activations.std(0).square().mean().sqrt()
    return float(deviation / activations.square().mean().sqrt())


@pytest.fixture(scope="module", params=["photographs", "generated"])
def images(request: pytest.FixtureRequest) -> Tensor:
    if request.param == "generated":
        return generated(16)
    folder: Path = request.getfixturevalue("shared_data") / "imagenette-mini" / "val"
    return photographs(folder, 30)


def test_pixels_enter_in_units_of_grey_levels(images: Tensor, paper_network: AlexNet) -> None:
    """The scale that the initial weights are made for: mean-free pixels of rms 60 to 80."""
    centred = images - paper_network.mean
    assert 60 < centred.square().mean().sqrt() < 80


def test_signal_at_initialisation(
    images: Tensor, paper_network: AlexNet, literal_network: AlexNet
) -> None:
    """On photographs the reference has 0.12 for net 145 and 0.0095 for the paper's letter."""
    paper = signal(paper_network, images, "fc8")
    literal = signal(literal_network, images, "fc8")
    assert 0.06 < paper < 0.2
    assert 0.005 < literal < 0.015
    assert paper / literal > 8


def test_signal_is_lost_in_conv3_to_conv5(
    images: Tensor, paper_network: AlexNet, literal_network: AlexNet
) -> None:
    """Until conv3 both are the same; there the scales begin to differ."""
    few = images[:8]
    for stage in ("pool1", "pool2"):
        paper, literal = (signal(net, few, stage) for net in (paper_network, literal_network))
        assert paper == pytest.approx(literal, rel=1e-5)
    assert signal(paper_network, few, "conv5") > 5 * signal(literal_network, few, "conv5")
    assert signal(paper_network, few, "relu6") > 5 * signal(literal_network, few, "relu6")


def test_pixels_of_unit_variance_drown_in_any_variant(
    images: Tensor, paper_network: AlexNet, literal_network: AlexNet
) -> None:
    """The common port: input divided by its standard deviation, initial weights unchanged."""
    few = images[:8]
    centred = few - paper_network.mean
    scaled = paper_network.mean + centred / centred.std()
    assert signal(paper_network, scaled, "fc8") < 0.01
    assert signal(literal_network, scaled, "fc8") < 0.0005
    assert signal(paper_network, few, "fc8") > 10 * signal(paper_network, scaled, "fc8")
