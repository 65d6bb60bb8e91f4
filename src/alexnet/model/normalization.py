"""Section 3.3 as modules."""

from torch import Tensor, nn

from alexnet.model.variants import Normalization
from alexnet.ops import local_response_norm, same_map_norm


class LocalResponseNorm(nn.Module):
    """Section 3.3, inside each column."""

    def __init__(self, constants: Normalization, columns: int) -> None:
        super().__init__()
        self.constants = constants
        self.columns = columns if constants.inside_column else 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        c = self.constants
        return local_response_norm(x, c.size, c.alpha, c.beta, c.k, c.divide_alpha, self.columns)


class SameMapNorm(nn.Module):
    """The authors' additional normalisation after norm2 (layers-145.cfg, cnorm2a)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        return same_map_norm(x)
