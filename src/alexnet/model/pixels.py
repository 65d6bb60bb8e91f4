"""What every network here has in common: raw pixels come in, the mean is subtracted inside."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.errors import UserError
from alexnet.ops import centered
from alexnet.ops.eager import is_eager

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class PixelNetwork(nn.Module):
    """A network for square images of one size.

    Args:
        num_classes: outputs of the last layer.
        side: of the images in pixels.
        channel_means: of the training images, RGB, 0..255; replaced when training begins.
        stored_size: as the attribute.

    Raises:
        UserError: there is no class.

    Attributes:
        mean: (3, S, S), the subtracted mean in pixel units.
        classes: the names of the classes.
        stored_size: side of the square that images are brought to before cropping, in pixels.
        training_data: what the weights file says of the data; empty for a new network.
    """

    mean: Tensor
    _range_is_known = False  # whether a batch has shown in what range its pixels are

    def __init__(
        self,
        num_classes: int,
        side: int,
        channel_means: tuple[float, float, float],
        stored_size: int,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"num_classes must be at least 1, not {num_classes}")
        self.num_classes = num_classes
        self.classes = tuple(str(index) for index in range(num_classes))
        self.stored_size = stored_size
        self.training_data: dict[str, Any] = {}
        # Copied, not cloned: on the meta device, where weights are loaded, that would load sympy.
        mean = torch.empty(3, side, side).copy_(torch.tensor(channel_means)[:, None, None])
        self.register_buffer("mean", mean)

    def _centered(self, images: Tensor, overhang: int = 0) -> Tensor:
        """(N, 3, S, S) of any type, 0..255 -> without the mean, as `centered` gives it."""
        if images.shape[1:] != self.mean.shape:
            side = self.mean.shape[-1]
            raise ValueError(
                f"images must be (N, 3, {side}, {side}) for this network, not {tuple(images.shape)}"
            )
        if is_eager(images) and not self._range_is_known:
            self._look_at_range(images)
        return centered(images, self.mean, overhang)

    def _look_at_range(self, images: Tensor) -> None:
        """Warn of pixels in 0..1, as other libraries hand them out: here they are all but black.

        Only until one batch has told, and never where the processor would wait for a GPU.
        """
        if not images.is_floating_point() or images.device.type != "cpu" or not images.numel():
            return
        largest = float(images.detach().max())
        self._range_is_known = largest > 0.0
        if 0.0 < largest <= 1.0:
            warnings.warn(
                f"no pixel is above {largest:g}: this network takes RGB in 0..255, not in 0..1",
                stacklevel=2,
            )
