"""How long a step takes on many devices: a model of computation, exchange, latency and overlap.

    step = computation + update + what of the exchanges and gradient sums is not hidden

Computation is measured on one process, traffic on two (`calibration.py`), or both are taken from a
table of named hardware; the bytes are counted (`parallel/volume.py`). `docs/scaling.md` holds the
predictions against measured runs. Free of torch.
"""

import math
from dataclasses import dataclass, replace

from alexnet.model.layers import layer_table
from alexnet.model.variants import Variant
from alexnet.parallel.volume import possible_layouts, volume

ILSVRC2012_IMAGES = 1_281_167
_BACKWARD = 2 / 3  # of the computation, the part that gradients can hide behind


@dataclass(frozen=True)
class Machine:
    """What one process does that has a machine or an accelerator to itself, and what sharing costs.

    Attributes:
        image_seconds: forward and backward for one image.
        step_seconds: of a step whatever its size.
        update_seconds: of the update, for each parameter held.
        cores: of the machine that processes share; None: each has a device of its own.
        doubling: time of each of two processes with half the cores over that of one with all. Where
            cores are full and threads cost nothing this is 2; less where one process cannot use
            them all.
    """

    image_seconds: float
    step_seconds: float = 0.0
    update_seconds: float = 0.0
    cores: int | None = None
    doubling: float = 2.0

    def slowdown(self, processes: int) -> float:
        """Time of a process among so many, over that of one that has the machine to itself."""
        if self.cores is None:
            return 1.0
        sharing = min(processes, self.cores)  # from there on processes wait for each other
        return math.pow(self.doubling, math.log2(sharing)) * processes / sharing


@dataclass(frozen=True)
class Wire:
    """What carries bytes between processes.

    Attributes:
        latency: seconds of an exchange without content.
        exchange: bytes a second that a process sends in an exchange of activations.
        sum: bytes a second that a process sends while gradients are added up.
        overlap: share of the traffic that can hide behind computation; 0 where the processor that
            computes also copies.
    """

    latency: float
    exchange: float
    sum: float
    overlap: float = 0.0


@dataclass(frozen=True)
class Work:
    """What is trained.

    Attributes:
        variant, num_classes: the network.
        batch_size: images of all processes in a step.
        activation_bytes: 4 in float32, 2 in bf16.
    """

    variant: Variant
    num_classes: int = 1000
    batch_size: int = 128
    activation_bytes: int = 4


@dataclass(frozen=True)
class Prediction:
    """One step, in seconds by cause.

    Attributes:
        layout, processes, batch_size: of what.
        computation: forward and backward.
        update: of the parameters held.
        exchange, gradients: what of the traffic is not hidden.
        sent_bytes: by one process.
    """

    layout: str
    processes: int
    batch_size: int
    computation: float
    update: float
    exchange: float
    gradients: float
    sent_bytes: int

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        return self.computation + self.update + self.exchange + self.gradients

    @property
    def images_per_second(self) -> float:
        """Of all processes together."""
        return self.batch_size / self.seconds


def predict(machine: Machine, wire: Wire, work: Work, layout: str, processes: int) -> Prediction:
    """The time of a step under a layout.

    Every layout deals out the arithmetic evenly: data and hybrid by images, columns by kernels.
    What differs is the parameters that a process holds and what it sends.
    """
    held = parameters_held(work, layout, processes)
    slowdown = machine.slowdown(processes)
    images = math.ceil(work.batch_size / processes)
    computation = slowdown * (machine.step_seconds + images * machine.image_seconds)
    sent = volume(
        work.variant,
        work.num_classes,
        layout,
        processes,
        work.batch_size,
        work.activation_bytes,
    )
    hops = math.ceil(math.log2(processes)) if processes > 1 else 0
    contention = max(1.0, processes / machine.cores) if machine.cores else 1.0
    exchange = contention * (sent.messages * hops * wire.latency + sent.exchange / wire.exchange)
    sums = 2 * hops if sent.gradients else 0
    gradients = contention * (sums * wire.latency + sent.gradients / wire.sum)
    hidden = wire.overlap * _BACKWARD * computation
    hidden_exchange = min(wire.overlap * exchange, hidden)
    return Prediction(
        layout=layout,
        processes=processes,
        batch_size=work.batch_size,
        computation=computation,
        update=slowdown * held * machine.update_seconds,
        exchange=exchange - hidden_exchange,
        gradients=max(0.0, gradients - (hidden - hidden_exchange)),
        sent_bytes=sent.total,
    )


