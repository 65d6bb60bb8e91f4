"""The parts that may follow a convolution, and their constants."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Which parts there are and their constants, in the order in which they are applied.

    Attributes:
        relu: negative activations become 0.
        size: maps in the window of normalisation, odd; 0 leaves it out.
        alpha, beta, k: its constants, alpha not to be divided any more.
        columns: equal groups of maps that are normalised separately.
        window: side of the window of max pooling, pixels; 0 leaves it out.
        stride: of max pooling, pixels.
        ceil_mode: windows may hang over the right and bottom edge.
    """

    relu: bool = True
    size: int = 0
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0
    columns: int = 1
    window: int = 0
    stride: int = 2
    ceil_mode: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError where the window of normalisation has no middle."""
        if self.size and self.size % 2 == 0:
            raise ValueError(f"size must be odd, not {self.size}")
