"""Where a process runs: its device and precision. The only place that looks at the machine."""

from dataclasses import dataclass

import torch

from alexnet.errors import UserError


@dataclass(frozen=True)
class World:
    """The processes that work together, as one of them sees it."""

    rank: int
    size: int
    device: torch.device
    precision: str  # "fp32" or "bf16"

    def autocast(self) -> torch.autocast:
        """The context in which the network computes: weights stay float32 in both precisions."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)


def make_world(device: str = "auto", precision: str = "auto") -> World:
    """One process on the asked-for or the best available device.

    Raises:
        UserError: CUDA asked for and not available.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: this installation of torch sees no CUDA device; "
            "use --device cpu, or install a CUDA build of torch and check the driver"
        )
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "fp32"
    return World(0, 1, torch.device(device), precision)


def has_bf16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 natively."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.backends.cpu.get_cpu_capability()
    if not capabilities.startswith("AVX512"):
        return False
    return bool(torch.cpu._is_avx512_bf16_supported())
