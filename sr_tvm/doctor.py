"""The checks of ``sr-tvm doctor``, one function each."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from sr_tvm.errors import one_line
from sr_tvm.system import program as programs
from sr_tvm.system.death import how_ended

OK, WARN, FAIL = "ok", "warn", "fail"
INSTALL = "pip install -c constraints.txt -e '.[{}]'   (or: make venv)"
MIN_PYTHON = (3, 11)
MIN_DISK_GB, MIN_MEMORY_GB = 2.0, 2.0


@dataclass(frozen=True)
class CheckResult:
    """How a check went.

    Attributes:
        what: What was looked at.
        state: "ok", "warn" or "fail".
        found: What there is, in a line.
        remedy: What to type where that is not enough.
    """

    what: str
    state: str
    found: str
    remedy: str = ""


Check = Callable[[], CheckResult]


def run(check: Check) -> CheckResult:
    """Make a check; one that breaks down itself has failed.

    Args:
        check: The check; the first line of its docstring names it where it breaks down.

    Returns:
        How it went.
    """
    try:
        return check()
    except Exception as error:  # a broken installation can break anything, and saying so is the task here
        what = (check.__doc__ or check.__name__).split("\n")[0].rstrip(".")
        found = f"{type(error).__name__}: {one_line(error, 200)}"
        return CheckResult(what, FAIL, found, INSTALL.format("compile,train,report"))


def python() -> CheckResult:
    """Check Python.

    Returns:
        How it went: Python 3.11 or later is needed.
    """
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= MIN_PYTHON:
        return CheckResult("Python", OK, f"{found}, {sys.executable}")
    return CheckResult("Python", FAIL, found, "install Python 3.11 or later, then: make venv PYTHON=python3.11")


def _extras() -> dict[str, list[str]]:
    """Return our requirements by extra, as the installed package states them."""
    found: dict[str, list[str]] = {"": []}
    for line in requires("sr-tvm") or []:
        requirement, _, marker = line.partition(";")
        extra = marker.partition("extra == ")[2].strip(" \"'") if "extra ==" in marker else ""
        found.setdefault(extra, []).append(requirement.strip())
    return found


def _unmet(requirement: str) -> str | None:
    """Return what is wrong with an installed package, None if nothing is."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    try:
        have = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is missing"
    return (
        None if wanted.specifier.contains(have, prereleases=True) else f"{wanted.name} {have}, not {wanted.specifier}"
    )


def _packages(extra: str, what: str, state: str) -> Check:
    def check() -> CheckResult:
        if importlib.util.find_spec("packaging") is None:
            return CheckResult(what, WARN, "not checked: the package 'packaging' is missing", "pip install packaging")
        wanted = _extras().get(extra, [])
        wrong = [problem for requirement in wanted if (problem := _unmet(requirement))]
        if wrong:
            return CheckResult(what, state, "; ".join(wrong), INSTALL.format(extra or "compile"))
        return CheckResult(what, OK, f"{len(wanted)} packages")

    check.__doc__ = f"{what}."
    return check


def tvm_ffi_pin() -> CheckResult:
    """Check TVM's ffi.

    Returns:
        How it went: some versions crash with this TVM.
    """
    from packaging.requirements import Requirement

    pins = [Requirement(r) for r in _extras().get("compile", []) if r.startswith("apache-tvm-ffi")]
    have = version("apache-tvm-ffi")
    if pins and not pins[0].specifier.contains(have):
        # 0.1.15 crashes in save_json, which tuning and layout conversion need.
        remedy = f"pip install 'apache-tvm-ffi{pins[0].specifier}'"
        return CheckResult("TVM's ffi", FAIL, f"{have} crashes with this TVM", remedy)
    return CheckResult("TVM's ffi", OK, have)


def tvm_runs() -> CheckResult:
    """Check TVM and LLVM.

    Returns:
        How it went, in a process of its own that imports TVM and asks for its versions.

    Raises:
        ChildDied: The process hangs.
    """
    # In a process of its own: a broken TVM can crash, and its messages stay out of ours.
    code = (
        "import tvm; from tvm.target import codegen as c; "
        "print(tvm.__version__, c.llvm_version_major(), c.llvm_get_system_triple(), c.llvm_get_system_cpu()); "
        "tvm.ir.save_json(tvm.ir.IRModule({}))"
    )
    done = programs.run([sys.executable, "-c", code], "TVM", 300)
    words = done.stdout.split()
    if done.returncode != 0 or len(words) < 4:
        last = one_line(done.stderr, 200) or how_ended(done.returncode)
        return CheckResult("TVM and LLVM", FAIL, last, INSTALL.format("compile"))
    return CheckResult("TVM and LLVM", OK, f"TVM {words[0]}, LLVM {words[1]}, this CPU is {words[3]} ({words[2]})")


def linker() -> CheckResult:
    """Check the linker.

    Returns:
        How it went: ziglang's ld.lld must start.

    Raises:
        ChildDied: The linker hangs.
    """
    if importlib.util.find_spec("ziglang") is None:
        return CheckResult("linker", FAIL, "ziglang is missing", INSTALL.format("compile"))
    command = [sys.executable, "-m", "ziglang", "ld.lld", "--version"]
    done = programs.run(command, "ziglang's ld.lld", 120)
    if done.returncode != 0:
        return CheckResult(
            "linker", FAIL, f"ziglang's ld.lld exits with {done.returncode}", "pip install --force-reinstall ziglang"
        )
    return CheckResult("linker", OK, f"ziglang {version('ziglang')}, {done.stdout.split('(')[0].strip()}")


