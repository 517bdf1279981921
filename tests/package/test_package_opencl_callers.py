"""A package for OpenCL from C, under sanitizers, for a phone, and what can't be packaged."""

import subprocess

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from package_compilers import HERE, STRICT, ZIG, defines, run, static
from package_driver import AS_GPU, LAUNCH
from package_library import SCALE, TILE, Library, Network
from test_package_opencl import floats, on_cpu

from sr_tvm.build.compiler import compile_model
from sr_tvm.cli.package import command
from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.export import export_onnx
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.package.bench import measure
from sr_tvm.package.interface import DEVICE_FUNCTIONS, FUNCTIONS
from sr_tvm.package.record import Package
from sr_tvm.package.tables import PictureNames
from sr_tvm.package.write import write_package, write_sources
from sr_tvm.records.architecture import Architecture
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.device_program import DeviceProgram
from sr_tvm.runtimes.c import NATIVE

PICTURE = PictureNames("height", "width", 3, SCALE)
# What drivers leave is not ours.
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin:/bin", "HOME": "/tmp"}


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_clean_under_sanitizers(sanitizer, adreno, artifact, driver, folder, need, tmp_path):
    code, *others = write_sources(Artifact.load(folder / "adreno"), tmp_path, "net", artifact)
    options = (*STRICT, "-O1", "-g", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-ffp-contract=off")
    program = tmp_path / "device"
    sources = (HERE / "device.c", code, *others)
    include = (f"-I{tmp_path}", f"-I{NATIVE}")
    run(need("gcc"), *options, *include, *defines("net"), *sources, "-pthread", "-ldl", "-lm", "-o", program)
    assert run(program, "libOpenCL.so.1", "works", tmp_path, env=ENVIRONMENT) == "fine\n"
    assert run(program, "libOpenCL.so.1", "works", tmp_path, env=ENVIRONMENT) == "fine\n"  # from the cache
    assert run(program, driver(AS_GPU + LAUNCH), "lost", env=ENVIRONMENT) == "fine\n"
    done = subprocess.run([program, "/no/libNone.so"], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 1 and done.stdout.endswith("can't be opened: /no/libNone.so\n")


def test_kernels_in_float16_need_a_device_that_has_it(model, artifact, tmp_path):
    from dataclasses import replace

    from sr_tvm.package.device import Device
    from sr_tvm.runtimes.opencl import backend
    from sr_tvm.targets import registry

    target = replace(registry.get("adreno").stand_in(), dtype="float16")
    made = compile_model(model, target, tmp_path / "half", {"": (1, 3, *TILE)})
    package = write_package(made, tmp_path / "made", "half", fallback=artifact)
    library = Library.of(package, device="OPENCL")
    program = DeviceProgram.load(made.folder / "program", made.folder / "kernels.cl")
    assert program.half and {m.bits for m in program.memories if m.image} == {16}
    assert Device.load(made, PICTURE, artifact.halo, 2).facts()["half"] == 1
    if backend.find().devices[0].float16:
        x = floats(50, 70)
        with library.network() as network, on_cpu(library).network() as cpu:
            made, wanted = network.run_f32(x, SCALE), cpu.run_f32(x, SCALE)
        assert 1e-6 < np.abs(made - wanted).max() / np.abs(wanted).max() < 2e-2
        return
    _, said = Network.refused(library, device="OPENCL")
    assert "it has no float16 (cl_khr_fp16)" in said


def test_the_command(android, phones, tmp_path):
    arguments = [str(android.folder), "--fallback", str(phones.folder), "-o", str(tmp_path / "made"), "--name", "abc"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0 and "libabc.so" in result.output and "sr-tvm bench" in result.output
    with pytest.raises(SrTvmError, match="is for aarch64; run it there and keep what it prints: adb push"):
        measure(Package.load(tmp_path / "made"), 30, 50, 1)


def test_a_phones_library(android, phones, need, tmp_path):
    """It needs no OpenCL to be loaded, and without one runs on the CPU: here under emulation, as a static program."""
    from elftools.elf.elffile import ELFFile

    package = write_package(android, tmp_path / "made", fallback=phones)
    assert (package.target, package.machine, package.bench.exists()) == ("adreno", "aarch64", True)
    with open(package.folder / "lib" / f"lib{package.name}.so", "rb") as handle:
        elf = ELFFile(handle)
        needed = [tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")]
        names = {s.name for s in elf.get_section_by_name(".dynsym").iter_symbols() if s["st_shndx"] != "SHN_UNDEF"}
    assert sorted(needed) == ["libc.so", "libdl.so"]
    assert names - {""} == {f"{package.name}_{name}" for name in FUNCTIONS + DEVICE_FUNCTIONS}
    program = tmp_path / "driver"
    whole = (*STRICT, "-O1", f"-I{package.folder / 'include'}", *defines(package.name), HERE / "driver.c")
    run(*ZIG, "-target", "aarch64-linux-musl", "-static", *whole, static(package), "-o", program)
    assert run(need("qemu-aarch64", "qemu-aarch64-static"), program) == "fine\n"
    assert "libOpenCL-pixel.so" in (package.folder / "README.md").read_text()


def test_what_can_not_be_packaged(android, phones, adreno, artifact, model, folder, tmp_path):
    with pytest.raises(SrTvmError, match="--target android-cpu -o cpu/, then sr-tvm package ... --fallback cpu/"):
        write_package(android, tmp_path / "a")
    with pytest.raises(SrTvmError, match="is for cpu, which does not go with adreno"):
        write_package(android, tmp_path / "a", fallback=artifact)
    with pytest.raises(SrTvmError, match="is for adreno, which does not go with adreno"):
        write_package(android, tmp_path / "a", fallback=android)
    with pytest.raises(SrTvmError, match="--fallback is for packages of OpenCL"):
        write_package(phones, tmp_path / "a", fallback=phones)
    with pytest.raises(SrTvmError, match=r"adreno: is for adreno on this .* needs adreno or mali, compiled for"):
        write_package(Artifact.load(folder / "adreno"), tmp_path / "a", fallback=artifact, kind="android")
    small = compile_model(model, "adreno", tmp_path / "small", {"": (1, 3, 8, 40)})
    with pytest.raises(SrTvmError, match=r"pictures of 8x40 are too small .* --input-shape of 9x9 or more"):
        write_package(small, tmp_path / "a", fallback=phones)
    torch.manual_seed(5)
    other = tmp_path / "other.onnx"
    net = WDSR(Architecture.uniform(SCALE, 2, 8)).eval()
    export_onnx(net, other, (1, 3, 32, 32), dynamic=True, exporter="torchscript")
    with pytest.raises(SrTvmError, match="is of another model"):
        write_package(android, tmp_path / "a", fallback=compile_model(other, "android-cpu", tmp_path / "other"))
    (small.folder / "kernels.cl").write_text("changed")
    with pytest.raises(SrTvmError, match=r"kernels.cl: is missing or not the file"):
        write_package(small, tmp_path / "a", fallback=phones)
    (small.folder / "program" / "program.json").unlink()
    with pytest.raises(SrTvmError, match="holds no program for C"):
        write_package(small, tmp_path / "a", fallback=phones)
    assert not (tmp_path / "a").exists()
