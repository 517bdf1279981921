"""An integer network as a program for Hexagon: an object, its constants, and a runner in C, linked with no SDK."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import tvm

from sr_tvm import files as own_files
from sr_tvm.fields import expect
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.targets import link
from sr_tvm.targets.hexagon.hvx.code import VECTOR
from sr_tvm.targets.hexagon.hvx.driver import Memory, memory, module
from sr_tvm.targets.hexagon.hvx.stages import Stage, grouped, planes, stages
from sr_tvm.targets.target import IntegerBuild

ENTRY = "sr_network"  # which runtimes/hexagon/native/sr_run.c calls
PROGRAM, OBJECT, WEIGHTS, BIASES, FACTS = "model.elf", "network.o", "weights.bin", "biases.bin", "hexagon.json"
SCHEMA, VERSION = "sr-tvm/hexagon", 1
TRIPLE = "hexagon-linux-musl"  # as zig calls it
ATTRIBUTES = ["+hvxv68", "+hvx-length128b"]
# A loop that carries more values than LLVM's default of 16 is not rotated, and gets no hardware loop.
LLVM_OPTIONS = ["-rotation-max-header-size:uint=200"]


@dataclass(frozen=True)
class Facts:
    """What a runner must know of a program beside its artifact.

    Attributes:
        channels: of picture and result.
        shuffle: the result is so many times as wide and high as the picture.
        memory: what the workspace is made of, see :class:`~sr_tvm.targets.hexagon.hvx.driver.Memory`.
        stages: of each stage its words, and its multiply-accumulates a pixel.
    """

    channels: tuple[int, int]
    shuffle: int
    memory: Memory
    stages: tuple[tuple[str, int], ...]

    def workspace(self, width: int) -> int:
        """How many bytes a picture of ``width`` pixels needs beside itself, its result and the constants."""
        return self.memory.vectors(width) * VECTOR

    def save(self, path: Path) -> None:
        own_files.write_json(path, {"schema": SCHEMA, "version": VERSION, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> Facts:
        """Read what :meth:`save` wrote.

        Raises:
            SrTvmError: no such file, or damaged.
        """
        value = own_files.read_json(path, SCHEMA, VERSION)
        numbers: dict[str, Any] = expect(value.get("memory"), dict, f"{path}: field memory")
        fields = {
            name: expect(numbers.get(name), int, f"{path}: field memory.{name}") for name in Memory.__annotations__
        }
        channels = expect(value.get("channels"), list, f"{path}: field channels")
        rows = expect(value.get("stages"), list, f"{path}: field stages")
        shuffle = expect(value.get("shuffle"), int, f"{path}: field shuffle")
        named = tuple((str(name), int(macs)) for name, macs in rows)
        return cls((int(channels[0]), int(channels[1])), shuffle, Memory(**fields), named)


def tvm_target(mcpu: str) -> tvm.target.Target:
    """LLVM's Hexagon with vectors of 128 bytes."""
    config = {
        "kind": "llvm", "mtriple": "hexagon-unknown-linux-musl", "mcpu": mcpu, "mattr": ATTRIBUTES,
        "cl-opt": LLVM_OPTIONS, "num-cores": 1,
    }  # fmt: skip
    made = tvm.target.Target(config)
    return tvm.target.Target(made, host=made)


def build(network: IntegerNetwork, folder: Path, mcpu: str) -> IntegerBuild:
    """Write the program of a network into ``folder``, with what it is made of."""
    network = grouped(network)
    parts = stages(network)
    mod, constants = module(network, parts, ENTRY)
    with tvm.transform.PassContext(opt_level=3):
        built = tvm.tirx.build(mod, target=tvm_target(mcpu), pipeline="s_tir")
    built.write_to_file(str(folder / OBJECT))
    constants["weights"].tofile(folder / WEIGHTS)
    constants["biases"].tofile(folder / BIASES)
    facts = facts_of(network, parts)
    facts.save(folder / FACTS)
    link_program(folder / OBJECT, folder / PROGRAM, mcpu)
    rows = tuple(_row(i, stage) for i, stage in enumerate(parts))
    return IntegerBuild(PROGRAM, rows)


def facts_of(network: IntegerNetwork, parts: list[Stage]) -> Facts:
    """What a runner must know of the program of a grouped network."""
    named = tuple((stage.describe, stage.macs) for stage in parts)
    return Facts((network.channels(network.picture.name), planes(network)), network.shuffle, memory(parts), named)


def _row(number: int, stage: Stage) -> dict[str, Any]:
    row = {"kernel": f"stage{number}", "device": "hexagon", "calls": 1, "schedule": "default", "reduces": False}
    return row | {"what": stage.describe, "macs_per_pixel": stage.macs}


def link_program(network: Path, output: Path, mcpu: str) -> None:
    """Link an object that has the entry with the runner."""
    from tvm_ffi import libinfo

    headers = [f"-I{libinfo.find_include_path()}", f"-I{libinfo.find_dlpack_include_path()}"]
    with as_file(files("sr_tvm.runtimes.hexagon") / "native") as native:
        link.program(output, [native / "sr_run.c", network], TRIPLE, f"-mcpu={mcpu}", *headers)
