"""What an integer artifact tells of its row functions, beside their assembly: files of its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.isa.hexagon.assembly import AssemblyFunction, functions
from sr_tvm.isa.hexagon.bodies import BOUND, LANES, Nest, nest
from sr_tvm.system import files
from sr_tvm.system.validation import Record, plain, read_file

ASSEMBLY, CALLS = "network.s", "row_functions.json"
SCHEMA, VERSION = "sr-tvm/hexagon-row-functions", 1


class RowCall(Record, frozen=True, array_like=True):
    """A row function as a stage calls it for each of its rows.

    Attributes:
        symbol: Its name in the assembly.
        tiles: Of 32 pixels that a turn of its outer loop makes.
        inner: Turns of the loop inside, where it has one.
    """

    symbol: str
    tiles: int
    inner: int


class StageCalls(Record, frozen=True, forbid_unknown_fields=False):
    """A stage: its words, and the row functions that make one of its rows.

    Attributes:
        what: Words for people on what it computes.
        macs: Multiply-accumulates of the stage for one pixel.
        calls: The row functions.
    """

    what: str
    macs: int
    calls: tuple[RowCall, ...]


class CallsFile(Record, frozen=True, forbid_unknown_fields=False):
    """The row functions of all stages."""

    stages: list[StageCalls]


@dataclass(frozen=True)
class StageCount:
    """Loops of a stage, and what making ``LANES / 4`` pixels of a row takes of them by the text."""

    stage: StageCalls
    nests: tuple[Nest, ...]

    def _sum(self, which: int) -> float:
        """Return packets, multiplications or stalls of all calls, for a tile."""
        return sum(n.turn[which] / call.tiles for n, call in zip(self.nests, self.stage.calls, strict=True))

    @property
    def packets(self) -> float:
        """Packets in loops for a tile of 32 pixels."""
        return self._sum(0)

    @property
    def stalls(self) -> float:
        """Packets in loops that stall, for a tile of 32 pixels."""
        return self._sum(2)

    @property
    def macs_per_packet(self) -> float:
        """Multiply-accumulates of the network for a packet in loops.

        What a row takes before and after the loops is not in it, nor what fills up vectors.
        """
        return self.stage.macs * LANES / 4 / self.packets if self.packets else 0.0

    def to_json(self) -> dict[str, Any]:
        """Write the counts of the stage as a JSON object.

        Returns:
            Packets and stalls of a tile, multiply-accumulates a packet, and each row function's nest.
        """
        return {
            "what": self.stage.what,
            "packets_a_tile": round(self.packets, 2),
            "stalls_a_tile": round(self.stalls, 2),
            "mac_per_packet": round(self.macs_per_packet, 2),
            "functions": [found.to_json() for found in self.nests],
        }


@dataclass(frozen=True)
class ProgramCount:
    """The loops of all stages of a program."""

    stages: tuple[StageCount, ...]

    @property
    def stalls_percent(self) -> float:
        """Of the packets in loops those that stall, each body as often as it runs."""
        packets = sum(stage.packets for stage in self.stages)
        return 100 * sum(stage.stalls for stage in self.stages) / packets if packets else 0.0

    @property
    def macs_per_packet(self) -> float:
        """Multiply-accumulates of the network for a packet in loops."""
        packets = sum(stage.packets for stage in self.stages)
        return sum(stage.stage.macs for stage in self.stages) * LANES / 4 / packets if packets else 0.0

    def to_json(self) -> dict[str, Any]:
        """Write the counts of the program as a JSON object.

        Returns:
            How it was counted, the figures of the whole program, and those of each stage.
        """
        return {
            "how": "static: counted in the assembly, nothing ran; the bound is two vrmpy a packet",
            "bound": BOUND,
            "mac_per_packet": round(self.macs_per_packet, 2),
            "stalls_percent": round(self.stalls_percent, 2),
            "stages": [stage.to_json() for stage in self.stages],
        }


def save(folder: Path, stages: list[StageCalls]) -> None:
    """Write which row functions make the stages, into an artifact's ``row_functions.json``.

    Args:
        folder: Of the artifact; it is there.
        stages: In the order they run.

    Raises:
        SrTvmError: The place cannot be written, or its disk is full.
    """
    files.write_json(folder / CALLS, {"schema": SCHEMA, "version": VERSION, "stages": plain(stages)})


def load(folder: Path) -> list[StageCalls]:
    """Read what :func:`save` wrote.

    Args:
        folder: Of the artifact.

    Returns:
        The stages in the order they run.

    Raises:
        SrTvmError: The artifact has none, as those of other targets, or it is damaged.
    """
    path = folder / CALLS
    if not path.is_file():
        raise SrTvmError(
            f"{folder} holds no row functions of Hexagon: quantise a model ('sr-tvm quantize'), and compile it with "
            "this version for target hexagon"
        )
    return read_file(CallsFile, files.read_json(path, SCHEMA, VERSION), str(path)).stages


def count(folder: Path) -> ProgramCount:
    """Count the loops of an artifact for Hexagon, in its assembly: nothing runs.

    Args:
        folder: Of the artifact.

    Returns:
        Packets, multiplications and stalls of each stage.

    Raises:
        SrTvmError: The artifact has no row functions, or is damaged; or a row function is not in the assembly, or has
            no loop that multiplies.
    """
    stages = load(folder)
    path = folder / ASSEMBLY
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SrTvmError(f"{path}: {error.strerror}; compile the model again") from None
    found = functions(text)
    return ProgramCount(tuple(_stage(stage, found, path) for stage in stages))


def _stage(stage: StageCalls, found: dict[str, AssemblyFunction], path: Path) -> StageCount:
    nests = []
    for call in stage.calls:
        made = nest(found[call.symbol], call.inner) if call.symbol in found else None
        if made is None:
            raise SrTvmError(f"{path}: {call.symbol} is not there, or has no loop; compile the model again")
        nests.append(made)
    return StageCount(stage, tuple(nests))
