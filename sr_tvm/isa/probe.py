"""Run the probe: an arm64 program, under the emulator, that has Mesa compile OpenCL C and prints what Mesa prints."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import platformdirs

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.isa import system
from sr_tvm.isa.gpus import Gpu
from sr_tvm.system import files
from sr_tvm.system import program as programs
from sr_tvm.system.death import ChildDied, how_ended

# Starting takes 6 s of CPU, a kernel 1 s on Adreno and 5 s on Mali; machines are busy.
START_SECONDS, KERNEL_SECONDS = 120.0, 60.0
ZIG_SECONDS = 300.0
_TRIPLE = "aarch64-linux-gnu.2.28"
_SHIMS = {"adreno": "libfreedreno_noop_drm_shim.so", "mali": "libpanfrost_noop_drm_shim.so"}


def run(sources: Sequence[str], gpu: Gpu) -> str:
    """Have Mesa build OpenCL C programs for a GPU, in a child process with a deadline.

    Args:
        sources: OpenCL C, a program each.
        gpu: What Mesa compiles for.

    Returns:
        What the probe and Mesa print meanwhile, the machine code among it.

    Raises:
        SrTvmError: The compilers are not there, they know no such GPU, or the deadline passed.
    """
    why = system.missing()
    if why:
        raise SrTvmError(why)
    program = _program()
    deadline = START_SECONDS + KERNEL_SECONDS * max(1, sum(source.count("__kernel") for source in sources))
    with tempfile.TemporaryDirectory() as scratch:
        paths = []
        for number, source in enumerate(sources):
            paths.append(Path(scratch) / f"{number}.cl")
            paths[-1].write_text(source, encoding="utf-8")
        output = Path(scratch) / "output"
        code = _child([*_command(gpu, program), *map(str, paths)], _environment(gpu), output, deadline)
        text = output.read_text(encoding="utf-8", errors="replace")
    told = [line for line in text.splitlines() if line.startswith(("#! no ", "#! OpenCL error"))]
    if told or code:
        said = told[0].removeprefix("#! ") if told else one_line(text) or how_ended(code)
        raise SrTvmError(f"Mesa's compiler for {gpu.name} failed: {said}")
    return text


def _command(gpu: Gpu, program: Path) -> list[str]:
    root = system.folder() / "root"
    # Only the shim goes by -E, since it must not reach the emulator; -E splits at commas, so the rest is inherited.
    shim = f"LD_PRELOAD=/{system.LIBRARIES}/{_SHIMS[gpu.family]}"
    return [str(system.folder() / "bin/qemu-aarch64"), "-L", str(root), "-E", shim, str(program)]


def _environment(gpu: Gpu) -> dict[str, str]:
    root = system.folder() / "root"
    common = {
        "MESA_SHADER_CACHE_DISABLE": "true",
        "RUSTICL_FEATURES": "fp16",
        "OCL_ICD_VENDORS": str(root / "etc/OpenCL/vendors/rusticl.icd"),
    }
    if gpu.family == "adreno":
        own = {"FD_GPU_ID": gpu.mesa_id, "RUSTICL_ENABLE": "freedreno", "IR3_SHADER_DEBUG": "cs,nocache"}
    else:
        own = {"PAN_GPU_ID": gpu.mesa_id, "RUSTICL_ENABLE": "panfrost", "BIFROST_MESA_DEBUG": "shaders,shaderdb"}
    return {**os.environ, **common, **own}


def _child(command: list[str], environment: dict[str, str], output: Path, deadline: float) -> int:
    with open(output, "wb") as handle:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, env=environment, start_new_session=True
            )
        except OSError as error:
            raise SrTvmError(f"cannot start {command[0]}: {error.strerror or error}; {system.HINT}") from None
        try:
            return process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise ChildDied("Mesa's compiler", f"it did not finish within {deadline:g} s", verb="was killed") from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _program() -> Path:
    """Return the probe, compiled on first use by zig, which has what other architectures need.

    Raises:
        SrTvmError: It does not compile, within the deadline, or cannot be made executable.
    """
    source = (resources.files(__package__) / "probe.c").read_text(encoding="utf-8")
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = Path(platformdirs.user_cache_dir("sr-tvm")) / "gpu-isa-probe" / digest
    if path.is_file():
        return _executable(path)
    with files.atomic_file(path) as partial, tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "probe.c"
        text.write_text(source, encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            _TRIPLE,
            "-O1",
            "-o",
            str(partial),
            str(text),
            "-ldl",
        ]
        done = programs.run(command, "zig, which makes the probe,", ZIG_SECONDS)
        if done.returncode:
            raise SrTvmError(f"zig could not compile the probe: {one_line(done.stderr)}")
    return _executable(path)


def _executable(path: Path) -> Path:
    """Return the path of the probe once it may be executed.

    An atomic file becomes executable after it has its name: who wrote it may have ended in between.

    Raises:
        SrTvmError: It cannot be made executable.
    """
    if not os.access(path, os.X_OK):
        try:
            path.chmod(0o755)
        except OSError as error:
            raise SrTvmError(f"{path} cannot be made executable: {error.strerror or error}; delete it") from None
    return path
