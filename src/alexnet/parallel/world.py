"""The processes that work together, their devices, and what they tell each other beside training.

The engine is torch.distributed: whoever starts the processes (torchrun) says through the
environment who they are, NCCL carries tensors between GPUs and Gloo those between CPUs. One
process alone is a world of size 1 and takes the same path without a word. This is the only place
that reads that environment.
"""

import json
import os
import signal
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from alexnet import progress
from alexnet.errors import PartnerLostError, UserError
from alexnet.parallel.heap import keep_freed_memory
from alexnet.parallel.meeting import meet
from alexnet.process import end_with, threads_each

DEFAULT_TIMEOUT = 600.0  # seconds that a process waits for another before it gives up


@dataclass(frozen=True)
class World:
    """The processes that work together, as one of them sees it.

    Attributes:
        rank, size: this process among how many.
        device: where it computes.
        precision: "fp32" or "bf16".
        local_size: processes on this machine.
        store: torch.distributed's table of keys, which outlives a killed process; None alone.
    """

    rank: int
    size: int
    device: torch.device
    precision: str
    local_size: int = 1
    store: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0

    @property
    def dtype(self) -> torch.dtype:
        """In which products are computed."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def autocast(self) -> torch.autocast:
        """The context in which the network computes: weights stay float32 in both precisions."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def tell(self, value: Any) -> Any:
        """The first process's value, a JSON document, on every process."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.is_first else b""
        length = torch.tensor([len(text)])
        dist.broadcast(length, 0)
        letters = torch.empty(int(length), dtype=torch.uint8)
        if self.is_first:
            letters.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(letters, 0)
        return json.loads(letters.numpy().tobytes())

    def tell_tensors(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first process's tensors, in host memory, on every process."""
        if self.size == 1:
            return tensors
        shapes = {name: (list(t.shape), str(t.dtype)[6:]) for name, t in tensors.items()}
        told = {}
        for name, (shape, kind) in self.tell(shapes).items():
            if self.is_first:
                told[name] = tensors[name].cpu().contiguous()
            else:
                told[name] = torch.empty(shape, dtype=getattr(torch, kind))
            dist.broadcast(told[name], 0)
        return told

    def is_first_to(self, deed: str) -> bool:
        """Whether no other process has claimed this deed; true where nobody can be asked."""
        if self.store is None:
            return True
        try:
            return int(self.store.add(f"alexnet/{deed}", 1)) == 1
        except RuntimeError:  # the table has gone with its process
            return True


def make_world(
    device: str = "auto", precision: str = "auto", timeout_seconds: float = DEFAULT_TIMEOUT
) -> World:
    """This process on the asked-for or the best available device, joined with its partners.

    Args:
        device: auto, cpu or cuda.
        precision: auto, fp32 or bf16.
        timeout_seconds: how long a partner may keep this process waiting, also at the start.

    Raises:
        UserError: as for `find_device`.
        PartnerLostError: other processes did not come.
    """
    device = find_device(device)
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "fp32"
    if device == "cpu":
        keep_freed_memory(also_the_largest=precision == "bf16")  # float32 needs twice the memory
    else:
        torch.backends.cudnn.benchmark = True  # shapes stay the same: measuring kernels pays
    if started_size() == 1:
        return World(0, 1, torch.device(device), precision)
    return _join(device, precision, timeout_seconds)


def find_device(wanted: str) -> str:
    """The kind of device, cpu or cuda, that is asked for, or the best with "auto".

    Raises:
        UserError: CUDA asked for and not available, or a kind that there is not.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise UserError(f"device must be auto, cpu or cuda, not {wanted!r}")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: this installation of torch sees no CUDA device; "
            "use --device cpu, or install a CUDA build of torch and check the driver"
        )
    return wanted


def has_bf16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 natively."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.backends.cpu.get_cpu_capability()
    if not capabilities.startswith("AVX512"):
        return False
    return bool(torch.cpu._is_avx512_bf16_supported())


def _join(device: str, precision: str, timeout_seconds: float) -> World:
    rank, size, local_size = started_rank(), started_size(), started_local_size()
    _end_with_launcher()
    if rank:
        progress.mute()
    _share_cores(local_size)
    place = torch.device(device)
    backend = "gloo"
    if device == "cuda":
        count = torch.cuda.device_count()
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)) % count)
        torch.cuda.set_device(place)
        # NCCL refuses two processes on one card; then Gloo carries what lies on it, too.
        backend = "cpu:gloo,cuda:nccl" if local_size <= count else "gloo"
    elif local_size == size:
        _stay_on_this_machine()
    if not dist.is_initialized():
        _meet(rank, size, backend, timeout_seconds)
    return World(rank, size, place, precision, local_size, _store)


_store: Any = None  # the one table of this process's one world


def _meet(rank: int, size: int, backend: str, timeout_seconds: float) -> None:
    global _store
    wait = timedelta(seconds=timeout_seconds)
    try:
        table, _, _ = next(rendezvous("env://", rank, size, timeout=wait))
        table.set_timeout(wait)
        _store = meet(table, rank, size, timeout_seconds)
        dist.init_process_group(backend, store=_store, rank=rank, world_size=size, timeout=wait)
        dist.barrier()
    except (RuntimeError, ValueError) as error:
        raise PartnerLostError(
            f"process {rank} of {size} could not join the others within {timeout_seconds:g} s: "
            f"{first_line(error)}"
        ) from error


def started_rank() -> int:
    """The number that whoever started the processes gave to this one; 0 alone."""
    return int(os.environ.get("RANK", "0")) if started_size() > 1 else 0


def started_size() -> int:
    """How many processes were started together; 1 alone."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def started_local_size() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def starts() -> int:
    """How often torchrun has started these processes again after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def may_be_restarted() -> bool:
    """Whether torchrun would start these processes again if one failed now."""
    most = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    return starts() < most


def forbid_restart() -> None:
    """End torchrun, and all its processes with it: no restart can mend what a user must."""
    os.kill(os.getppid(), signal.SIGQUIT)


def first_line(error: BaseException) -> str:
    """What an error says, without the places in foreign source files that follow."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    text = text.partition(". This is typically")[0]  # Gloo's advice to its developers
    return text.rpartition(".cc:")[2].partition("] ")[2] if ".cc:" in text else text


def _share_cores(local_size: int) -> None:
    """An equal share of the cores, unless the user has said how many threads there shall be.

    torchrun says 1 where nobody has, so 1 does not count as said.
    """
    if os.environ.get("OMP_NUM_THREADS", "1") == "1":
        torch.set_num_threads(threads_each(local_size))


def _stay_on_this_machine() -> None:
    """Let Gloo use the loopback interface; what a machine's own name leads to is anyone's guess."""
    names = [name for _, name in socket.if_nameindex()]
    loopback = next((name for name in names if name in ("lo", "lo0")), None)
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)


def _end_with_launcher() -> None:
    """Let the system kill this process when torchrun is killed, so that no orphan trains on."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with(os.getppid(), signal.SIGKILL)


def finish(device: torch.device) -> None:
    """Wait until a device has done all it was given, before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def sum_over(tensor: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Add up a tensor in place over the processes of a group; None is a group of one."""
    if group is not None:
        dist.all_reduce(tensor, group=group)
    return tensor
