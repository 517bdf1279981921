"""What the passes say about their work, collected for the pass report."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Streamed:
    """What one streamed kernel does: the operators of ``main`` in it, and the rules that joined them."""

    operators: list[str]
    rules: list[str]


@dataclass
class Log:
    """Operators folded away, foldings refused with the reason, and streamed kernels by name."""

    rewrites: list[dict[str, str]] = field(default_factory=list)
    refusals: list[dict[str, str]] = field(default_factory=list)
    streamed: dict[str, Streamed] = field(default_factory=dict)

    def rewrite(self, name: str, where: str, rule: str) -> None:
        self.rewrites.append({"pass": name, "where": where, "rule": rule})

    def refuse(self, where: str, reason: str) -> None:
        self.refusals.append({"where": where, "reason": reason})
