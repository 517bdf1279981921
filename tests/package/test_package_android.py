"""A package for Android: the archive's layout, and the same Java and C on this machine's Java."""

import io
import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import package_java
import pytest
from elftools.elf.elffile import ELFFile
from package_compilers import run
from package_driver import AS_GPU, DRIVER, LAUNCH
from package_library import SCALE, TILE

from sr_tvm.errors import SrTvmError
from sr_tvm.package.android import OPENCL, exports, java_class
from sr_tvm.package.record import Package
from sr_tvm.package.write import write_package
from sr_tvm.runtimes.c import NATIVE

ANDROID = "{http://schemas.android.com/apk/res/android}"


@pytest.fixture(scope="module")
def on_cpu(phones, tmp_path_factory) -> Package:
    return write_package(phones, tmp_path_factory.mktemp("android") / "made", kind="android")


@pytest.fixture(scope="module")
def on_gpu(android, phones, tmp_path_factory) -> Package:
    out = tmp_path_factory.mktemp("android") / "gpu"
    return write_package(android, out, "on_adreno", kind="android", fallback=phones)


@pytest.fixture(params=["on_cpu", "on_gpu"])
def made(request) -> Package:
    return request.getfixturevalue(request.param)


def _archive(package: Package) -> dict[str, bytes]:
    with zipfile.ZipFile(package.folder / "android" / f"{package.name}.aar") as aar:
        assert aar.testzip() is None
        return {info.filename: aar.read(info) for info in aar.infolist()}


def test_the_archive(made):
    name, files = made.name, _archive(made)
    prefab, module = json.loads(files["prefab/prefab.json"]), f"prefab/modules/{name}"
    assert prefab == {"schema_version": 2, "name": name, "version": "1.0.0", "dependencies": []}
    assert json.loads(files[f"{module}/module.json"]) == {"export_libraries": [], "library_name": f"lib{name}"}
    abi = json.loads(files[f"{module}/libs/android.arm64-v8a/abi.json"])
    assert abi == {"abi": "arm64-v8a", "api": 21, "ndk": 27, "stl": "none", "static": False}
    library = (made.folder / "lib" / f"lib{name}.so").read_bytes()
    assert files[f"{module}/libs/android.arm64-v8a/lib{name}.so"] == library == files[f"jni/arm64-v8a/lib{name}.so"]
    assert files[f"{module}/include/{name}.h"] == (made.folder / "include" / f"{name}.h").read_bytes()
    assert ElementTree.fromstring(files["AndroidManifest.xml"]).get("package") == f"srtvm.{name}"
    with zipfile.ZipFile(io.BytesIO(files["classes.jar"])) as jar:
        assert jar.namelist() == ["META-INF/MANIFEST.MF"]
    assert "R.txt" in files


def test_the_manifest_asks_for_the_vendors_opencl(on_cpu, on_gpu):
    """Android from 12 on lets an app open only what its manifest names; a phone without it takes the app as well."""
    manifest = ElementTree.fromstring(_archive(on_gpu)["AndroidManifest.xml"])
    asked = manifest.findall("application/uses-native-library")
    assert [a.get(f"{ANDROID}name") for a in asked] == list(OPENCL)
    assert {a.get(f"{ANDROID}required") for a in asked} == {"false"}
    candidates = (NATIVE / "sr_cl_library.h").read_text()
    assert all(f'"{name}"' in candidates for name in OPENCL)
    assert all(f'android:name="{name}"' in (on_gpu.folder / "README.md").read_text() for name in OPENCL)
    assert b"OpenCL" not in _archive(on_cpu)["AndroidManifest.xml"]


def test_the_library_shows_what_java_calls_and_fits_large_pages(made, on_gpu):
    with open(made.folder / "lib" / f"lib{made.name}.so", "rb") as handle:
        elf = ELFFile(handle)
        dynamic, symbols = elf.get_section_by_name(".dynamic"), elf.get_section_by_name(".dynsym")
        needed = {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}
        names = {s.name for s in symbols.iter_symbols() if s["st_shndx"] != "SHN_UNDEF"}
        assert all(s["p_align"] == 16384 for s in elf.iter_segments("PT_LOAD"))
        used = {s.name for s in symbols.iter_symbols() if s["st_shndx"] == "SHN_UNDEF"}
    assert {n for n in names if n.startswith("Java_")} == set(exports(made.name, made is on_gpu))
    assert ("dlopen" in used) == ("libdl.so" in needed) == (made is on_gpu)
    assert needed <= {"libc.so", "libdl.so", "libm.so"}


def test_equal_artifacts_make_equal_archives(on_gpu, android, phones, tmp_path):
    again = write_package(android, tmp_path / "again", "on_adreno", kind="android", fallback=phones)
    archive = f"android/{on_gpu.name}.aar"
    assert (again.folder / archive).read_bytes() == (on_gpu.folder / archive).read_bytes()


def _pixels(folder: Path, height: int, width: int) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(1, 256, (height, width, 4), np.uint8)
    (folder / "in").write_bytes(pixels.tobytes())
    return pixels


def _result(folder: Path, height: int, width: int) -> np.ndarray:
    return np.frombuffer((folder / "out").read_bytes(), np.uint8).reshape(height * SCALE, width * SCALE, 4)


