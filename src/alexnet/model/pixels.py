"""What every network here has in common: raw pixels come in, the mean is subtracted inside."""

from typing import Any

import torch
from torch import Tensor, nn

from alexnet.errors import UserError
from alexnet.ops import centered

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
        return centered(images, self.mean, overhang)
