"""What the passes say about their work, collected for the pass report."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Log:
    """Operators folded away, and foldings refused with the reason."""

    rewrites: list[dict[str, str]] = field(default_factory=list)
    refusals: list[dict[str, str]] = field(default_factory=list)

    def rewrite(self, name: str, where: str, rule: str) -> None:
        self.rewrites.append({"pass": name, "where": where, "rule": rule})

    def refuse(self, where: str, reason: str) -> None:
        self.refusals.append({"where": where, "reason": reason})
