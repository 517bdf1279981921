"""The simulator as a device: qemu-hexagon runs a program, bit by bit as a DSP does, and counts packets, never time."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.records import measured_stages
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.measurement import Measurement
from sr_tvm.records.module import Module
from sr_tvm.records.timer import PACKETS, Timer
from sr_tvm.runners.base import Runner, Session, SessionLost, Times, check_inputs, measurement
from sr_tvm.system import program as programs
from sr_tvm.system.death import ChildDied, how_ended
from sr_tvm.system.files import sha256
from sr_tvm.targets.hexagon import estimate
from sr_tvm.targets.hexagon.integer import BIASES, FACTS, PROGRAM, WEIGHTS, Facts

VARIABLE = "SR_TVM_QEMU_HEXAGON"
NAMES = ("qemu-hexagon", "qemu-hexagon-static")
HINT = "make system-deps (Debian has it in qemu-user-static)"
OLD, OLD_CPU, CPU = 10, "v67", "v68"  # before version 10 it knows no later processor; HVX's integers are the same there
MOST_BANDS = 64  # of runtimes/hexagon
PICTURE, WANTED = "picture", "wanted"  # what the tuner places in a session
_LINE = re.compile(r"stage (-?\d+) packets (\d+) instructions (\d+) hvx (\d+)")


@dataclass(frozen=True)
class Simulator:
    """An installed qemu-hexagon, and the processor it is asked to be."""

    path: str
    version: str
    cpu: str


@dataclass(frozen=True)
class Counts:
    """What one stage of a network took in the simulator.

    Attributes:
        what: The stage in words; "" for what lies between stages.
        macs: Multiply-accumulates of the network itself.
        packets: Instruction packets.
        instructions: Instructions in those packets.
        hvx: Those of them that are HVX, the vector unit's.
    """

    what: str
    macs: int
    packets: int
    instructions: int
    hvx: int

    @property
    def macs_per_packet(self) -> float:
        """The network's own multiply-accumulates per packet: what is added to fill vectors up is not counted."""
        return self.macs / self.packets if self.packets else 0.0


def missing() -> str | None:
    """Say what is missing for the simulator to run.

    Returns:
        One line with what to install; None where the simulator is there.
    """
    try:
        find()
    except SrTvmError as error:
        return str(error)
    return None


@cache
def find() -> Simulator:
    """Find qemu-hexagon: the file that SR_TVM_QEMU_HEXAGON names, or one in PATH.

    Returns:
        The simulator, with its version and the processor that it is asked to be.

    Raises:
        SrTvmError: There is none, or it does not start.
    """
    named = os.environ.get(VARIABLE)
    path = named or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise SrTvmError(f"the Hexagon simulator qemu-hexagon is not installed: {HINT}")
    try:
        said = programs.run([path, "--version"], "the Hexagon simulator", 30.0).stdout
    except ChildDied as error:
        raise SrTvmError(f"{error}; install it: {HINT}") from None
    version = re.search(r"version (\d+)\.(\d+)", said)
    if version is None:
        raise SrTvmError(f"{path} is no qemu: {one_line(said) or 'it says nothing'}; install it: {HINT}")
    return Simulator(path, f"{version[1]}.{version[2]}", OLD_CPU if int(version[1]) < OLD else CPU)


def simulate(
    program: Path, weights: Path, biases: Path, facts: Facts, picture: np.ndarray, deadline: float, bands: int = 1,
    threads: bool = False,
) -> tuple[np.ndarray, list[Counts]]:  # fmt: skip
    """Run a network's program on a picture in the simulator.

    Args:
        program: The Hexagon program of the network.
        weights: File of its weights.
        biases: File of its biases.
        facts: What must be known of the network: stages, channels, buffers.
        picture: (C, H, W) uint8.
        deadline: Seconds that the simulation may take.
        bands: Bands of rows that the picture is made in, one after another; no more than it has rows.
        threads: Whether as many threads as bands make them; then nothing is counted.

    Returns:
        The result, (C, H * shuffle, W * shuffle) uint8, and what each stage took, what is between stages last.

    Raises:
        SrTvmError: There is no simulator, or the result has another size.
        SessionLost: The program crashed, with the signal and the stage, or was not done in time.
    """
    found = find()
    _, height, width = picture.shape
    shape = facts.channels[1], height * facts.shuffle, width * facts.shuffle
    where = f"{program} in the simulator"
    with tempfile.TemporaryDirectory(prefix="sr-tvm-hexagon-") as scratch:
        source, result = Path(scratch) / "picture", Path(scratch) / "result"
        np.ascontiguousarray(picture).tofile(source)
        command = [found.path, "-cpu", found.cpu, *map(str, (program, weights, biases, source, result))]
        numbers: tuple[int, ...] = (height, width, int(np.prod(shape)), facts.workspace(width), len(facts.stages), 1)
        numbers += (min(bands, height), int(threads))
        try:
            done = programs.run([*command, *map(str, numbers)], where, deadline, hint="try a smaller picture")
        except ChildDied as error:
            raise SessionLost(str(error)) from None
        if done.returncode or not result.is_file():
            # Of a program that a signal ended qemu exits with 128 and its number.
            code = 128 - done.returncode if done.returncode > 128 else done.returncode
            raise SessionLost(str(ChildDied(where, how_ended(code), _words(done.stderr, facts))))
        made = np.fromfile(result, np.uint8)
    if made.size != np.prod(shape):
        raise SrTvmError(f"{program}: made {made.size} bytes, not {int(np.prod(shape))}")
    return made.reshape(shape), _counts(done.stdout, facts, height * width)


