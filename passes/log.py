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
    """Operators folded away, foldings refused with the reason, and streamed kernels by name.

    Attributes:
        rewrites: Rows ``{pass, where, rule}``.
        refusals: Rows ``{where, reason}``.
        streamed: By the entry's name in the module.
    """

    rewrites: list[dict[str, str]] = field(default_factory=list)
    refusals: list[dict[str, str]] = field(default_factory=list)
    streamed: dict[str, Streamed] = field(default_factory=dict)

    def rewrite(self, name: str, where: str, rule: str) -> None:
        """Note that a pass folded an operator away.

        Args:
            name: Of the pass, as ``FoldBatchNorm``.
            where: The operator and the variable that it was bound to.
            rule: What became of it, in words.
        """
        self.rewrites.append({"pass": name, "where": where, "rule": rule})

    def refuse(self, where: str, reason: str) -> None:
        """Note that a pass left something as it was.

        Args:
            where: The operators and variables in question.
            reason: Why, in words.
        """
        self.refusals.append({"where": where, "reason": reason})
