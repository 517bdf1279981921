"""An integer network as a program for Hexagon: an object, its constants, and a runner in C, linked with no SDK."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from sr_tvm.isa.hexagon import program
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.system import files as own_files
from sr_tvm.system.validation import Record, plain, read_file
from sr_tvm.targets import link
from sr_tvm.targets.hexagon import machine_code, processors
from sr_tvm.targets.hexagon.hvx.code import LANES, VECTOR
from sr_tvm.targets.hexagon.hvx.decisions import HvxDecisions
from sr_tvm.targets.hexagon.hvx.driver import TILES, WorkspaceSize, margins, memory, module
from sr_tvm.targets.hexagon.hvx.stages import HvxStage, grouped, planes, stages
from sr_tvm.targets.hexagon.processors import CONTEXTS, KIB, VTCM_SOURCE, HexagonVersion
from sr_tvm.targets.target import IntegerBuild

ENTRY = "sr_network"  # which runtimes/hexagon/native/sr_run.c calls
PROGRAM, WEIGHTS, BIASES, FACTS = "model.elf", "weights.bin", "biases.bin", "hexagon.json"
SCHEMA, VERSION = "sr-tvm/hexagon", 1
TRIPLE = "hexagon-linux-musl"  # as zig calls it
WIDTH = 640  # at which memory is told
RUN = LANES * TILES  # pixels that line buffers grow by
RUNNER_MCPU = "hexagonv65"  # of the runner and its C library: one for all, for each takes minutes the first time


class Facts(Record, frozen=True, forbid_unknown_fields=False):
    """What a runner must know of a program beside its artifact.

    Attributes:
        channels: Those of the picture, and planes of the result.
        shuffle: The result is so many times as wide and high as the picture.
        memory: What the workspace is made of, see :class:`~sr_tvm.targets.hexagon.hvx.driver.WorkspaceSize`.
        stages: Each stage in words, and its multiply-accumulates for a pixel.
        halo: A pixel of the result depends on the picture up to so many pixels away; -1: not known, of an older sr-tvm.
    """

    channels: tuple[int, int]
    shuffle: int
    memory: WorkspaceSize
    stages: tuple[tuple[str, int], ...]
    halo: int = -1

    def workspace(self, width: int) -> int:
        """Compute what a band of a picture needs beside picture, result and constants.

        Args:
            width: Of the picture, in pixels; its height does not matter.

        Returns:
            Bytes of line buffers and tables.
        """
        return self.memory.vectors(width) * VECTOR

    def widest(self, size: int) -> int:
        """Find the widest picture whose line buffers fit into a memory.

        Args:
            size: Of the memory, in bytes.

        Returns:
            Width in pixels, a multiple of RUN; 0 where no picture fits.
        """
        width = 0
        while self.workspace(width + RUN) <= size:
            width += RUN
        return width

    def save(self, path: Path) -> None:
        """Write the facts as JSON.

        Args:
            path: The file; it is replaced.
        """
        own_files.write_json(path, {"schema": SCHEMA, "version": VERSION, **plain(self)})

    @classmethod
    def load(cls, path: Path) -> Facts:
        """Read the facts that :meth:`save` wrote.

        Args:
            path: The file.

        Returns:
            The facts.

        Raises:
            SrTvmError: No such file, or it is damaged.
        """
        return read_file(cls, own_files.read_json(path, SCHEMA, VERSION), str(path))


def build(
    network: IntegerNetwork, folder: Path, mcpu: str, decided: Mapping[str, tuple[HvxDecisions, str]] | None = None
) -> IntegerBuild:
    """Write the program of a network into a folder, with what it is made of: assembly, constants and facts.

    Args:
        network: The network, as it was quantised.
        folder: Where the files go; it is there.
        mcpu: The processor, by LLVM's name, one of :data:`~sr_tvm.targets.hexagon.processors.PROCESSORS`.
        decided: By kind of kernel, decisions and what is told of the record that they are from; None: all by default.

    Returns:
        The program's file name, a row for each stage, and a note on memory.

    Raises:
        SrTvmError: Something of the network has no kernel on HVX, or a tool fails.
    """
    decided, network = decided or {}, grouped(network)
    parts = stages(network, {kind: decisions for kind, (decisions, _) in decided.items()})
    written = module(network, parts, ENTRY)
    text = machine_code.assembly(written.module, mcpu, written.llvm)
    (folder / program.ASSEMBLY).write_text(text, encoding="utf-8")
    written.constants["weights"].tofile(folder / WEIGHTS)
    written.constants["biases"].tofile(folder / BIASES)
    facts = facts_of(network, parts)
    facts.save(folder / FACTS)
    program.save(folder, written.calls)
    link_program(folder / program.ASSEMBLY, folder / PROGRAM, mcpu)
    rows = tuple(_row(i, stage, decided.get(stage.kind, (None, ""))[1]) for i, stage in enumerate(parts))
    return IntegerBuild(PROGRAM, rows, (memory_note(facts, processors.PROCESSORS[mcpu]),))


def memory_note(facts: Facts, processor: HexagonVersion) -> str:
    """Say what line buffers take, and whether they fit into a processor's VTCM.

    Args:
        facts: Of the program.
        processor: The processor that it is for.

    Returns:
        A sentence for people.
    """
    each = facts.workspace(WIDTH) / KIB
    size, version = processor.vtcm / KIB, f"v{processor.version}"
    widest = facts.widest(processor.vtcm // CONTEXTS)
    fits = f"up to {widest} pixels" if widest else "at no width"
    return (
        f"line buffers: {each:.0f} KiB a band of a picture {WIDTH} pixels wide; those of {CONTEXTS} bands fit into the "
        f"{size:.0f} KiB of VTCM that {version} usually has {fits} ({VTCM_SOURCE}); in the simulator they are plain "
        "memory"
    )


def facts_of(network: IntegerNetwork, parts: list[HvxStage]) -> Facts:
    """Collect what a runner must know of a program.

    Args:
        network: The network, as :func:`~sr_tvm.targets.hexagon.hvx.stages.grouped` gives it.
        parts: Its stages.

    Returns:
        The facts.
    """
    named = tuple((stage.describe, stage.macs) for stage in parts)
    channels = network.channels(network.picture.name), planes(network)
    return Facts(channels, network.shuffle, memory(parts), named, margins(parts)[0] + parts[0].window // 2)


def _row(number: int, stage: HvxStage, record: str) -> dict[str, Any]:
    row = {"kernel": f"stage{number}", "device": "hexagon", "calls": 1, "schedule": "tuned" if record else "default"}
    row |= {"record": record} if record else {}
    return row | {"reduces": False, "what": stage.describe, "kind": stage.kind, "macs_per_pixel": stage.macs}


def link_program(network: Path, output: Path, mcpu: str) -> None:
    """Link assembly that has the entry with the runner.

    Args:
        network: The assembly file.
        output: The program's file, which is made.
        mcpu: The processor of the assembly, by LLVM's name.

    Raises:
        SrTvmError: The assembler, the compiler or the linker fails.
    """
    from tvm_ffi import libinfo

    version = mcpu.removeprefix("hexagon")
    headers = [f"-I{libinfo.find_include_path()}", f"-I{libinfo.find_dlpack_include_path()}"]
    with (
        as_file(files("sr_tvm.runtimes.hexagon") / "native") as native,
        tempfile.TemporaryDirectory(prefix="sr-tvm-hexagon-") as scratch,
    ):
        made = Path(scratch) / "network.o"
        link.assemble(made, network, TRIPLE, f"-mcpu={mcpu}+hvx{version}+hvx_length128b")
        link.program(output, [native / "sr_run.c", made], TRIPLE, f"-mcpu={RUNNER_MCPU}", *headers)