def _words(said: str, facts: Facts) -> str:
    """Return what a program said before it ended, the stage by its words."""
    stage = re.search(r"sr_run: in stage (-?\d+)", said)
    if stage is None:
        return one_line(said) or "no words"
    number = int(stage[1])
    return f"in stage {number}, {facts.stages[number][0]}" if 0 <= number < len(facts.stages) else "between stages"


def _counts(text: str, facts: Facts, pixels: int) -> list[Counts]:
    rows = {int(m[1]): tuple(map(int, m.groups()[1:])) for m in _LINE.finditer(text)}
    names = [*facts.stages, ("", 0)]
    order = [*range(len(facts.stages)), -1]
    return [Counts(what, macs * pixels, *rows[i]) for i, (what, macs) in zip(order, names, strict=True)]


class HexagonSimRunner(Runner):
    """Runs integer artifacts of target hexagon in qemu-hexagon and measures in packets.

    Pictures are made in ``bands`` of rows, for a DSP's contexts, one after another: what is counted is the sum.

    Packets are issued one after another by one thread: there are no stalls, no caches and no other contexts in them,
    so they say which of two programs does less, and not how long it takes.

    Args:
        memory: bytes that a network's buffers may take, say those of a VTCM; more is refused. None: any.

    Raises:
        SrTvmError: the simulator is not installed, or no such number of bands is possible.
    """

    capacity, unit = 1, PACKETS

    def __init__(self, deadline: float = 600.0, bands: int = 1, memory: int | None = None) -> None:
        if not 1 <= bands <= MOST_BANDS:
            raise SrTvmError(f"{bands} bands of rows; 1 to {MOST_BANDS} are simulated, and a DSP has 4 or 6 contexts")
        self.deadline, self.threads, self.memory, self.simulator = deadline, bands, memory, find()
        self.name = f"hexagon-sim (qemu {self.simulator.version}, {self.simulator.cpu})"

    @property
    @override
    def clock(self) -> str:
        return PACKETS

    @override
    def clock_on(self, device: str) -> str:
        return PACKETS

    @override
    def open(self, hold: float = 0.0) -> Session:
        return _Simulation(self)

    @override
    def run(self, artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self.counted(artifact, check_inputs(artifact, inputs)[0])[0]]

    def counted(self, artifact: Artifact, pictures: np.ndarray) -> tuple[np.ndarray, list[Counts]]:
        """Simulate an artifact on one picture and count.

        Args:
            artifact: An integer artifact of target hexagon.
            pictures: (1, C, H, W) uint8.

        Returns:
            The output (1, C, H * shuffle, W * shuffle) uint8, and what each stage took, what is between stages last.

        Raises:
            SrTvmError: There is more than one picture, its line buffers exceed the allowed memory, or the simulation
                failed.
        """
        facts = facts_of(artifact)
        if len(pictures) != 1:
            raise SrTvmError(f"{artifact.folder}: {len(pictures)} pictures; one at a time is simulated")
        needed = facts.workspace(pictures.shape[3]) * self.threads
        if self.memory is not None and needed > self.memory:
            raise SrTvmError(
                f"{artifact.folder}: buffers of {needed:,} bytes for pictures {pictures.shape[3]} wide, "
                f"{self.memory:,} are allowed; narrower pictures need less, their height costs nothing"
            )
        folder = artifact.folder
        program, weights, biases = (folder / name for name in (PROGRAM, WEIGHTS, BIASES))
        made, counts = simulate(program, weights, biases, facts, pictures[0], self.deadline, self.threads)
        return made[None], counts

    def measure(self, artifact: Artifact, repeats: int = 20, seed: int = 0) -> Measurement:
        """Count the packets of one run on seeded noise.

        Args:
            artifact: An integer artifact of target hexagon, at one size.
            repeats: Has no effect: packets are always the same, so there is one sample.
            seed: Of the noise.

        Returns:
            The packets, with an estimate of time among the conditions.

        Raises:
            SrTvmError: As of :meth:`counted`.
        """
        _, counts = self.counted(artifact, _noise(artifact, seed))
        packets = float(sum(c.packets for c in counts))
        conditions = {
            "method": f"packets counted by qemu {self.simulator.version} as {self.simulator.cpu}, simulated: no time",
            "threads": self.threads,
            "clock": self.clock,
            "repeats": 1,
            "runs_per_sample": 1,
            "line_buffer_bytes": facts_of(artifact).workspace(artifact.at({}).inputs[0].at({})[3]) * self.threads,
            "estimate": estimate.get().estimate(packets),
        }
        return measurement(self.name, artifact, [packets], conditions, self.unit)

    def per_operator(self, artifact: Artifact, repeats: int = 5) -> list[dict[str, Any]]:
        """Count the packets of each stage on noise.

        Args:
            artifact: An integer artifact of target hexagon, at one size.
            repeats: Has no effect: packets are always the same.

        Returns:
            A row of each stage: its words as "kernel", "calls", "packets", "hvx" (instructions) and "macs_per_packet".

        Raises:
            SrTvmError: As of :meth:`counted`.
        """
        _, counts = self.counted(artifact, _noise(artifact, 0))
        return [
            {"kernel": c.what or "between stages", "calls": 1, "packets": c.packets, "hvx": c.hvx,
             "macs_per_packet": round(c.macs_per_packet, 2)}
            for c in counts
        ]  # fmt: skip


