"""A package from C, C++ and CMake, with several compilers, under sanitizers, and on an emulated Arm machine."""

import json
import subprocess

import numpy as np
import pytest
from package_compilers import HERE, SECONDS, STRICT, ZIG, defines, run, static
from PIL import Image

from sr_tvm.package.native import platform_of
from sr_tvm.package.write import write_package, write_sources
from sr_tvm.runtimes.c import NATIVE


@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
def test_c_with_each_compiler(package, need, tmp_path, compiler):
    command = (*ZIG, "-target", platform_of_host(package)) if compiler == "zig" else (need(compiler),)
    include = package.folder / "include"
    for source, extra in ((HERE / "driver.c", defines(package.name)), (package.folder / "example" / "example.c", ())):
        output = tmp_path / source.stem
        run(*command, *STRICT, "-O1", f"-I{include}", *extra, source, static(package), "-pthread", "-o", output)
    assert run(tmp_path / "driver") == "fine\n"


def platform_of_host(package):
    return f"{package.machine}-linux-gnu"


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
@pytest.mark.parametrize("which", ["artifact", "pieces"])
def test_clean_under_sanitizers(request, need, tmp_path, sanitizer, which):
    found = request.getfixturevalue(which)
    code, *others = write_sources(found if which == "artifact" else found[0], tmp_path, "net")
    options = (*STRICT, "-O1", "-g", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-ffp-contract=off")
    include = (f"-I{tmp_path}", f"-I{NATIVE}")
    program = tmp_path / "driver"
    sources = (HERE / "driver.c", code, *others)
    # gcc takes what goes into an .S file for C's; and a warning of the linker's is about its missing note.
    run(need("gcc"), *options, *include, *defines("net"), *sources, "-pthread", "-o", program)
    assert run(program) == "fine\n"


def test_a_data_race_would_be_found(need, tmp_path):
    """What the test above relies on."""
    source = tmp_path / "race.c"
    source.write_text(
        "#include <pthread.h>\nstatic int n;\nstatic void *f(void *p) { n++; return p; }\n"
        "int main(void) { pthread_t a, b; pthread_create(&a, 0, f, 0); pthread_create(&b, 0, f, 0);\n"
        "  pthread_join(a, 0); pthread_join(b, 0); return 0; }\n"
    )
    run(need("gcc"), "-g", "-fsanitize=thread", source, "-pthread", "-o", tmp_path / "race")
    assert subprocess.run([tmp_path / "race"], capture_output=True, timeout=SECONDS).returncode != 0


def test_cpp_with_two_networks_in_one_program(artifact, pieces, need, tmp_path, run_artifact):
    one, two = write_package(artifact, tmp_path / "1", "one"), write_package(pieces[0], tmp_path / "2", "two")
    include = [f"-I{p.folder / 'include'}" for p in (one, two)]
    warnings = ("-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
    program = tmp_path / "caller"
    run(need("g++"), *warnings, *include, HERE / "caller.cc", static(one), static(two), "-pthread", "-o", program)
    output = subprocess.run([program], capture_output=True, timeout=SECONDS, check=True).stdout
    made = np.frombuffer(output, np.float32).reshape(2, 1, 3, 66, 94)
    x = (np.arange(3 * 33 * 47) % 101).astype(np.float32).reshape(1, 3, 33, 47) / np.float32(101)
    for y, found in zip(made, (artifact, pieces[0]), strict=True):
        assert np.array_equal(y, run_artifact(found, x))


def test_cmake_finds_the_package_and_the_example_enlarges_a_picture(package, library, need, tmp_path):
    cmake = need("cmake")
    run(cmake, "-S", package.folder / "example", "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={package.folder}")
    run(cmake, "--build", tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 53, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.ppm")
    run(tmp_path / "example", tmp_path / "in.ppm", tmp_path / "out.ppm", "2")
    with library.network() as network:
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out.ppm")), network.run_u8(pixels, 2, "RGB"))
    missing = subprocess.run(
        [tmp_path / "example", tmp_path / "no.ppm", tmp_path / "x"], capture_output=True, text=True
    )
    assert missing.returncode == 1 and "no.ppm" in missing.stderr


def test_pkg_config_and_the_shared_library(package, need, tmp_path):
    environment = {"PKG_CONFIG_PATH": str(package.folder / "lib" / "pkgconfig"), "PATH": "/usr/bin:/bin"}
    flags = run(need("pkg-config"), "--cflags", "--libs", package.name, env=environment).split()
    run(need("gcc"), *STRICT, *defines(package.name), HERE / "driver.c", *flags, "-o", tmp_path / "driver")
    environment["LD_LIBRARY_PATH"] = str(package.folder / "lib")
    assert run(tmp_path / "driver", env=environment) == "fine\n"


def test_arm(phone, artifact, need, tmp_path, run_artifact):
    """The phone's code in a static program, under emulation: it agrees with itself, and with this machine's code."""
    program = tmp_path / "driver"
    include = f"-I{phone.folder / 'include'}"
    whole = (*STRICT, "-O1", include, *defines(phone.name), HERE / "driver.c", static(phone))
    run(*ZIG, "-target", "aarch64-linux-musl", "-static", *whole, "-o", program)
    assert run(need("qemu-aarch64", "qemu-aarch64-static"), program) == "fine\n"


def test_the_phones_library_needs_androids_libraries_only_and_fits_large_pages(phone):
    from elftools.elf.elffile import ELFFile

    with open(phone.folder / "lib" / f"lib{phone.name}.so", "rb") as handle:
        elf = ELFFile(handle)
        dynamic = elf.get_section_by_name(".dynamic")
        needed = [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")]
        names = {s.name for s in elf.get_section_by_name(".dynsym").iter_symbols() if s["st_shndx"] != "SHN_UNDEF"}
        assert needed == ["libc.so"] and elf["e_machine"] == "EM_AARCH64"
        assert all(s["p_align"] == 16384 for s in elf.iter_segments("PT_LOAD"))
        assert {name for name in names if name} == {n for n in names if n.startswith(f"{phone.name}_")}


def test_platforms(package, phone, artifact):
    assert platform_of(artifact).program.endswith("-linux-musl")
    assert (phone.machine, phone.target, package.target) == ("aarch64", "android-cpu", "cpu")


def test_a_processor_that_lacks_instructions_is_refused(package, need, tmp_path):
    """Under emulation of an old processor; here they are all there."""
    source = tmp_path / "create.c"
    source.write_text(
        "#include <stdio.h>\n#include HEADER\nint main(void) {\n"
        f"  {package.name}_network *network;\n"
        f"  puts({package.name}_text({package.name}_create({package.name.upper()}_VERSION, 2, &network)));\n"
        f"  {package.name}_destroy(network);\n  return 0;\n}}\n"
    )
    whole = (f"-I{package.folder / 'include'}", *defines(package.name), source, static(package))
    run(*ZIG, "-target", f"{package.machine}-linux-musl", "-static", *whole, "-o", tmp_path / "create")
    assert run(tmp_path / "create") == "all went well\n"
    if package.machine == "x86_64":
        qemu = need("qemu-x86_64", "qemu-x86_64-static")
        assert "lacks instructions" in run(qemu, "-cpu", "Nehalem", tmp_path / "create")


def test_float16_on_arm(model, need, tmp_path):
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.records.program import Program

    options = CompileOptions(dtype="float16")
    artifact = compile_model(model, "android-cpu", tmp_path / "half", options=options)
    assert Program.load(artifact.folder / "program").features == ("fullfp16",)
    package = write_package(artifact, tmp_path / "half-c")
    qemu, small = need("qemu-aarch64", "qemu-aarch64-static"), ("--height", "8", "--width", "9", "--seconds", "0")
    value = json.loads(run(qemu, "-cpu", "max", package.bench, *small))
    assert value["error"] is None and 1e-6 < value["error_of_peak"] < 1e-2
    old = subprocess.run([qemu, "-cpu", "cortex-a53", package.bench, *small], capture_output=True, text=True)
    assert "lacks instructions" in json.loads(old.stdout)["error"]
