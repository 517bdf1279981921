"""Looks inside the library of every target: machine, symbols, page size, kernel sources, what runs where."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from sr_tvm.records.architecture import Architecture
from sr_tvm.records.artifact import Artifact
from sr_tvm.system import files
from sr_tvm.system.files import sha256
from sr_tvm.targets import registry

Compiled = Callable[[str], Artifact]
MACHINES = {"android-cpu": "EM_AARCH64", "adreno": "EM_AARCH64", "mali": "EM_AARCH64", "hexagon": "EM_QDSP6"}
MACHINES |= {"hexagon-float": "EM_QDSP6"}
DEVICES = {"cpu": "cpu", "android-cpu": "cpu", "adreno": "opencl", "mali": "opencl", "hexagon": "hexagon"}
DEVICES |= {"hexagon-float": "hexagon", "plain": "cpu"}
KERNEL = re.compile(rb"__kernel __attribute__\(\(reqd_work_group_size\([\d, ]+\)\)\) void (\w+)\(")


def exported(path: Path) -> dict[str, int]:
    """Functions and data the library defines, with their sizes."""
    with path.open("rb") as handle:
        symbols = ELFFile(handle).get_section_by_name(".dynsym").iter_symbols()
        return {s.name: s["st_size"] for s in symbols if s["st_shndx"] != "SHN_UNDEF"}


def load_segments(path: Path) -> list[dict[str, int]]:
    with path.open("rb") as handle:
        return [dict(s.header) for s in ELFFile(handle).iter_segments() if s["p_type"] == "PT_LOAD"]


@pytest.mark.parametrize("name", MACHINES)
def test_library_is_a_shared_object_of_the_targets_machine(compiled: Compiled, name: str) -> None:
    with compiled(name).library_path.open("rb") as handle:
        elf = ELFFile(handle)
        assert (elf["e_machine"], elf["e_type"]) == (MACHINES[name], "ET_DYN")


def test_cpu_library_is_of_this_machine(compiled: Compiled) -> None:
    import platform

    machine = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}[platform.machine()]
    with compiled("cpu").library_path.open("rb") as handle:
        assert ELFFile(handle)["e_machine"] == machine


@pytest.mark.parametrize("name", registry.names())
def test_every_kernel_of_the_manifest_is_code_in_the_library(compiled: Compiled, name: str) -> None:
    artifact = compiled(name)
    symbols = exported(artifact.library_path)
    streams = registry.get(name).lowering() is not None
    assert any(("stream" if streams else "conv2d") in k["kernel"] for k in artifact.kernels)
    for kernel in artifact.kernels:
        assert symbols["__tvm_ffi_" + kernel["kernel"]] > 0, kernel
    assert symbols["__tvm_ffi__library_bin"] > 0, "the VM's bytecode and the weights"


@pytest.mark.parametrize("name", registry.names())
def test_manifest_says_what_runs_where(compiled: Compiled, name: str) -> None:
    artifact = compiled(name)
    assert {k["device"] for k in artifact.kernels} == {DEVICES[name]}
    assert {k["schedule"] for k in artifact.kernels} == {"default"} and artifact.schedule == "default"
    assert artifact.kernels and all(k["calls"] >= 1 for k in artifact.kernels)
    assert artifact.target == name
    assert artifact.tvm_target["kind"] == {"opencl": "opencl"}.get(DEVICES[name], "llvm")


@pytest.mark.parametrize("name", ["adreno", "mali"])
def test_gpu_library_carries_an_opencl_kernel_for_every_kernel(compiled: Compiled, name: str) -> None:
    artifact = compiled(name)
    sources = {match.decode() for match in KERNEL.findall(artifact.library_path.read_bytes())}
    for kernel in artifact.kernels:
        assert kernel["kernel"] + "_kernel" in sources
    text = artifact.library_path.read_bytes()
    assert b"get_local_id(" in text, "threads are bound"
    assert b"image2d_array_t" in text, "what lies between kernels is in images"


@pytest.mark.parametrize("name", ["cpu", "android-cpu", "hexagon"])
def test_processor_library_carries_no_opencl(compiled: Compiled, name: str) -> None:
    assert b"__kernel" not in compiled(name).library_path.read_bytes()


@pytest.mark.parametrize("name", ["android-cpu", "adreno", "mali"])
def test_android_library_loads_on_pages_of_16_kb(compiled: Compiled, name: str) -> None:
    segments = load_segments(compiled(name).library_path)
    assert len(segments) >= 2
    for segment in segments:
        assert segment["p_align"] % 16384 == 0
        assert (segment["p_vaddr"] - segment["p_offset"]) % 16384 == 0


@pytest.mark.parametrize("name", ["android-cpu", "adreno", "mali"])
def test_android_library_needs_no_other_library(compiled: Compiled, name: str) -> None:
    with compiled(name).library_path.open("rb") as handle:
        tags = [tag.entry.d_tag for tag in ELFFile(handle).get_section_by_name(".dynamic").iter_tags()]
    assert "DT_NEEDED" not in tags


@pytest.mark.parametrize(
    ("name", "note"),
    [("adreno", "run it over RPC"), ("mali", "run it over RPC"), ("hexagon", "scalar, not yet optimised")],
)
def test_notes_say_what_is_needed(compiled: Compiled, name: str, note: str) -> None:
    assert any(note in n for n in compiled(name).notes)


def test_hexagon_says_that_nothing_runs_it_here(compiled: Compiled) -> None:
    assert "compile only: no runtime for it here" in compiled("hexagon").notes


def test_manifest_tells_model_shapes_versions_and_architecture(
    compiled: Compiled, tiny_onnx: Path, tiny_architecture: Architecture
) -> None:
    artifact = compiled("cpu")
    assert (artifact.model, artifact.model_sha256) == ("tiny.onnx", sha256(tiny_onnx))
    assert [(t.name, t.shape, t.dtype) for t in artifact.inputs] == [("x", (1, 3, 16, 12), "float32")]
    assert [(t.name, t.shape, t.dtype) for t in artifact.outputs] == [("y", (1, 3, 32, 24), "float32")]
    assert artifact.versions.keys() >= {"tvm", "ffi", "sr_tvm", "numpy"}
    assert artifact.architecture is not None
    assert Architecture.from_json(artifact.architecture) == tiny_architecture


def test_pass_report_lies_beside_the_library(compiled: Compiled) -> None:
    artifact = compiled("cpu")
    report = files.read_json(artifact.folder / "pass_report.json", "sr-tvm/pass-report", 1)
    assert report["kernels_after"] == sum(k["calls"] for k in artifact.kernels) < report["kernels_before"]
