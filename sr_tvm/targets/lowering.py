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

    Attributes:
        default: what the lowering decides by itself, with which a search begins.
        known: good decisions from elsewhere, which come next.
    """

    default: D
    known: list[D]

    @abstractmethod
    def repair(self, decisions: D) -> D:
        """Find the nearest valid decisions.

        Args:
            decisions: Of the region's lowering, perhaps from another region or an old record.

        Returns:
            Valid decisions, the same ones if they are valid and in canonical form.
        """

    @abstractmethod
    def seeds(self) -> Iterable[D]:
        """List good guesses to begin with.

        Returns:
            Different valid decisions: the default first, then the known ones, then others.
        """

    @abstractmethod
    def random(self, rng: Random) -> D | None:
        """Draw decisions at random.

        Args:
            rng: Where the randomness comes from; equal states give equal decisions.

        Returns:
            Valid decisions, or None where this attempt found none.
        """

    @abstractmethod
    def crossover(self, a: D, b: D, rng: Random) -> D | None:
        """Mix two decisions.

        Args:
            a: One parent, valid.
            b: The other, valid.
            rng: Where the randomness comes from; equal states give equal children.

        Returns:
            A valid child, or None where this attempt found none.
        """

    @abstractmethod
    def mutate(self, genome: D, rng: Random) -> D | None:
        """Change decisions a little.

        Args:
            genome: Valid decisions, which stay as they are.
            rng: Where the randomness comes from; equal states give equal changes.

        Returns:
            Other valid decisions, or None where nothing changed.
        """

    @abstractmethod
    def key(self, genome: D) -> str:
        """Name decisions by what they are.

        Args:
            genome: Valid decisions.

        Returns:
            Hexadecimal digits, equal for equal decisions, in this process or another.
        """


class Lowering(ABC, Generic[D]):
    """Turns a region into kernels that run one after another, as decisions of type D say.

    A lowering without anything to decide has one decision, which is its default. ``name`` says in tuning records which
    lowering they are of.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def hardware(self) -> dict[str, int]:
        """What of the hardware decisions hold for, by name: a record found on other hardware is not used."""

    def identity(self, region: Region) -> str:
        """Name what a record of a region is found by.

        Args:
            region: The region.

        Returns:
            A hash of its structure, equal for regions that the same decisions suit.
        """
        return region_hash(region)

    @abstractmethod
    def decide(self, region: Region, shape: Shape) -> D:
        """Decide by a cost model, or by rule: what a region gets that nobody tuned.

        Args:
            region: The region.
            shape: N, H and W of the region; None for what is known only at run time.

        Returns:
            Decisions that :meth:`lower` can carry out.
        """

    @abstractmethod
    def lower(self, region: Region, shape: Shape, name: str, decisions: D | None = None) -> list[Kernel]:
        """Make the kernels of a region.

        Args:
            region: The region.
            shape: N, H and W of the region; None for what is known only at run time.
            name: The prefix of the names of their functions.
            decisions: How they are made; None for what :meth:`decide` says.

        Returns:
            Kernels that run one after another; none leaves the region to the passes that follow.

        Raises:
            SrTvmError: The region can't be made as decided.
        """

    @abstractmethod
    def space(self, region: Region, shape: Shape, known: Iterable[D] = ()) -> DecisionSpace[D]:
        """Open the decisions of a region to a search.

        Args:
            region: The region.
            shape: N, H and W of the region; None for what is known only at run time.
            known: Good decisions from elsewhere, to be tried first.

        Returns:
            The space of decisions.
        """

    @abstractmethod
    def fits(self, decisions: D, region: Region, shape: Shape) -> bool:
        """Tell whether decisions, perhaps from an old record, can be carried out.

        Args:
            decisions: The decisions.
            region: The region that they are for.
            shape: N, H and W of the region; None for what is known only at run time.

        Returns:
            True where :meth:`lower` can make the region by them.
        """

    @abstractmethod
    def to_json(self, decisions: D) -> dict[str, Any]:
        """Describe decisions as JSON, from which :meth:`from_json` reads them.

        Args:
            decisions: The decisions.

        Returns:
            JSON values by name.
        """

    @abstractmethod
    def from_json(self, data: Any, where: str) -> D:
        """Read decisions that :meth:`to_json` describes.

        Args:
            data: What was read, not yet checked.
            where: Where it comes from, such as a file's name: the beginning of an error's message.

        Returns:
            The decisions.

        Raises:
            SrTvmError: A field is missing, of another type or out of range; the message begins with ``where``.
        """


class IntegerLowering(Lowering[D]):
    """Decides about kinds of kernels of quantised networks: what is a region elsewhere is such a kind here."""

    @abstractmethod
    def like(self, decisions: D) -> D:
        """Give the default's decisions such that they are quickly built beside others.

        Args:
            decisions: Those of another kind of kernel of the same network.

        Returns:
            The default, but for options that hold for the whole network: these are as in ``decisions``.
        """
