"""The planned memory, against what autograd keeps and against the peaks of real steps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.bench.peak import training_peak
from alexnet.errors import UserError
from alexnet.model.changes import resized
from alexnet.model.network import AlexNet
from alexnet.model.variants import VARIANTS
from alexnet.parallel.world import has_bf16, make_world
from alexnet.planning.kept import Fusion, kept_by_stage
from alexnet.planning.memory import step_memory
from alexnet.planning.plan import fusion_on, has_narrow_gradients_on


def bytes_kept(model: AlexNet, images: Tensor) -> int:
    """The bytes of every distinct storage that autograd holds after a forward pass."""
    held: dict[int, Tensor] = {}
    parameters = {parameter.data_ptr() for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = F.cross_entropy(model(images), torch.zeros(len(images), dtype=torch.int64))
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


@pytest.mark.parametrize("variant", ["paper", "one-tower", "caffenet", "original"])
@pytest.mark.parametrize("fusion", ["all", "none"])
def test_the_table_says_what_autograd_keeps(
    variant: str, fusion: Fusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fusion == "none":
        monkeypatch.setattr("alexnet.ops.stage.way_of", lambda x, stage: "by parts")
    elif fusion_on(make_world("cpu", "fp32")) != "all":
        pytest.skip("needs a C compiler")
    model = AlexNet(resized(VARIANTS[variant], 0.25), 10).to(memory_format=torch.channels_last)
    images = torch.zeros(2, 224, 224, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    if model.variant.image_size != 224:
        images = F.pad(images, (0, 3, 0, 3))
    stages = kept_by_stage(model.variant, 10, 4, fusion)
    planned = 2 * (sum(stage.kept for stage in stages) - 3 * model.variant.image_size**2)
    assert bytes_kept(model, images) == pytest.approx(planned, rel=0.03)


def test_the_paper_by_hand() -> None:
    kept = {s.name: s.kept for s in kept_by_stage(VARIANTS["paper"], 1000, 4, fusion="all")}
    assert kept["image"] == 3 * 224**2 + 4 * 3 * 227**2
    assert kept["conv1"] == 4 * 96 * 55 * 55
    assert kept["relu1"] == kept["norm1"] == 0
    assert kept["pool1"] == (4 + 1) * 96 * 27 * 27  # conv2's input, and the winners
    assert kept["fc8"] == 0
    memory = step_memory(VARIANTS["paper"], 128, "fp32", 1000, fusion="all")
    assert memory.weights == memory.gradients == memory.optimizer == 4 * 60_965_224
    assert memory.cast_weights == 0
    half = step_memory(VARIANTS["paper"], 128, "bf16", 1000, fusion="all")
    assert half.cast_weights == 2 * 60_965_224
    assert half.gradients == 4 * 60_965_224
    narrow = step_memory(VARIANTS["paper"], 128, "bf16", 1000, "all", has_narrow_gradients=True)
    assert narrow.gradients == half.gradients - 2 * (37_752_832 + 16_781_312 + 4_097_000)
    assert half.activations < 0.6 * memory.activations


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_plan_is_within_15_percent_of_a_measured_peak(precision: str) -> None:
    """A quarter of the width with many images, where activations are most of it."""
    if precision == "bf16" and not has_bf16("cpu"):
        pytest.skip("emulated, a hundredth of the speed")
    width, batch_size = 0.25, 48
    world = make_world("cpu", precision)
    variant = resized(VARIANTS["paper"], width)
    ways = (fusion_on(world), has_narrow_gradients_on(world))
    planned = step_memory(variant, batch_size, precision, 1000, *ways).total
    # How the heap happens to be cut up comes on top, differently each time.
    measured = min(training_peak("paper", batch_size, world, width=width).bytes for _ in range(2))
    assert planned == pytest.approx(measured, rel=0.15)


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    variant = VARIANTS["paper"]
    available = 3 * 2**30
    largest = step_memory(variant, 1, "fp32", 1000, fusion="all").largest_batch(available)
    fits, does_not = (
        step_memory(variant, largest + more, "fp32", 1000, fusion="all").total for more in (0, 1)
    )
    assert fits <= available < does_not
    assert step_memory(variant, 1, "fp32", 1000, fusion="all").largest_batch(2**20) == 0


def test_a_step_that_cannot_run_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(UserError, match="no step of paper with batches of 1") as failure:
        training_peak("paper", 1, make_world("cpu", "fp32"))
    assert "\n" not in str(failure.value)
