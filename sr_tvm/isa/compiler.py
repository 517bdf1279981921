"""Compile OpenCL C for a named GPU to machine code, with a cache on disk."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import platformdirs

from sr_tvm.errors import SrTvmError
from sr_tvm.isa import adreno, gpus, mali, probe, system
from sr_tvm.isa.machine import MachineKernel
from sr_tvm.system import files

_PARSERS = {"adreno": adreno.parse, "mali": mali.parse}
_BATCH = 24  # programs of one run of the probe: its deadline grows with them
LOG_LINES = 6


def compile_source(source: str, gpu: str) -> list[MachineKernel]:
    """Compile an OpenCL C program with Mesa, or find its machine code in the cache.

    Args:
        source: OpenCL C of one or more kernels.
        gpu: A name of ``gpus.json``, such as "adreno-660".

    Returns:
        The machine code of each kernel, in the program's order.

    Raises:
        SrTvmError: The GPU is unknown, the compilers are not there, or a kernel does not build; the message has the
            log.
    """
    return compile_sources([source], gpu)[0]


def compile_sources(sources: Sequence[str], gpu: str) -> list[list[MachineKernel]]:
    """Compile several OpenCL C programs, as :func:`compile_source` does one.

    Starting the compiler takes several seconds, so ask for many at once.

    Args:
        sources: OpenCL C of one or more kernels each.
        gpu: A name of ``gpus.json``, such as "adreno-660".

    Returns:
        For each program the machine code of its kernels, in the program's order.

    Raises:
        SrTvmError: The GPU is unknown, the compilers are not there, or a kernel does not build; the message has the
            log.
    """
    chosen = gpus.get(gpu)
    mesa = system.mesa_version()
    texts = {source: _cached(source, gpu, mesa) for source in sources}
    new = [source for source, text in texts.items() if text is None]
    for start in range(0, len(new), _BATCH):
        batch = new[start : start + _BATCH]
        for source, text in zip(batch, _split(probe.run(batch, chosen), len(batch), gpu), strict=True):
            _failed(text, gpu)
            texts[source] = text
            _keep(source, gpu, mesa, text)
    return [_kernels(texts[source] or "", gpu, mesa) for source in sources]


def _split(output: str, count: int, gpu: str) -> list[str]:
    parts = re.split(r"^#! program \d+\n", output, flags=re.M)[1:]
    if len(parts) != count:
        raise SrTvmError(f"Mesa's compiler for {gpu} ended early, at program {len(parts)} of {count}")
    return parts


def _failed(text: str, gpu: str) -> None:
    if found := re.search(r"^#! failed: (.*)", text, re.M):
        log = [line for line in text[found.end() :].splitlines() if "error" in line.lower()] or [found[1]]
        raise SrTvmError(f"{_named(text)} does not build for {gpu}: {'; '.join(log[:LOG_LINES])}")
    if not re.search(r"^#! done \d+", text, re.M):
        raise SrTvmError(f"Mesa's compiler for {gpu} ended while it compiled {_named(text)}")


def _named(text: str) -> str:
    """Return the kernel that a log is about: the last one begun; where none was, the source's line has to say it."""
    begun = re.findall(r"impl __wrapped_(\w+)", text)
    return f"kernel {begun[-1]}" if begun else "the OpenCL C"


def _kernels(text: str, gpu: str, mesa: str) -> list[MachineKernel]:
    found = {}
    family = gpus.get(gpu).family
    # A kernel may be compiled more than once, at first for any work-group: the last is what would be launched.
    for name, listed, loops, statistics in _PARSERS[family](text):
        found[name] = MachineKernel(name, gpu, mesa, tuple(listed), tuple(loops), statistics)
    made = []
    for name, group, multiple, local, private in re.findall(r"^#! kernel (\w+) (\d+) (\d+) (\d+) (\d+)$", text, re.M):
        if name not in found:
            raise SrTvmError(f"Mesa's compiler for {gpu} printed no machine code of kernel {name}")
        kernel = found[name]
        facts = replace(
            kernel.statistics,
            wave=kernel.statistics.wave or int(multiple),
            local_bytes=int(local),
            private_bytes=int(private),
            max_group=int(group),
        )
        made.append(replace(kernel, statistics=facts))
    return made


def _path(source: str, gpu: str, mesa: str) -> Path:
    digest = hashlib.sha256("\0".join((mesa, gpu, source)).encode()).hexdigest()[:32]
    return Path(platformdirs.user_cache_dir("sr-tvm")) / "gpu-isa-code" / f"{digest}.gz"


def _cached(source: str, gpu: str, mesa: str) -> str | None:
    try:
        return gzip.decompress(_path(source, gpu, mesa).read_bytes()).decode()
    except (OSError, EOFError, UnicodeDecodeError):  # not there, or not whole: compile it again
        return None


def _keep(source: str, gpu: str, mesa: str, text: str) -> None:
    with files.atomic_file(_path(source, gpu, mesa)) as partial:
        partial.write_bytes(gzip.compress(text.encode(), mtime=0))
