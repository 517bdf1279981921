"""From C and object files to libraries and programs, with the compiler inside ziglang: one for all machines."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.elf import library_machine
from sr_tvm.runtimes.c import NATIVE
from sr_tvm.system import program as programs
from sr_tvm.system.death import how_ended

DEADLINE_SECONDS = 300.0  # the first build for a machine compiles its C library, half a minute on a slow machine
# Rounding of pixels must not depend on whether the processor has a fused multiply-add; Android has no bcmp, which
# comparisons of memory become elsewhere.
OPTIONS = (
    "-std=c11", "-O2", "-g0", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-builtin-bcmp",
    "-fno-sanitize=all",
)  # fmt: skip
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
# Of programs for Android: what loads them, and what they begin with, which is its NDK's where there is one.
ANDROID_LOADER = "/system/bin/linker64"
ANDROID_START = NATIVE / "sr_android_start.S"
# Programs for a glibc of 2014 run on all that came after.
GLIBC = "2.19"


@dataclass(frozen=True)
class Platform:
    """Where a package runs.

    Attributes:
        machine: As ``uname -m`` says it.
        android: Whether the libraries are for Android, whose C library nobody but its NDK has: they are compiled with
            musl's headers, which agree with it in all that the runtime uses.
    """

    machine: str
    android: bool = False

    @property
    def library(self) -> str:
        """Zig's name of what libraries are compiled for."""
        return self.program if self.android else f"{self.machine}-linux-gnu.{GLIBC}"

    @property
    def program(self) -> str:
        """Zig's name of what a program that needs no library is compiled for."""
        return f"{self.machine}-linux-musl"


def platform_of(artifact: Artifact) -> Platform:
    """Find the platform that an artifact's code is for.

    Args:
        artifact: For a CPU, or for OpenCL with a CPU that calls it.

    Returns:
        The platform of the library in it.

    Raises:
        SrTvmError: The library cannot be read.
    """
    host = artifact.tvm_target.get("host") or {}
    android = "android" in str(artifact.tvm_target.get("mtriple") or host.get("mtriple", ""))
    return Platform(library_machine(artifact.library_path), android)


def zig(arguments: Iterable[str | Path], what: str) -> None:
    """Run a command of zig.

    Args:
        arguments: Of the command.
        what: It makes, for messages.

    Raises:
        SrTvmError: Ziglang is not installed, or it refuses ``what``, or takes too long.
    """
    if importlib.util.find_spec("ziglang") is None:
        raise SrTvmError("the compiler is missing: install the package 'ziglang' (pip install 'sr-tvm[compile]')")
    command = [sys.executable, "-m", "ziglang", *map(str, arguments)]
    done = programs.run(command, f"zig, which makes {what},", DEADLINE_SECONDS)
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        wrong = [line for line in lines if "error" in line] or lines
        raise SrTvmError(f"cannot make {what}: {wrong[0].strip() if wrong else f'zig: {how_ended(done.returncode)}'}")


def compile_c(source: Path, output: Path, triple: str, *options: str) -> None:
    """Compile a C or assembly file to an object file; a warning of C is an error.

    Args:
        source: The file; .c is C, anything else assembly.
        output: The object file.
        triple: Zig's name of what to compile for.
        *options: Of the compiler, behind the usual ones.

    Raises:
        SrTvmError: The compiler is missing, or it refuses the file.
    """
    warnings = WARNINGS if source.suffix == ".c" else ()
    zig(["cc", "-target", triple, *OPTIONS, *warnings, *options, "-c", source, "-o", output], source.name)


def merge(output: Path, objects: Sequence[Path]) -> None:
    """Make one object file of several.

    Args:
        output: The file to write.
        objects: Object files.

    Raises:
        SrTvmError: The linker is missing or fails.
    """
    zig(["ld.lld", "-r", "-o", output, *objects], output.name)


def archive(output: Path, objects: Sequence[Path]) -> None:
    """Make a static library.

    Args:
        output: The file to write; what is there is replaced.
        objects: Object files.

    Raises:
        SrTvmError: The archiver is missing or fails.
    """
    output.unlink(missing_ok=True)
    zig(["ar", "rcsD", output, *objects], output.name)


def program(output: Path, objects: Sequence[Path], triple: str) -> None:
    """Link a program that needs no library beside it.

    Args:
        output: The file to write.
        objects: Object files.
        triple: Zig's name of what they were compiled for.

    Raises:
        SrTvmError: The linker is missing or fails.
    """
    zig(["cc", "-target", triple, "-O2", "-static", "-s", *objects, "-o", output], output.name)


