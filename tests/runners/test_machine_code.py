"""The runner that estimates by machine code, without the compilers."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.isa.device_code import KernelSource
from sr_tvm.isa.launch import Launch, SourceLoop
from sr_tvm.runners import machine_code
from sr_tvm.runners.machine_code import MachineCodeRunner

PROGRAM = KernelSource("__kernel void k() {}", Launch("k", (1, 1, 1), (64, 1, 1), SourceLoop(1), {}, {}, 8))


@pytest.mark.parametrize(
    ("error", "told"), [(OSError("no emulator"), OSError), (KeyboardInterrupt(), SrTvmError), (SrTvmError("x"), None)]
)
def test_no_session_waits_for_what_another_has_taken(monkeypatch, error, told):
    """Whatever ends the compiler ends the waiting of those whose kernels it was compiling."""

    def fails(sources, gpu):
        raise error

    monkeypatch.setattr(machine_code.system, "missing", lambda: None)
    monkeypatch.setattr(machine_code, "load_programs", lambda path: [PROGRAM])
    monkeypatch.setattr(machine_code, "count_sources", fails)
    runner = MachineCodeRunner("adreno-660")
    other: Future = Future()
    runner._waiting.put((PROGRAM, other))
    with pytest.raises(type(error)):
        runner.seconds(SimpleNamespace(library="k.so"))
    assert isinstance(other.exception(timeout=5), told or SrTvmError)
