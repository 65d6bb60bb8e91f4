"""The memory of a training step, computed before anything is allocated."""

from dataclasses import dataclass

from alexnet.model.layers import layer_table
from alexnet.model.variants import Variant
from alexnet.planning.kept import Fusion, StageMemory, kept_by_stage

_BYTES_OF_WEIGHT = 4  # float32 in both precisions
_BYTES_OF_ACTIVATION = {"fp32": 4, "bf16": 2}
_BYTES_OF_NARROW_GRADIENT = 2
# Of the activations: the gradient of conv1's output, which is made while all that it needs is still
# there, is 0.29 of them; the rest, and the share of the weights, is what convolutions reorder.
# Measured on two cores with AVX2 and with AVX-512, a quarter of the width and all of it.
_WORKSPACE_OF_ACTIVATIONS = 1 / 3
_WORKSPACE_OF_FIXED = 0.02


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a training step needs at its peak.

    Attributes:
        weights, optimizer: float32, one of each for every parameter.
        gradients: one for every parameter, float32, or partly bfloat16 (`ops.narrow`).
        cast_weights: the copies in bfloat16 that the products read.
        stages: what is kept for one image, by stage.
        batch_size: images.
    """

    weights: int
    gradients: int
    optimizer: int
    cast_weights: int
    stages: list[StageMemory]
    batch_size: int

    @property
    def fixed(self) -> int:
        """Whatever the batch."""
        return self.weights + self.gradients + self.optimizer + self.cast_weights

    @property
    def activations(self) -> int:
        """Kept from the forward pass for the backward pass."""
        return int(self.batch_size * sum(stage.kept for stage in self.stages))

    @property
    def workspace(self) -> int:
        """Scratch of the operations and slack of the allocator; an estimate."""
        return int(_WORKSPACE_OF_FIXED * self.fixed + _WORKSPACE_OF_ACTIVATIONS * self.activations)

    @property
    def total(self) -> int:
        """The peak."""
        return self.fixed + self.activations + self.workspace

    def largest_batch(self, available: int) -> int:
        """The most images that fit into so many bytes; 0 where not even one does."""
        each = (1.0 + _WORKSPACE_OF_ACTIVATIONS) * sum(stage.kept for stage in self.stages)
        return max(0, int((available - (1.0 + _WORKSPACE_OF_FIXED) * self.fixed) / each))


def step_memory(
    variant: Variant,
    batch_size: int,
    precision: str,
    num_classes: int,
    fusion: Fusion,
    has_narrow_gradients: bool = False,
) -> StepMemory:
    """The memory of a step with the 2012 rule, whose optimiser keeps one velocity.

    Args:
        variant: the network.
        batch_size: images.
        precision: fp32 or bf16, of activations; weights are float32 in both.
        num_classes: outputs of fc8.
        fusion: which stages run as one operation here.
        has_narrow_gradients: whether those of the fully connected layers stay bfloat16.

    Raises:
        UserError: the image is too small for the network.
    """
    layers = layer_table(variant, num_classes)
    parameters = sum(layer.parameters for layer in layers)
    size = _BYTES_OF_WEIGHT * parameters
    narrow = has_narrow_gradients * sum(
        layer.parameters for layer in layers if layer.name.startswith("fc")
    )
    return StepMemory(
        weights=size,
        gradients=size - (_BYTES_OF_WEIGHT - _BYTES_OF_NARROW_GRADIENT) * narrow,
        optimizer=size,
        cast_weights=2 * parameters if precision == "bf16" else 0,
        stages=kept_by_stage(variant, num_classes, _BYTES_OF_ACTIVATION[precision], fusion),
        batch_size=batch_size,
    )