def open_program(output: Path, objects: Sequence[Path], platform: Platform) -> None:
    """Link a program that opens libraries, and so needs the C library of its machine.

    Args:
        output: The file to write.
        objects: Object files, compiled for the platform's libraries.
        platform: Where it runs.

    Raises:
        SrTvmError: It is for an Android that is not aarch64, or the linker is missing or fails.
    """
    if not platform.android:
        command: list[str | Path] = ["cc", "-target", platform.library, "-O2", "-s", *objects]
        zig([*command, "-lpthread", "-ldl", "-lm", "-o", output], output.name)
        return
    if platform.machine != "aarch64":
        raise SrTvmError(f"cannot make {output.name}: programs for Android begin on aarch64, not {platform.machine}")
    with tempfile.TemporaryDirectory(prefix="sr-tvm-bionic-") as folder:
        start = Path(folder) / "start.o"
        compile_c(ANDROID_START, start, platform.program)
        flags = ("-pie", f"--dynamic-linker={ANDROID_LOADER}", "-z", "max-page-size=16384")
        _link_android(output, [*flags, start, *objects], platform)


def shared(output: Path, objects: Sequence[Path], platform: Platform, exports: Path) -> None:
    """Link a shared library that shows some symbols and no others.

    Args:
        output: The file to write, by whose name programs find it.
        objects: Object files, compiled for the platform's libraries.
        platform: Where it runs.
        exports: A version script of the symbols that it shows.

    Raises:
        SrTvmError: The linker is missing or fails, as where Android lacks a function.
    """
    flags = [f"--version-script={exports}", f"-soname={output.name}", "-z", "max-page-size=16384"]
    if platform.android:
        _link_android(output, ["-shared", *flags, *objects], platform)
        return
    command: list[str | Path] = ["cc", "-target", platform.library, "-shared", "-s", *(f"-Wl,{f}" for f in flags)]
    zig([*command, *objects, "-Wl,--as-needed", "-lpthread", "-ldl", "-lm", "-o", output], output.name)


def _link_android(output: Path, flags: Iterable[str | Path], platform: Platform) -> None:
    """Link with stubs of Android's libraries: what it does not have is an error."""
    with tempfile.TemporaryDirectory(prefix="sr-tvm-bionic-") as folder:
        stubs = [_bionic(Path(folder) / file, names, platform) for file, names in BIONIC.items()]
        linker = ("ld.lld", "-s", "--hash-style=both", "--no-undefined", "--as-needed")
        zig([*linker, *flags, *stubs, "-o", output], output.name)


# All that runtime, kernels and benchmark program use of Android's C library, by the names of its parts. Each is a
# function that every Android of 64 bits has: not stderr, say, or aligned_alloc.
_LIBC = (
    "pthread_attr_destroy pthread_attr_init pthread_attr_setstacksize pthread_cond_broadcast pthread_cond_destroy "
    "pthread_cond_init pthread_cond_wait pthread_create pthread_getspecific pthread_join pthread_key_create "
    "pthread_mutex_destroy pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock pthread_once pthread_setspecific "
    "calloc fclose fgetc fopen fread free fwrite getauxval getpid malloc memcmp memcpy memmove memset remove rename "
    "strcmp strlen strncmp strstr "
    "__libc_init access clock_gettime dprintf fgets fscanf posix_memalign printf putchar puts qsort snprintf sscanf "
    "strtod strtol"
)
_LIBM = ["erff", "expf", "fmaf", "powf", "sqrtf", "tanhf"]
BIONIC = {"libc.so": _LIBC.split(), "libm.so": _LIBM, "libdl.so": ["dlopen", "dlsym"]}


def _bionic(path: Path, names: Sequence[str], platform: Platform) -> Path:
    """Return a library with the name and the used symbols of one of Android's: to link with, never to run."""
    source, made = path.with_suffix(".S"), path.with_suffix(".o")
    text = "".join(f".globl {name}\n.type {name}, @function\n{name}:\n" for name in names)
    source.write_text(f".text\n{text}", encoding="utf-8")
    compile_c(source, made, platform.program)
    zig(["ld.lld", "-shared", f"-soname={path.name}", made, "-o", path], path.name)
    return path
