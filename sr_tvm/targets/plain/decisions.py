"""What can be chosen when a region becomes plain loops, and the space of these choices."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from random import Random
from typing import Annotated, Any, Literal, get_args

from msgspec.structs import replace
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.system.validation import Record, one_of, plain, read_whole, without
from sr_tvm.targets.lowering import DecisionSpace

SCHEMA, VERSION = "sr-tvm plain decisions", 1
ORDERS = tuple("".join(order) for order in itertools.permutations("oik"))
Rows = Literal[1, 2, 3, 4, 6, 8, 12, 16]
ROWS: tuple[Rows, ...] = get_args(Rows)


class PlainDecisions(Record, frozen=True, forbid_unknown_fields=False):
    """Choices for a whole region.

    Attributes:
        order: the loops of a convolution around the pixels of a row, outermost first: o output channels, i input
            channels, k rows of the kernel.
        rows: rows of every value that are made in one step, one after another: weights are read once for all of them
            from the cache.
    """

    order: Annotated[str, one_of(ORDERS)] = ORDERS[0]
    rows: Rows = 1

    def to_json(self) -> dict[str, Any]:
        """Describe the decisions as JSON, from which :meth:`from_json` reads them.

        Returns:
            The schema's name and version, the order and the rows.
        """
        return {"schema": SCHEMA, "version": VERSION, **plain(self)}

    @classmethod
    def from_json(cls, data: Any, where: str) -> PlainDecisions:
        """Read the decisions that :meth:`to_json` describes.

        Args:
            data: What was read, not yet checked.
            where: Where it comes from, such as a file's name: the beginning of an error's message.

        Returns:
            The decisions.

        Raises:
            SrTvmError: It is of another schema or version, or not one of :data:`ORDERS` and :data:`ROWS`.
        """
        if not isinstance(data, dict) or (data.get("schema"), data.get("version")) != (SCHEMA, VERSION):
            raise SrTvmError(f"{where}: not version {VERSION} of {SCHEMA}")
        return read_whole(cls, without(data, "schema", "version"), where)


class PlainSpace(DecisionSpace[PlainDecisions]):
    """All :class:`PlainDecisions` there are, which any region can be lowered by."""

    def __init__(self, known: Iterable[PlainDecisions] = ()) -> None:
        self.default, self.known = PlainDecisions(), list(known)

    @override
    def repair(self, decisions: PlainDecisions) -> PlainDecisions:
        return decisions

    @override
    def seeds(self) -> list[PlainDecisions]:
        return list(dict.fromkeys([self.default, *self.known]))

    @override
    def random(self, rng: Random) -> PlainDecisions:
        return PlainDecisions(rng.choice(ORDERS), rng.choice(ROWS))

    @override
    def crossover(self, a: PlainDecisions, b: PlainDecisions, rng: Random) -> PlainDecisions:
        return PlainDecisions(rng.choice((a, b)).order, rng.choice((a, b)).rows)

    @override
    def mutate(self, genome: PlainDecisions, rng: Random) -> PlainDecisions | None:
        if rng.random() < 0.5:
            changed = replace(genome, order=rng.choice(ORDERS))
        else:
            changed = replace(genome, rows=rng.choice(ROWS))
        return None if changed == genome else changed

    @override
    def key(self, genome: PlainDecisions) -> str:
        # Hexadecimal digits, as all keys are.
        return f"{ORDERS.index(genome.order):02x}{genome.rows:02x}"