def test_the_same_sources_on_this_machines_java(on_cpu, package, library, need, tmp_path):
    """The Java class and the C of the archive, with a stub of Android's Bitmap and this machine's library."""
    command = package_java.build(on_cpu, package, "Main.java", need, tmp_path)
    pixels = _pixels(tmp_path, 41, 37)
    said = run(*command, tmp_path / "in", tmp_path / "out", 41, 37).splitlines()
    with library.network() as network:
        assert np.array_equal(_result(tmp_path, 41, 37), network.run_u8(pixels, SCALE, "RGBA"))
    assert "ARGB_8888" in said[0] and "below 1" in said[1] and "null" in said[2] and "threads" in said[3]


@pytest.fixture(scope="module")
def gpu_java(on_gpu, adreno, need, tmp_path_factory):
    """The Java class of the archive with the GPU's kernels, which run on this machine's OpenCL."""
    folder = tmp_path_factory.mktemp("java")
    here = Package.load(adreno.path.parent.parent)
    return package_java.build(on_gpu, here, "MainOpenCL.java", need, folder)


def test_the_gpus_kernels_on_this_machines_java(gpu_java, adreno, tmp_path):
    command, cache = gpu_java, tmp_path / "cäche"
    cache.mkdir()
    pixels = _pixels(tmp_path, 41, 57)
    arguments = (tmp_path / "in", tmp_path / "out", 41, 57, "opencl", cache)
    said = run(*command, *arguments).splitlines()
    with adreno.network() as network, adreno.with_options(device="CPU").network() as cpu:
        made = _result(tmp_path, 41, 57)
        assert np.array_equal(made, network.run_u8(pixels, SCALE, "RGBA"))
        name = network.device(41, 57).name.decode()
        assert np.abs(made.astype(int) - cpu.run_u8(pixels, SCALE, "RGBA")).max() <= 1
    small = "the picture is lower or narrower than the kernels' tiles"
    assert said[:4] == [f"device {name}", "why ", "small device ", f"small why {small}"]
    assert "below 1" in said[4] and "null" in said[5] and said[6].endswith("no such choice of a device")
    assert len(list(cache.iterdir())) == 1
    assert run(*command, *arguments).splitlines() == said


def test_java_is_told_why_there_is_no_gpu(gpu_java, adreno, tmp_path):
    """The CPU's result then, if the choice is left to the network, else an exception."""
    command, (height, width) = gpu_java, TILE
    nowhere = {"OCL_ICD_VENDORS": str(tmp_path), "PATH": "/usr/bin:/bin"}
    pixels = _pixels(tmp_path, height, width)
    arguments = (tmp_path / "in", tmp_path / "out", height, width)
    said = run(*command, *arguments, "auto", tmp_path, env=nowhere).splitlines()
    assert said[:2] == ["device ", "why the OpenCL library finds no driver"]
    with adreno.with_options(device="CPU").network() as cpu:
        assert np.array_equal(_result(tmp_path, height, width), cpu.run_u8(pixels, SCALE, "RGBA"))
    said = run(*command, *arguments, "refused", tmp_path, env=nowhere)
    assert said == "on_adreno: the OpenCL library finds no driver\n"


def test_java_goes_on_when_a_driver_fails(gpu_java, adreno, need, tmp_path):
    """A library of OpenCL whose driver fails at a tile, found in the place of the machine's, which it calls."""
    real = tmp_path / "libOpenCL.so.9"
    there = run(need("gcc"), "-print-file-name=libOpenCL.so.1").strip()
    real.write_bytes(Path(there).read_bytes().replace(b"libOpenCL.so.1\0", b"libOpenCL.so.9\0"))
    source, lost = tmp_path / "driver.c", tmp_path / "libOpenCL.so.1"
    source.write_text((DRIVER + AS_GPU + LAUNCH).replace("libOpenCL.so.1", "libOpenCL.so.9"))
    link = ("-shared", "-fPIC", "-Wl,--no-as-needed", "-ldl", f"-L{tmp_path}", "-l:libOpenCL.so.9")
    run(need("gcc"), source, *link, f"-Wl,-soname,{lost.name}", "-o", lost)
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    pixels = _pixels(tmp_path, 60, 100)
    arguments = (tmp_path / "in", tmp_path / "out", 60, 100, "auto", tmp_path)
    said = run(*gpu_java, *arguments, env=environment).splitlines()
    assert said[0] == "device " and said[1].startswith("why starting a kernel fails: CL_OUT_OF_RESOURCES")
    with adreno.with_options(device="CPU").network() as cpu:
        assert np.array_equal(_result(tmp_path, 60, 100), cpu.run_u8(pixels, SCALE, "RGBA"))


def test_only_for_android(artifact, tmp_path):
    with pytest.raises(SrTvmError, match="needs android-cpu"):
        write_package(artifact, tmp_path / "x", kind="android")


@pytest.mark.parametrize(("name", "wanted"), [("wdsr_x2_37k", "WdsrX237k"), ("a__b_", "AB"), ("tiny", "Tiny")])
def test_java_names(name, wanted):
    assert java_class(name) == wanted
