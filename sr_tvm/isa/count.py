"""Count what a work-item executes: machine code weighted by how often its loops go round."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.isa import gpus
from sr_tvm.isa.compiler import compile_sources
from sr_tvm.isa.launch import Launch
from sr_tvm.isa.machine import MachineKernel, Statistics
from sr_tvm.isa.matching import match, trip_weights

_OUTSIDE = ("global", "image", "constant")  # memories that are in the phone's DRAM


@dataclass(frozen=True)
class Count:
    """A kernel's static counts by Mesa's compiler: an estimate of what the vendor's would make.

    Attributes:
        slots: Issue slots of one work-item, repeats and written waiting included; of a preamble its part of a wave.
        half_slots: Those of them that compute in 16 bits only.
        macs: Multiply-accumulates of one work-item, as the source has them.
        kinds: Issue slots by kind of instruction, "nop" for waiting.
        loads, stores: By memory, instructions and bytes of one work-item: {"local": {"count": 44, "bytes": 704}}.
        items: Work-items that are launched; ``lanes`` are those with what waves that are not full leave idle.
        trips: How often each machine loop goes round.
        problem: Why the counts can't be trusted; "" where loops and multiplications came out as the source has them.
        bytes_moved: Bytes of buffers and images that all work-items read and write by the source, each time they do.
        footprint: Bytes of buffers and images touched, each of them once.
    """

    name: str
    gpu: str
    mesa: str
    slots: float
    half_slots: float
    macs: float
    kinds: dict[str, float]
    loads: dict[str, dict[str, float]]
    stores: dict[str, dict[str, float]]
    items: int
    lanes: int
    statistics: Statistics
    trips: tuple[float, ...] = ()
    problem: str = ""
    bytes_moved: float = 0
    footprint: float = 0

    @property
    def mac_per_slot(self) -> float:
        """Multiply-accumulates of the source for an issue slot: those of padding, too."""
        return self.macs / self.slots if self.slots else 0.0

    @property
    def total_slots(self) -> float:
        """Issue slots of all launched work-items."""
        return self.slots * self.items

    @property
    def arithmetic_ms(self) -> float | None:
        """Milliseconds of issuing at the published rate, waves that are not full counted whole; None: no rate."""
        gpu = gpus.get(self.gpu)
        full, half = gpu.rate("slots_per_second"), gpu.rate("half_slots_per_second")
        if full is None:
            return None
        return 1e3 * self.lanes * ((self.slots - self.half_slots) / full + self.half_slots / (half or full))

    @property
    def memory_ms(self) -> float | None:
        """Milliseconds that the footprint takes at the published bandwidth; None: none is known."""
        bandwidth = gpus.get(self.gpu).rate("bytes_per_second")
        return None if bandwidth is None else 1e3 * self.footprint / bandwidth

    @property
    def scratch_ms(self) -> float:
        """Milliseconds at the published bandwidth of the scratch memory that registers are spilled to and read from.

        Caches hold some of it: this is the most that it may take, and not in the other estimates. 0: no bandwidth is
        known, or nothing is spilled.
        """
        bandwidth = gpus.get(self.gpu).rate("bytes_per_second")
        bytes_ = sum(way.get("private", {}).get("bytes", 0.0) for way in (self.loads, self.stores))
        return 0.0 if bandwidth is None else 1e3 * self.items * bytes_ / bandwidth

    @property
    def estimated_ms(self) -> float | None:
        """Milliseconds that a launch takes at least, an estimate for which no phone was asked; None: no rate is known.

        It is the larger of computing and of loading: a kernel computes while it loads.
        """
        arithmetic, memory = self.arithmetic_ms, self.memory_ms
        return None if arithmetic is None or memory is None else max(arithmetic, memory)

    def to_json(self) -> dict[str, Any]:
        """Write the counts as a JSON object.

        Returns:
            The fields, and the properties that follow from them, except ``scratch_ms``.
        """
        derived = ("mac_per_slot", "total_slots", "arithmetic_ms", "memory_ms", "estimated_ms")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


def count_sources(programs: Sequence[tuple[str, Sequence[Launch]]], gpu: str) -> list[list[Count]]:
    """Count what the kernels of several OpenCL C programs execute.

    All programs are compiled in one run: starting the compiler takes several seconds.

    Args:
        programs: Each as its OpenCL C and what is known of the kernels that are asked for.
        gpu: A name of ``gpus.json``, such as "adreno-660".

    Returns:
        For each program the counts of the kernels that are asked for, in that order.

    Raises:
        SrTvmError: The GPU is unknown, the compilers are not here, a kernel does not build, or the text has none of
            that name.
    """
    made = []
    for (_, launches), kernels in zip(programs, compile_sources([text for text, _ in programs], gpu), strict=True):
        by_name = {kernel.name: kernel for kernel in kernels}
        for launch in launches:
            if launch.name not in by_name:
                raise SrTvmError(f"the OpenCL C has no kernel {launch.name}; it has {', '.join(by_name) or 'none'}")
        made.append([count(by_name[launch.name], launch) for launch in launches])
    return made


def count(kernel: MachineKernel, launch: Launch) -> Count:
    """Count what one kernel executes as it is launched.

    Args:
        kernel: Its machine code.
        launch: How many work-items run it, and what one of them does by the source.

    Returns:
        The counts; ``problem`` tells where they can't be trusted.

    Raises:
        SrTvmError: The kernel is of an unknown GPU, and its statistics tell no wave.
    """
    found = match(kernel, launch.body)
    trips = found.trips or (1.0,) * len(kernel.loops)
    wave = kernel.statistics.wave or gpus.get(kernel.gpu).warp
    kinds: dict[str, float] = defaultdict(float)
    moved: dict[str, dict[str, dict[str, float]]] = {"load": {}, "store": {}}
    half = 0.0
    for instruction, times in zip(kernel.instructions, trip_weights(kernel, trips), strict=True):
        times = times / wave if instruction.preamble else times
        kinds[instruction.kind] += times * instruction.work
        kinds["nop"] += times * instruction.stall
        half += times * instruction.work * instruction.half
        if instruction.memory:
            place = moved[instruction.kind].setdefault(instruction.memory, {"count": 0.0, "bytes": 0.0})
            place["count"] += times
            place["bytes"] += times * instruction.size
    group = math.prod(launch.local_size)
    return Count(
        name=launch.name,
        gpu=kernel.gpu,
        mesa=kernel.mesa,
        slots=sum(kinds.values()),
        half_slots=half,
        macs=launch.body.total("macs"),
        kinds=dict(kinds),
        loads=moved["load"],
        stores=moved["store"],
        items=launch.items,
        lanes=math.prod(launch.groups) * -(-group // wave) * wave,
        statistics=kernel.statistics,
        trips=trips,
        problem=launch.problem or found.problem,
        bytes_moved=launch.items * sum(way.get(m, 0) for way in (launch.read, launch.written) for m in _OUTSIDE),
        footprint=launch.footprint,
    )
