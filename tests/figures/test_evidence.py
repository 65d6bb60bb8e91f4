"""Evidence maps of networks so simple that the maps are known."""

import numpy as np
import torch
from torch import Tensor, nn

from alexnet.evaluation.evaluate import Evaluation
from alexnet.figures.evidence import gradient_map, occlusion_map
from alexnet.figures.subject import choose


class TopLeft(nn.Module):
    """Class 1 is bright in the upper left quarter; nothing else counts."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.mean = torch.full((3, side, side), 100.0)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        half = self.side // 2
        evidence = (x - self.mean)[:, 1, :half, :half].mean((1, 2)) / 10
        return torch.stack([torch.zeros_like(evidence), evidence], 1)


def test_hiding_matters_only_where_the_network_looks() -> None:
    model = TopLeft(40)
    patch = torch.full((1, 3, 40, 40), 150, dtype=torch.uint8)
    found = occlusion_map(model, patch, 1)  # type: ignore[arg-type]
    assert found.shape == (40, 40)
    assert (found[:19, :19] > 0).all()
    assert np.abs(found[28:, 28:]).max() < 1e-7
    # A square of 8x8 wholly inside hides 64 of 400 places: 5 falls to 5 x 336 / 400.
    sigmoid = [1 / (1 + np.exp(-value)) for value in (5.0, 5.0 * 336 / 400)]
    np.testing.assert_allclose(found[5, 5], sigmoid[0] - sigmoid[1], atol=1e-6)
    np.testing.assert_allclose(occlusion_map(model, patch, 0), -found, atol=1e-6)  # type: ignore[arg-type]


def test_gradient_times_input_of_a_linear_network() -> None:
    """It is weight times distance from the mean; the blur keeps its sum away from the edge."""
    model = TopLeft(40)
    patch = torch.full((1, 3, 40, 40), 100, dtype=torch.uint8)
    patch[0, 1, 10, 10] = 140
    found = gradient_map(model, patch, 1)  # type: ignore[arg-type]
    assert np.unravel_index(found.argmax(), found.shape) == (10, 10)
    np.testing.assert_allclose(found.sum(), 40 / 10 / 400, rtol=1e-5)
    np.testing.assert_allclose(found[10, 10 - 2], found[10 + 2, 10], rtol=1e-5)


def test_images_are_chosen_by_the_rule() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    own = np.array([0.9, 0.8, 0.2, 0.7, 0.4, 0.3])
    probabilities = np.stack(
        [np.where(labels == 0, own, 1 - own), np.where(labels == 1, own, 1 - own)], 1
    )
    measured = Evaluation(probabilities.astype(np.float32), labels, list("abcdef"), ("x", "y"), 1)
    # Class 0, right: 0.8 and 0.9, the upper middle; class 1, wrong: 0.3 and 0.4.
    assert choose(measured, 2).tolist() == [0, 4]
    assert len(set(choose(measured, 6).tolist())) == 6


def test_every_second_image_is_a_mistake_whatever_class_has_them() -> None:
    """Of ten classes only the even ones have mistakes, and every class gets both kinds in turn."""
    labels = np.repeat(np.arange(10), 20)
    said = labels.copy()
    said[::4] = np.where(labels[::4] % 2 == 0, (labels[::4] + 1) % 10, labels[::4])
    measured = Evaluation(
        np.eye(10, dtype=np.float32)[said] * 0.8 + 0.02, labels, list(map(str, labels)), (), 1
    )
    chosen = choose(measured, 20)
    assert (said[chosen] != labels[chosen]).tolist() == [False, True] * 5 + [True, False] * 5
    assert len(set(chosen.tolist())) == 20
