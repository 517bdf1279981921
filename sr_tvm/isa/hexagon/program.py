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
        symbol: its name in the assembly.
        tiles: of 32 pixels that a turn of its outer loop makes.
        inner: turns of the loop inside, where it has one.
    """

    symbol: str
    tiles: int
    inner: int


class StageCalls(Record, frozen=True, forbid_unknown_fields=False):
    """A stage: its words, and the row functions that make one of its rows."""

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
        """Of a tile: packets, multiplications or stalls of all calls."""
        return sum(n.turn[which] / call.tiles for n, call in zip(self.nests, self.stage.calls, strict=True))

    @property
    def packets(self) -> float:
        return self._sum(0)

    @property
    def stalls(self) -> float:
        return self._sum(2)

    @property
    def macs_per_packet(self) -> float:
        """Of the loops alone: what a row takes before and after them is not in it, nor what fills up vectors."""
        return self.stage.macs * LANES / 4 / self.packets if self.packets else 0.0

    def to_json(self) -> dict[str, Any]:
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
        return {
            "how": "static: counted in the assembly, nothing ran; the bound is two vrmpy a packet",
            "bound": BOUND,
            "mac_per_packet": round(self.macs_per_packet, 2),
            "stalls_percent": round(self.stalls_percent, 2),
            "stages": [stage.to_json() for stage in self.stages],
        }


def save(folder: Path, stages: list[StageCalls]) -> None:
    """Write which row functions make the stages."""
    files.write_json(folder / CALLS, {"schema": SCHEMA, "version": VERSION, "stages": plain(stages)})


def load(folder: Path) -> list[StageCalls]:
    """Read what :func:`save` wrote.

    Raises:
        SrTvmError: the artifact has none, as those of other targets, or it is damaged.
    """
    path = folder / CALLS
    if not path.is_file():
        raise SrTvmError(
            f"{folder} holds no row functions of Hexagon: quantise a model ('sr-tvm quantize'), and compile it with "
            "this version for target hexagon"
        )
    return read_file(CallsFile, files.read_json(path, SCHEMA, VERSION), str(path)).stages


def count(folder: Path) -> ProgramCount:
    """Count the loops of the artifact in ``folder``.

    Raises:
        SrTvmError: as :func:`load`; or a row function is not in the assembly, or has no loop that multiplies.
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
