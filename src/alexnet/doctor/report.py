"""What the doctor hands over: facts, and findings with cause and mend."""

from dataclasses import dataclass, field
from typing import Any

from alexnet.findings import Finding
from alexnet.rows import finite

_ORDER = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Diagnosis:
    """One examination.

    Attributes:
        subject: what was examined, in words.
        facts: name and value of what was seen, plain JSON values.
        findings: what is wrong, the worst first; empty for the healthy.
    """

    subject: str
    facts: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        unique = {finding.name: finding for finding in reversed(self.findings)}
        first = list(dict.fromkeys(f.name for f in self.findings))
        ordered = sorted((unique[name] for name in first), key=lambda f: _ORDER[f.severity])
        object.__setattr__(self, "findings", ordered)

    def to_json(self) -> dict[str, Any]:
        """The document of `alexnet doctor --json`."""
        return {
            "subject": self.subject,
            "facts": finite(self.facts),
            "findings": [finding.to_json() for finding in self.findings],
        }

    def lines(self) -> list[str]:
        """The same for people."""
        width = max((len(name) for name in self.facts), default=0)
        facts = [f"  {name:<{width}}  {_words(value)}" for name, value in self.facts.items()]
        if not self.findings:
            return [f"{self.subject}: healthy", *facts]
        found = [
            line
            for finding in self.findings
            for line in (
                f"{finding.severity} {finding.name}: {finding.cause}",
                f"  mend: {finding.mend}",
            )
        ]
        count = "1 finding" if len(self.findings) == 1 else f"{len(self.findings)} findings"
        return [f"{self.subject}: {count}", *facts, *found]


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(_words(entry) for entry in value) or "none"
    return str(value)
