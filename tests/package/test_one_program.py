"""An artifact's library for TVM's virtual machine and its program for C are made of one scheduled module."""

import re

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

from sr_tvm.records.artifact import Artifact
from sr_tvm.records.device_program import DeviceProgram
from sr_tvm.records.program import FOLDER, OBJECT, WEIGHTS, Program
from sr_tvm.system.tvm_setup import import_tvm

import_tvm()
import tvm  # noqa: E402
from tvm import relax  # noqa: E402

HEIGHT, WIDTH = 30, 44
X86, GOT = "EM_X86_64", (41, 42)  # relocations by which a linker may change the instruction before
PREFIX = "__tvm_ffi_"


def _library(artifact: Artifact):
    return tvm.runtime.load_module(str(artifact.folder / artifact.library))


def _place(tensor) -> int:
    """Where a tensor of the virtual machine's lies."""
    return np.from_dlpack(tensor).ctypes.data


class Watched:
    """One run of an artifact by TVM's virtual machine: its calls of kernels, and what it allocated.

    Attributes:
        calls: names, with the places of their tensors.
        data: what lies at the place of each tensor when a kernel is called.
        storages: bytes that were asked for, one after another.
    """

    def __init__(self, artifact: Artifact, kernels: set[str], x: np.ndarray) -> None:
        self.calls: list[tuple[str, tuple[int, ...]]] = []
        self.data: dict[int, bytes] = {}
        self.storages: list[int] = []
        self._kernels = kernels
        machine = relax.VirtualMachine(_library(artifact), tvm.cpu())
        machine.set_instrument(self._watch)
        self.input = tvm.runtime.tensor(x)
        self.output = machine["main"](self.input)

    def _watch(self, _function, name, before, _result, *arguments):
        if before and name == "vm.builtin.alloc_storage":
            (size,) = arguments[1]
            self.storages.append(int(size))
        if before and name in self._kernels:
            self.calls.append((name, tuple(map(_place, arguments))))
            self.data |= {_place(a): np.from_dlpack(a).tobytes() for a in arguments}


@pytest.mark.parametrize("which", ["artifact", "pieces"])
def test_calls_constants_and_memory_are_the_same(request, which):
    """The same kernels in the same order on the same tensors, which share memory in the same way."""
    found = request.getfixturevalue(which)
    artifact = found if which == "artifact" else found[0]
    program = Program.load(artifact.folder / FOLDER)
    x = np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), dtype=np.float32)
    seen = Watched(artifact, set(program.kernels), x)
    assert [name for name, _ in seen.calls] == [call.kernel for call in program.calls]
    assert len(program.calls) == (1 if which == "artifact" else 10)

    weights = (artifact.folder / FOLDER / WEIGHTS).read_bytes()
    constants = {stored.tensor.name: stored for stored in program.constants}
    buffers = {stored.tensor.name: stored.place for stored in program.scratch}
    ends = {program.inputs[0].name: _place(seen.input), program.outputs[0].name: _place(seen.output)}
    memory: dict[int, int] = {}  # the virtual machine's place of each buffer
    for (_, places), call in zip(seen.calls, program.calls, strict=True):
        for place, name in zip(places, call.arguments, strict=True):
            if name in constants:
                tensor, at = constants[name].tensor, constants[name].place
                size = int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize
                assert seen.data[place] == weights[at : at + size]
            elif name in buffers:
                assert memory.setdefault(buffers[name], place) == place
            else:
                assert ends[name] == place
    assert len(set(memory.values())) == len(memory) == len(program.buffers)

    sizes = {program.inputs[0].shape[2]: HEIGHT, program.inputs[0].shape[3]: WIDTH}
    output = int(np.prod(seen.output.shape)) * 4
    assert sorted(seen.storages) == sorted([output, *(buffer.at(sizes) for buffer in program.buffers)])
    assert sum(seen.storages) - output == program.between.at(sizes)


def _code(path, kernel):
    """The section of an ELF file that holds a kernel: its bytes, where the kernel begins there, and relocations."""
    with open(path, "rb") as handle:
        elf = ELFFile(handle)
        tables = [s for s in elf.iter_sections() if s["sh_type"] in ("SHT_SYMTAB", "SHT_DYNSYM")]
        (symbol, *_) = [s for t in tables for s in t.iter_symbols() if s.name == PREFIX + kernel]
        section = elf.get_section(symbol["st_shndx"])
        rows = [
            (r["r_offset"], r["r_info_type"])
            for s in elf.iter_sections()
            if isinstance(s, RelocationSection) and elf.get_section(s["sh_info"]).name == section.name
            for r in s.iter_relocations()
        ]
        return bytearray(section.data()), symbol["st_value"] - section["sh_addr"], rows, elf["e_machine"]


@pytest.mark.parametrize("which", ["artifact", "pieces", "phones"])
def test_machine_code_is_the_same(request, which):
    """Byte for byte, but for the addresses that a linker fills in."""
    found = request.getfixturevalue(which)
    artifact = found[0] if which == "pieces" else found
    program = Program.load(artifact.folder / FOLDER)
    for kernel in program.kernels:
        alone, begin, relocations, machine = _code(artifact.folder / FOLDER / OBJECT, kernel)
        linked, there, _, _ = _code(artifact.folder / artifact.library, kernel)
        linked = linked[there - begin : there - begin + len(alone)]
        assert len(linked) == len(alone) > 1000
        masked = 0
        for offset, kind in relocations:
            first = offset - 3 if machine == X86 and kind in GOT else offset
            length = 8 if (machine, kind) == (X86, 1) else offset - first + 4
            alone[first : first + length] = linked[first : first + length] = bytes(length)
            masked += length
        assert alone == linked and masked < len(alone) / 3


@pytest.mark.parametrize("which", ["adreno", "mali"])
def test_a_gpus_kernels_are_the_same(request, which, folder):
    """The text that the library compiles, and its kernels in the same order."""
    request.getfixturevalue(which)
    artifact = Artifact.load(folder / which)
    program = DeviceProgram.load(artifact.folder / FOLDER, artifact.folder / "kernels.cl")
    library = _library(artifact)
    text = (artifact.folder / "kernels.cl").read_text()
    (device,) = [d for host in library.imports_ for d in host.imports_ if d.kind == "opencl"]
    assert device.inspect_source() == text
    called = re.findall(r"call +(\S+) ", library["as_text"]())
    functions = [name for name in called if not name.startswith("vm.")]
    launched = [re.sub(r"_kernel(_\d+)?$", "", launch.kernel) for launch in program.launches]
    assert functions == list(dict.fromkeys(launched)) and len(functions) > 1
