"""Operations worth a fast path: one public function each, held to one plain reference."""

from alexnet.ops.centering import centered
from alexnet.ops.convolution import convolution
from alexnet.ops.dropout import dropout_mask
from alexnet.ops.local import local_convolution
from alexnet.ops.lrn import local_response_norm, local_response_norm_reference
from alexnet.ops.mapnorm import same_map_norm
from alexnet.ops.narrow import narrow
from alexnet.ops.parts import Stage
from alexnet.ops.stage import run_stage, run_stage_by_parts

__all__ = [
    "Stage",
    "centered",
    "convolution",
    "dropout_mask",
    "local_convolution",
    "local_response_norm",
    "local_response_norm_reference",
    "narrow",
    "run_stage",
    "run_stage_by_parts",
    "same_map_norm",
]
