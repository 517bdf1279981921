"""How a target makes kernels of regions: the lowering, its decisions, and the space they are searched in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from random import Random
from typing import Any, ClassVar, Generic, TypeVar

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.regions.data import region_hash
from sr_tvm.regions.region import Region

D = TypeVar("D")


class DecisionSpace(ABC, Generic[D]):
    """The decisions there are for one region at one shape. Every operator gives valid ones, in one canonical form.

    ``default`` is what the lowering decides by itself, with which a search begins; ``known`` are good decisions from
    elsewhere, which come next.
    """

    default: D
    known: list[D]

    @abstractmethod
    def repair(self, decisions: D) -> D:
        """Find the nearest valid decisions."""

    @abstractmethod
    def seeds(self) -> Iterable[D]:
        """List good guesses to begin with, the default first."""

    @abstractmethod
    def random(self, rng: Random) -> D | None: ...

    @abstractmethod
    def crossover(self, a: D, b: D, rng: Random) -> D | None: ...

    @abstractmethod
    def mutate(self, genome: D, rng: Random) -> D | None: ...

    @abstractmethod
    def key(self, genome: D) -> str:
        """Name decisions by what they are: equal for equal ones, in this process or another."""


class Lowering(ABC, Generic[D]):
    """Turns a region into kernels that run one after another, as decisions of type D say.

    A lowering without anything to decide has one decision, which is its default.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def hardware(self) -> dict[str, int]:
        """What of the hardware decisions hold for: a record found on other hardware is not used."""

    def identity(self, region: Region) -> str:
        """Name what a record of a region is found by; equal for regions that the same decisions suit."""
        return region_hash(region)

    @abstractmethod
    def decide(self, region: Region, shape: Shape) -> D:
        """Decide by a cost model, or by rule: what a region gets that nobody tuned."""

    @abstractmethod
    def lower(self, region: Region, shape: Shape, name: str, decisions: D | None = None) -> list[Kernel]:
        """Make the kernels of ``region`` as decided, by default by :meth:`decide`.

        ``name`` is the prefix of their functions' names. An empty list leaves the region to the passes that follow.
        """

    @abstractmethod
    def space(self, region: Region, shape: Shape, known: Iterable[D] = ()) -> DecisionSpace[D]:
        """Open the decisions of a region to a search."""

    @abstractmethod
    def fits(self, decisions: D, region: Region, shape: Shape) -> bool:
        """Whether decisions, perhaps from an old record, can be carried out."""

    @abstractmethod
    def to_json(self, decisions: D) -> dict[str, Any]: ...

    @abstractmethod
    def from_json(self, data: Any, where: str) -> D:
        """Read decisions.

        Raises:
            SrTvmError: a field is missing, of another type or out of range; the message begins with ``where``.
        """


class IntegerLowering(Lowering[D]):
    """Decides about kinds of kernels of quantised networks: what is a region elsewhere is such a kind here."""

    @abstractmethod
    def like(self, decisions: D) -> D:
        """Give the default's decisions such that they are quickly built beside ``decisions``."""
