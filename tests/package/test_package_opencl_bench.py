"""The benchmark program of a package for OpenCL: on this machine's device, and in its form for Android."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from package_compilers import HERE, ZIG, run
from package_driver import AS_GPU, LAUNCH
from package_library import TILE

from sr_tvm.package.bench import measure, read
from sr_tvm.package.native import ANDROID_LOADER, BIONIC
from sr_tvm.package.record import Package
from sr_tvm.package.write import write_package

LARGE = ("--height", "50", "--width", "70", "--seconds", "0.2")
SMALL = ("--height", "20", "--width", "30", "--seconds", "0.2")
CROSS = Path("/usr/aarch64-linux-gnu/lib")  # Debian's libc6-arm64-cross


@pytest.fixture(scope="module")
def here(adreno) -> Package:
    return Package.load(adreno.path.parent.parent)


@pytest.fixture(scope="module")
def there(android, phones, tmp_path_factory) -> Package:
    return write_package(android, tmp_path_factory.mktemp("bench") / "made", fallback=phones)


def _printed(*command, **more):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, **more)
    return done, json.loads(done.stdout) if done.stdout else None


def test_it_checks_and_measures_what_the_device_makes(here, tmp_path):
    done, value = _printed(here.bench, *LARGE, "--device", "opencl", "--cache", tmp_path)
    assert done.returncode == 0 and value["error"] is None and value["replays"] == 20
    assert 0 < value["error_of_peak"] < 1e-5 and len(value["samples_ms"]) >= 10
    assert (value["ran_on"], value["why"], value["tile_height"], value["tile_width"]) == ("opencl", "", *TILE)
    assert value["device"] and value["driver"] and len(list(tmp_path.iterdir())) == 1
    measurement = read(here, done.stdout, "it", "this CPU")
    assert measurement.device == value["device"] and measurement.conditions["ran_on"] == "opencl"


@pytest.mark.parametrize(
    ("options", "why", "named"),
    [
        ((*SMALL, "--device", "opencl"), "lower or narrower", True),
        ((*LARGE, "--device", "cpu"), "the CPU was asked for", False),
        ((*LARGE, "--library", "/no/libNone.so"), "can't be opened: /no/libNone.so", False),
    ],
)
def test_it_tells_why_it_ran_on_the_cpu(here, options, why, named):
    done, value = _printed(here.bench, *options)
    assert done.returncode == 0 and value["ran_on"] == "cpu" and why in value["why"]
    assert bool(value["device"]) == named
    assert read(here, done.stdout, "it", "this CPU").device == "this CPU"


def test_no_device_is_an_error_where_one_was_asked_for(here):
    done, value = _printed(here.bench, *LARGE, "--device", "opencl", "--library", "/no/libNone.so")
    assert done.returncode == 1 and "no OpenCL device" in value["error"] and "/no/libNone.so" in done.stderr
    done, value = _printed(here.bench, *LARGE, "--device", "gpu")
    assert done.returncode == 1 and "no such choice" in value["error"]


def test_wrong_kernels_are_found_by_the_embedded_output(here, folder, tmp_path):
    """The device's own weights are broken; those of the CPU are not."""
    data, weights = here.bench.read_bytes(), (folder / "adreno" / "program" / "weights.bin").read_bytes()
    at = data.index(weights[:256])
    broken = tmp_path / "bench"
    broken.write_bytes(data[: at + 3] + bytes([data[at + 3] ^ 0x40]) + data[at + 4 :])
    broken.chmod(0o755)
    done, value = _printed(broken, *LARGE, "--device", "opencl")
    assert done.returncode == 1 and value["error"] == "the output is not that of the reference"
    done, value = _printed(broken, *LARGE, "--device", "cpu")
    assert done.returncode == 0 and value["error"] is None


def test_a_driver_that_fails_on_the_way_is_told(here, driver):
    done, value = _printed(here.bench, *LARGE, "--device", "opencl", "--library", driver(AS_GPU + LAUNCH))
    assert done.returncode == 1 and "no OpenCL device runs the network, or one failed" in value["error"]


def test_bench_runs_it(here):
    """Without a choice: a GPU, which there need not be."""
    measurement = measure(here, 24, 40, 1, seconds=0.2)
    assert measurement.target == "adreno" and measurement.conditions["ran_on"] in ("cpu", "opencl")


def test_the_form_for_android(there):
    """What Android's loader takes: its own path, its libraries only, their functions only, pages of 16 KB."""
    with open(there.bench, "rb") as handle:
        elf = ELFFile(handle)
        assert (elf["e_machine"], elf["e_type"]) == ("EM_AARCH64", "ET_DYN")
        (loader,) = [s.get_interp_name() for s in elf.iter_segments("PT_INTERP")]
        dynamic = elf.get_section_by_name(".dynamic")
        tags = {tag.entry.d_tag for tag in dynamic.iter_tags()}
        needed = [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")]
        flags = [tag.entry.d_val for tag in dynamic.iter_tags("DT_FLAGS_1")]
        used = {s.name for s in elf.get_section_by_name(".dynsym").iter_symbols() if s["st_shndx"] == "SHN_UNDEF"}
        segments = list(elf.iter_segments("PT_LOAD"))
        assert all(s["p_align"] == 16384 and (s["p_vaddr"] - s["p_offset"]) % 16384 == 0 for s in segments)
        assert not any(s["p_flags"] & 3 == 3 for s in segments)  # nothing is both written and run
        assert not list(elf.iter_segments("PT_TLS"))
    assert loader == ANDROID_LOADER == "/system/bin/linker64"
    assert sorted(needed) == ["libc.so", "libdl.so"] and flags == [0x08000000]  # DF_1_PIE
    assert {"DT_HASH", "DT_GNU_HASH"} <= tags and "DT_TEXTREL" not in tags
    assert "__libc_init" in used and used - {""} <= {name for names in BIONIC.values() for name in names}


def test_the_form_for_android_under_another_loader(there, need, tmp_path):
    """glibc's, emulated, under the name of Android's: the program begins, finds all it uses, and checks its CPU's part.

    There is no OpenCL, so no device's code is run, and it says nothing of Android's own loader and C library.
    """
    if not CROSS.is_dir():
        pytest.skip("libc6-arm64-cross is missing: make system-deps")
    system = tmp_path / "system" / "bin"
    system.mkdir(parents=True)
    (system / "linker64").symlink_to(CROSS / "ld-linux-aarch64.so.1")
    compile_ = (*ZIG, "-target", "aarch64-linux-gnu.2.36", "-O1", "-Wall", "-Werror", "-shared", "-fPIC")
    for name in ("libc.so", "libdl.so"):
        run(*compile_, HERE / "bionic.c", f"-Wl,-soname,{name}", "-o", tmp_path / name)
    qemu = need("qemu-aarch64", "qemu-aarch64-static")
    command = (qemu, "-L", tmp_path, "-E", f"LD_LIBRARY_PATH={tmp_path}{os.pathsep}{CROSS}", there.bench)
    done, value = _printed(*command, *LARGE, "--threads", "2")
    assert done.returncode == 0, done.stderr
    assert value["error"] is None and value["machine"] == "aarch64" and 0 < value["error_of_peak"] < 1e-5
    assert value["ran_on"] == "cpu" and value["why"].startswith("no OpenCL library is installed; looked for libOpenCL")
    (there.folder / "bench.json").write_text(done.stdout)
    assert measure(there, 50, 70, 2).device == "aarch64, as read from bench.json"
    done, value = _printed(*command, "--what", "1")
    assert done.returncode == 2 and done.stderr.startswith("usage: ") and value is None