class _Simulation(Session):
    """A session without a process: each call starts one. A module is simulated once: its packets are always the same.

    For the tuner, modules are whole programs with a file beside them that says which stages count; the inputs that are
    placed are a picture, PICTURE, and the result that all must have, WANTED. A second is a thousand packets.
    """

    runner: HexagonSimRunner

    def __init__(self, runner: HexagonSimRunner) -> None:
        self.runner = runner
        self.placed: dict[str, np.ndarray] = {}
        self.found: dict[str, tuple[str | None, float]] = {}

    def ask(
        self, operation: str, arrays: Sequence[np.ndarray] = (), *, seconds: float | None = None, **request: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        if operation == "info":
            return {"info": {"cpu": self.runner.name, "simulated": True}}, []
        raise SrTvmError(f"{self.runner.name}: whole artifacts are run there, no single modules yet")

    def run(self, artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self.runner.run(artifact, inputs)

    def place(self, inputs: Mapping[str, np.ndarray], like: Module, seconds: float | None = None) -> None:
        self.placed, self.found = dict(inputs), {}

    def expect(self, module: Module, seconds: float | None = None) -> str | None:
        return self._of(module)[0]

    def check(self, module: Module, seconds: float | None = None) -> str | None:
        return self._of(module)[0]

    def time(
        self, module: Module, timer: Timer, arrays: Sequence[np.ndarray] = (), reference: Module | None = None,
        cutoff: float | None = None, seconds: float | None = None,
    ) -> Times:  # fmt: skip
        told = tuple(self._of(m)[1] for m in (module, reference) if m is not None)
        return Times(told[:1], told[1:])

    def _of(self, module: Module) -> tuple[str | None, float]:
        """Return what is wrong with the result, if anything, and the packets of a kernel of the measured kind.

        Raises:
            SrTvmError: The program is not the one that was built.
        """
        if module.key not in self.found:
            folder = Path(module.library).parent
            if sha256(module.library) != module.digest:
                raise SrTvmError(f"{module.library}: not the program that was built")
            program, weights, biases = (folder / name for name in (PROGRAM, WEIGHTS, BIASES))
            facts, picture = Facts.load(folder / FACTS), self.placed[PICTURE]
            made, counts = simulate(program, weights, biases, facts, picture, self.runner.deadline)
            wrong = int(np.count_nonzero(made != self.placed[WANTED]))
            problem = f"{wrong} of {made.size} bytes are not those of the definition" if wrong else None
            stages, weight = measured_stages.read(folder)
            self.found[module.key] = problem, sum(counts[i].packets for i in stages) / weight / 1e3
        return self.found[module.key]

    def close(self) -> None:
        return


def facts_of(artifact: Artifact) -> Facts:
    """Load what the simulator must know of an artifact.

    Args:
        artifact: An integer artifact of target hexagon.

    Returns:
        Its facts: stages, channels, buffers.

    Raises:
        SrTvmError: It is not an integer artifact of target hexagon, or its program was changed.
    """
    if not (artifact.folder / FACTS).is_file():
        raise SrTvmError(
            f"{artifact.folder}: target {artifact.target}, no integer kernels: the simulator runs quantised models "
            "compiled for hexagon ('sr-tvm quantize', then 'sr-tvm compile --target hexagon')"
        )
    if sha256(artifact.library_path) != artifact.library_sha256:
        raise SrTvmError(f"{artifact.library_path}: not the program that was built; compile the model again")
    return Facts.load(artifact.folder / FACTS)


def _noise(artifact: Artifact, seed: int) -> np.ndarray:
    shape = artifact.at({}).inputs[0].at({})
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