def parameters_held(work: Work, layout: str, processes: int) -> int:
    """Parameters of one process: all, a column's, or the convolutions and a share of the rest."""
    table = layer_table(work.variant, work.num_classes)
    everything = sum(row.parameters for row in table)
    if layout == "columns":
        return math.ceil(everything / work.variant.columns)
    if layout == "hybrid":
        convolutions = sum(row.parameters for row in table if row.name.startswith("conv"))
        return convolutions + math.ceil((everything - convolutions) / processes)
    return everything


def fastest(machine: Machine, wire: Wire, work: Work, layout: str, processes: int) -> Prediction:
    """The prediction for a layout; where it is "auto" or impossible, for the fastest one."""
    possible = possible_layouts(work.variant, processes)
    chosen = [layout] if layout in possible else possible
    made = [predict(machine, wire, work, one, processes) for one in chosen]
    return min(made, key=lambda prediction: prediction.seconds)


def scaling(
    machine: Machine, wire: Wire, work: Work, layout: str, devices: int, weak: bool = False
) -> list[Prediction]:
    """Predictions for 1, 2, 4, … devices under a layout, or the fastest one with "auto".

    Args:
        machine, wire, work: as for `predict`.
        layout: a layout or "auto".
        devices: where to end; this number itself is always in.
        weak: the batch is that of each device and grows with their number.
    """
    counts = [2**power for power in range(devices.bit_length()) if 2**power < devices] + [devices]
    rows = []
    for count in counts:
        now = replace(work, batch_size=work.batch_size * count) if weak else work
        rows.append(fastest(machine, wire, now, layout, count))
    return rows


# Images a second of one device, training AlexNet-like nets; published unless said otherwise
# (lambda-tensorflow-benchmark, NVIDIA/caffe's logs, and the records below).
MACHINES = {
    "p100": Machine(1 / 2_108),
    "v100": Machine(1 / 9_319),
    "a100": Machine(1 / 16_487),
    "h200-goal": Machine(1 / 50_000),  # what this project aims at; not measured
}
# Line rates each way; latencies are round numbers of their kind.
WIRES = {
    "ethernet-10": Wire(30e-6, 1.25e9, 1.25e9, overlap=1.0),
    "ethernet-100": Wire(15e-6, 12.5e9, 12.5e9, overlap=1.0),
    "infiniband-56": Wire(5e-6, 7e9, 7e9, overlap=1.0),
    "infiniband-200": Wire(5e-6, 25e9, 25e9, overlap=1.0),
    "infiniband-400": Wire(5e-6, 50e9, 50e9, overlap=1.0),
    "nvlink": Wire(5e-6, 300e9, 300e9, overlap=1.0),
}


@dataclass(frozen=True)
class Record:
    """A published training of AlexNet on ImageNet.

    Attributes:
        who: authors and year.
        devices: how many, of what kind.
        minutes, epochs: as published.
        batch_size: images in a step.
    """

    who: str
    devices: str
    count: int
    minutes: float
    epochs: int
    batch_size: int

    @property
    def images_per_second(self) -> float:
        """Of all devices together."""
        return self.epochs * ILSVRC2012_IMAGES / (60 * self.minutes)


RECORDS = (
    Record("NVIDIA/caffe's log (2017)", "P100", 8, 127, 100, 1024),
    Record("You et al. (2017)", "CPU nodes", 1024, 11, 100, 32_768),
    Record("Jia et al. (2018)", "P40", 1024, 4, 95, 65_536),
    Record("Sun et al. (2019)", "GPUs", 512, 1.5, 95, 65_536),
)


def to_pass(record: Record, wire: Wire, work: Work, layout: str, devices: int) -> float | None:
    """Images a second that each of so many devices must compute alone to be as fast as a record.

    With the record's batch. None: not with this wire, however fast the devices are.
    """
    now = replace(work, batch_size=record.batch_size)
    wanted = record.batch_size / record.images_per_second

    def reaches(speed: float) -> bool:
        return fastest(Machine(1 / speed), wire, now, layout, devices).seconds <= wanted

    low, high = 1.0, 1e7
    if not reaches(high):
        return None
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
