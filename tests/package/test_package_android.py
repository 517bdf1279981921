"""A package for Android: the archive's layout, and the same Java and C on this machine's Java."""

import io
import json
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from sr_tvm.artifact import Artifact
from sr_tvm.errors import SrTvmError
from sr_tvm.package.android import exports, java_class
from sr_tvm.package.write import write_package

HERE = Path(__file__).parent
SECONDS = 300


@pytest.fixture(scope="module")
def made(phone, tmp_path_factory):
    artifact = Artifact.load(phone.folder.parent / "phone")
    return write_package(artifact, tmp_path_factory.mktemp("android") / "made", kind="android")


def _run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_archive(made):
    name = made.name
    with zipfile.ZipFile(made.folder / "android" / f"{name}.aar") as aar:
        assert aar.testzip() is None
        files = {info.filename: aar.read(info) for info in aar.infolist()}
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


def test_the_library_shows_what_java_calls_and_fits_large_pages(made):
    with open(made.folder / "lib" / f"lib{made.name}.so", "rb") as handle:
        elf = ELFFile(handle)
        names = {s.name for s in elf.get_section_by_name(".dynsym").iter_symbols() if s["st_shndx"] != "SHN_UNDEF"}
        assert all(s["p_align"] == 16384 for s in elf.iter_segments("PT_LOAD"))
    assert {n for n in names if n.startswith("Java_")} == set(exports(made.name))


def test_equal_artifacts_make_equal_archives(made, phone, tmp_path):
    again = write_package(Artifact.load(phone.folder.parent / "phone"), tmp_path / "again", kind="android")
    archive = f"android/{made.name}.aar"
    assert (again.folder / archive).read_bytes() == (made.folder / archive).read_bytes()


def test_the_same_sources_on_this_machines_java(made, package, library, need, tmp_path):
    """The Java class and the C of the archive, with a stub of Android's Bitmap and this machine's library."""
    name, kind = made.name, java_class(made.name)
    assert name == package.name
    sources, classes = made.folder / "android", tmp_path / "classes"
    stub = tmp_path / "src" / "android" / "graphics" / "Bitmap.java"
    stub.parent.mkdir(parents=True)
    stub.write_text((HERE / "Stub.java").read_text())
    main = tmp_path / "src" / "Main.java"
    main.write_text((HERE / "Main.java").read_text().replace("NETWORK", kind))
    java = sources / "java" / "srtvm" / f"{kind}.java"
    _run(need("javac"), "-Xlint:all", "-Werror", "-d", classes, stub, java, main)
    strict = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fPIC", "-shared")
    static = package.folder / "lib" / f"lib{name}.a"
    glue = sources / "cpp" / f"{name}_jni.c"
    include = f"-I{package.folder / 'include'}"
    _run(need("gcc"), *strict, include, glue, static, "-pthread", "-o", tmp_path / f"lib{name}.so")
    pixels = np.random.default_rng(1).integers(1, 256, (41, 37, 4), np.uint8)
    (tmp_path / "in").write_bytes(pixels.tobytes())
    command = (need("java"), "-Xcheck:jni", "-cp", classes, f"-Djava.library.path={tmp_path}", "Main")
    said = _run(*command, tmp_path / "in", tmp_path / "out", 41, 37).splitlines()
    made_here = np.frombuffer((tmp_path / "out").read_bytes(), np.uint8).reshape(82, 74, 4)
    with library.network() as network:
        assert np.array_equal(made_here, network.run_u8(pixels, 2, "RGBA"))
    assert "ARGB_8888" in said[0] and "below 1" in said[1] and "null" in said[2] and "threads" in said[3]


def test_only_for_android(artifact, tmp_path):
    with pytest.raises(SrTvmError, match="needs android-cpu"):
        write_package(artifact, tmp_path / "x", kind="android")


@pytest.mark.parametrize(("name", "wanted"), [("wdsr_x2_37k", "WdsrX237k"), ("a__b_", "AB"), ("tiny", "Tiny")])
def test_java_names(name, wanted):
    assert java_class(name) == wanted
