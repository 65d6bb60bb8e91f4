"""What a check found: a value with its cause and the mend, the same for doctor, watch and alarm."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
        name: what it is called, such as `rate-too-high`; the same in every release.
        severity: "error" spoils the result, "warning" likely does, "note" costs time only.
        cause: what was seen and what it means, one line.
        mend: what to do, one line.
    """

    name: str
    severity: Severity
    cause: str
    mend: str

    def line(self) -> str:
        """The finding for people."""
        return f"{self.severity} {self.name}: {self.cause}; {self.mend}"

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return asdict(self)
