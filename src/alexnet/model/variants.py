"""The table of networks: every variant is one frozen value, every difference is one line of it.

Nothing here computes. `network.py` builds whatever the table says and knows no variant by name.
Sources: the paper (sections in brackets) and the authors' released `layers-145.cfg`.
"""

from dataclasses import dataclass, replace
from typing import Literal

WEIGHT_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")

# Section 3.5: normalisation follows the ReLU of layers 1 and 2, pooling follows both, and layer 5.
PAPER_ORDER = (
    *("conv1", "relu1", "norm1", "pool1"),
    *("conv2", "relu2", "norm2", "pool2"),
    *("conv3", "relu3"),
    *("conv4", "relu4"),
    *("conv5", "relu5", "pool5"),
    *("fc6", "relu6", "dropout6"),
    *("fc7", "relu7", "dropout7"),
    "fc8",
)
# layers-145.cfg: the first normalisation sees the linear output of conv1, a same-map
# normalisation follows norm2, and in layers 1 and 5 the ReLU comes after the pooling.
ORIGINAL_ORDER = (
    *("conv1", "norm1", "pool1", "relu1"),
    *("conv2", "relu2", "norm2", "mapnorm2", "pool2"),
    *("conv3", "relu3"),
    *("conv4", "relu4"),
    *("conv5", "pool5", "relu5"),
    *PAPER_ORDER[15:],
)
# CaffeNet pools before it normalises.
CAFFENET_ORDER = (
    *("conv1", "relu1", "pool1", "norm1"),
    *("conv2", "relu2", "pool2", "norm2"),
    *PAPER_ORDER[8:],
)
# The 2014 tower in other libraries: no normalisation, dropout on the *inputs* of fc6 and fc7.
ONE_TOWER_ORDER = (
    *("conv1", "relu1", "pool1"),
    *("conv2", "relu2", "pool2"),
    *("conv3", "relu3"),
    *("conv4", "relu4"),
    *("conv5", "relu5", "pool5", "dropout6"),
    *("fc6", "relu6", "dropout7"),
    *("fc7", "relu7"),
    "fc8",
)


@dataclass(frozen=True)
class Normalization:
    """Local response normalisation, section 3.3: x / (k + alpha * sum of squares)^beta."""

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0
    divide_alpha: bool = False  # True: alpha / size, as in the authors' code, Caffe and torch
    # 2012 (D2): the paper's N is the kernels of the layer; the authors' windows see one column's.
    inside_column: bool = True  # the window never crosses the boundary between the columns


@dataclass(frozen=True)
class Variant:
    """One network, described completely."""

    name: str
    summary: str
    order: tuple[str, ...] = PAPER_ORDER
    columns: int = 2  # conv2, conv4 and conv5 see only the kernel maps of their own column
    exchange: bool = True  # False: conv3, fc6 and fc7 too; the columns meet in fc8 (layers-150.cfg)
    widths: tuple[int, ...] = (96, 256, 384, 384, 256)  # kernels of conv1..conv5, all columns
    hidden: int = 4096  # neurons of fc6 and fc7
    fc6_hidden: int | None = None  # neurons of fc6 where they are not as many
    image_size: int = 224
    # conv1 covers a 224-pixel image with 55 windows only if the last one hangs 3 pixels over the
    # right and bottom edge, as it does in the authors' code; Caffe crops 227 pixels instead.
    conv1_padding: int = 0
    conv1_overhang: bool = True
    conv2_padding: int = 2
    conv5_padding: int = 1
    pooling_window: int = 3  # section 3.4: z = 3 overlaps, because the stride s is 2
    pooling_overhang: bool = True  # partial windows at the edge count (the authors' and Caffe's)
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    normalization: Normalization = Normalization()
    dropout: float = 0.5
    dropout_scaling: Literal["test", "train"] = "test"  # test: outputs x 0.5 at test time (4.2)
    # Standard deviation of each layer's initial weights and its initial biases, conv1..fc8;
    # None: torch's default, uniform in the fan-in.
    # 2012 (D1): the paper says 0.01 for every layer, the authors ran these (layers-145.cfg).
    weight_std: tuple[float, ...] | None = (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)
    bias: tuple[float, ...] | None = (0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0)

    @property
    def weight_layers(self) -> tuple[str, ...]:
        """The names of the layers with weights, in order."""
        return tuple(name for name in WEIGHT_LAYERS if name in self.order)

    @property
    def pooling_stride(self) -> int:
        """Always 2; named for readers of section 3.4."""
        return 2


_PAPER = Variant(
    name="paper",
    summary="the architecture as published, with the authors' initial scales (0.03 in conv3-5)",
)

_VARIANTS = (
    _PAPER,
    replace(
        _PAPER,
        name="paper-literal",
        summary="the paper's initial weights to the letter: N(0, 0.01) in every layer",
        weight_std=(0.01,) * 8,
    ),
    replace(
        _PAPER,
        name="original",
        summary="what the authors ran: net 145 of their released code, exactly",
        order=ORIGINAL_ORDER,
        normalization=Normalization(divide_alpha=True),
    ),
    replace(
        _PAPER,
        # 2012 (D8): net 145-half has net 145's order of stages, and 150 below has it, too.
        name="half",
        summary="one column, the one-GPU net of section 3.2 (layers-145-half.cfg)",
        columns=1,
        widths=(48, 128, 192, 192, 256),
    ),
    replace(
        _PAPER,
        name="no-exchange",
        summary="two columns that meet in fc8 only, nothing else changed",
        exchange=False,
    ),
    replace(
        _PAPER,
        name="no-exchange-150",
        summary="two columns that meet in fc8 only, wider for it, as the authors' net 150",
        exchange=False,
        widths=(96, 320, 384, 384, 256),
        fc6_hidden=8192,
    ),
    *(
        replace(
            _PAPER,
            name=f"without-conv{number}",
            summary=f"section 7's question: the paper's net without its layer conv{number}",
            order=tuple(
                stage for stage in PAPER_ORDER if stage not in (f"conv{number}", f"relu{number}")
            ),
        )
        for number in (3, 4, 5)
    ),
    replace(
        _PAPER,
        name="caffe",
        summary="bvlc_alexnet: 227 pixels, k = 1, normalisation across the columns",
        image_size=227,
        conv1_overhang=False,
        normalization=Normalization(k=1.0, divide_alpha=True, inside_column=False),
        dropout_scaling="train",
        weight_std=(0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
        bias=(0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0),
    ),
    replace(
        _PAPER,
        name="caffenet",
        summary="bvlc_reference_caffenet: as caffe, pooling before normalisation, biases 1",
        order=CAFFENET_ORDER,
        image_size=227,
        conv1_overhang=False,
        normalization=Normalization(k=1.0, divide_alpha=True, inside_column=False),
        dropout_scaling="train",
        weight_std=(0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
    ),
    replace(
        _PAPER,
        name="one-tower",
        summary="the 2014 net that other libraries call AlexNet: one column, no normalisation",
        order=ONE_TOWER_ORDER,
        columns=1,
        widths=(64, 192, 384, 256, 256),
        conv1_padding=2,
        conv1_overhang=False,
        pooling_overhang=False,
        dropout_scaling="train",
        weight_std=None,
        bias=None,
    ),
)

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in _VARIANTS}