def rpc_tracker() -> CheckResult:
    """Check the RPC tracker.

    Returns:
        How it went: without tornado none can be started here.
    """
    if importlib.util.find_spec("tornado") is None:
        return CheckResult(
            "RPC tracker", WARN, "tornado is missing: no tracker can be started here", "pip install tornado"
        )
    return CheckResult("RPC tracker", OK, f"tornado {version('tornado')}")


def disk() -> CheckResult:
    """Check the disk.

    Returns:
        How it went: less than 2 GB free in the current folder is a warning.
    """
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 1e9
    state = OK if free >= MIN_DISK_GB else WARN
    return CheckResult(
        "disk", state, f"{free:.1f} GB free in {here}", f"free {MIN_DISK_GB:.0f} GB, or work in another folder"
    )


def memory() -> CheckResult:
    """Check the memory.

    Returns:
        How it went: less than 2 GB available is a warning.
    """
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    with open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024 / 1e9
    state = OK if available >= MIN_MEMORY_GB else WARN
    return CheckResult(
        "memory", state, f"{available:.1f} GB available", f"close programs: {MIN_MEMORY_GB:.0f} GB are needed"
    )


def cache() -> CheckResult:
    """Check the cache folder.

    Returns:
        How it went: the user's cache folder must be writable.
    """
    from platformdirs import user_cache_dir

    folder = Path(user_cache_dir("sr-tvm"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = "make it writable, or: export XDG_CACHE_HOME=/a/folder/of/yours"
        return CheckResult("cache folder", FAIL, f"{folder}: {error.strerror or error}", remedy)
    from sr_tvm.upscaling import cache as networks

    kept = f"{networks.size() / 1e6:.0f} MB of at most {networks.LIMIT_BYTES / 1e6:.0f}"
    return CheckResult("cache folder", OK, f"{folder}; compiled networks in {networks.cache_folder()}: {kept}")


def opencl() -> CheckResult:
    """Check OpenCL.

    Returns:
        How it went: the devices, or a warning with what is missing.

    Raises:
        ChildDied: The driver hangs.
    """
    from sr_tvm.runtimes.opencl import backend, build

    what = "OpenCL"
    if not build.library().is_file():
        found = "TVM's runtime for it is built when it is first used; not yet on this machine"
        return CheckResult(what, WARN, found, "sr-tvm doctor --fix")
    # In a process of its own: a driver can crash, and its messages stay out of ours.
    command = [sys.executable, "-m", backend.__name__]
    done = programs.run(command, "the OpenCL driver", 120)
    if done.returncode != 0:
        last = one_line(done.stderr, 200) or how_ended(done.returncode)
        return CheckResult(what, WARN, f"its driver fails: {last}", backend.REMEDY)
    seen = backend.Found.from_json(done.stdout.splitlines()[-1])
    if seen.problem:
        return CheckResult(what, WARN, seen.problem, backend.remedy(seen.problem))
    devices = "; ".join([*map(str, seen.devices), *seen.ignored])
    return CheckResult(what, OK, f"{devices} (by {seen.library})")


def build_opencl() -> str:
    """Build what TVM lacks for OpenCL, unless it is there.

    Returns:
        A line that says what was done.

    Raises:
        SrTvmError: It can't be built.
    """
    from sr_tvm.runtimes.opencl import build

    there = build.library().is_file()
    return f"OpenCL runtime {'is built' if there else 'built'}: {build.build()}"


def shipped_model() -> CheckResult:
    """Check the shipped model.

    Returns:
        How it went: its files must be there, and agree.

    Raises:
        SrTvmError: A file is damaged.
    """
    from sr_tvm import shipped
    from sr_tvm.records.architecture import Architecture
    from sr_tvm.system.files import sha256

    remedy = "install sr-tvm again: pip install --force-reinstall --no-deps -e ."
    folder = shipped.models()
    name = "wdsr_x2_37k"
    missing = [f"{name}{end}" for end in (".json", ".safetensors", ".onnx") if not (folder / f"{name}{end}").is_file()]
    if missing:
        return CheckResult("shipped model", FAIL, f"{folder} lacks {', '.join(missing)}", remedy)
    architecture = Architecture.load(folder / f"{name}.json")
    digest = sha256(folder / f"{name}.safetensors")
    if importlib.util.find_spec("torch") is not None:
        from sr_tvm.nets.weights import load_weights

        if load_weights(folder / f"{name}.safetensors").architecture != architecture:
            return CheckResult("shipped model", FAIL, f"{name}.json and .safetensors differ in their widths", remedy)
    if importlib.util.find_spec("onnx") is not None:
        from sr_tvm.frontend.onnx_file import load_onnx

        load_onnx(folder / f"{name}.onnx")
    return CheckResult("shipped model", OK, f"{name}, {architecture.params} parameters, weights sha256 {digest[:12]}")


CHECKS: tuple[Check, ...] = (
    python,
    _packages("", "packages of the core", FAIL),
    _packages("compile", "packages to compile and run", FAIL),
    tvm_ffi_pin,
    tvm_runs,
    linker,
    shipped_model,
    cache,
    disk,
    memory,
    rpc_tracker,
    opencl,
    _packages("train", "packages to train and export", WARN),
    _packages("report", "packages for reports", WARN),
    _packages("peers", "engines to compare with", WARN),
)
