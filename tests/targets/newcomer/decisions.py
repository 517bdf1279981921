"""What is decided about a region: which loop of each kernel is the outer one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.targets.lowering import DecisionSpace

OUTER = ("channel", "row")


@dataclass(frozen=True)
class Order:
    """The outer loop of every kernel."""

    outer: str = OUTER[0]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any, where: str) -> Order:
        outer = data.get("outer") if isinstance(data, dict) else None
        if outer not in OUTER:
            raise SrTvmError(f"{where}: outer is {outer!r}; one of {', '.join(OUTER)} is allowed")
        return cls(outer)


class Orders(DecisionSpace[Order]):
    """Both."""

    def __init__(self, known: Iterable[Order]) -> None:
        self.default, self.known = Order(), list(known)

    @override
    def repair(self, decisions: Order) -> Order:
        return decisions

    @override
    def seeds(self) -> list[Order]:
        return list(dict.fromkeys([self.default, *self.known]))

    @override
    def random(self, rng: Random) -> Order:
        return Order(rng.choice(OUTER))

    @override
    def crossover(self, a: Order, b: Order, rng: Random) -> None:
        return None

    @override
    def mutate(self, genome: Order, rng: Random) -> Order:
        return Order(OUTER[1 - OUTER.index(genome.outer)])

    @override
    def key(self, genome: Order) -> str:
        return f"{OUTER.index(genome.outer):02x}"
