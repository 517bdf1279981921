"""Kernels on a bench of this machine: built in one child process, measured in another; what goes wrong dies alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tvm
from tuning_helpers import module
from tvm.script import ir as I
from tvm.script import tirx as T

from sr_tvm.build.builder import ChildBuilder
from sr_tvm.build.replay import structural_key
from sr_tvm.errors import SrTvmError
from sr_tvm.runners.child_session import ChildRunner
from sr_tvm.system import child
from sr_tvm.targets import registry
from sr_tvm.tuning.bench import DeviceBench
from sr_tvm.tuning.tasks import Task, find_tasks


@I.ir_module
class Double:
    @T.prim_func(s_tir=True)
    def main(a: T.Buffer((256,), "float32"), b: T.Buffer((256,), "float32")):
        for i in range(256):
            with T.sblock("double"):
                v = T.axis.spatial(256, i)
                b[v] = a[v] * T.float32(2)


@I.ir_module
class Half:
    @T.prim_func(s_tir=True)
    def main(a: T.Buffer((256,), "float32"), b: T.Buffer((256,), "float32")):
        for i in range(128):
            with T.sblock("double"):
                v = T.axis.spatial(128, i)
                b[v] = a[v] * T.float32(2)


@I.ir_module
class Endless:
    @T.prim_func(s_tir=True)
    def main(a: T.Buffer((256,), "float32"), b: T.Buffer((256,), "float32")):
        for i in range(1 << 50):
            with T.sblock("double"):
                v = T.axis.spatial(1 << 50, i)
                b[v % 256] = b[v % 256] * T.float32(1.0001) + a[(v * 7) % 256]


@I.ir_module
class Crash:
    @T.prim_func(s_tir=True)
    def main(a: T.Buffer((256,), "float32"), b: T.Buffer((256,), "float32")):
        for i in range(100000):
            with T.sblock("double"):
                v = T.axis.spatial(100000, i)
                b[v * 4096] = a[v * 4096]


@I.ir_module
class Parallel:
    @T.prim_func(s_tir=True)
    def main(a: T.Buffer((256,), "float32"), b: T.Buffer((256,), "float32")):
        for i in T.parallel(256):
            with T.sblock("double"):
                v = T.axis.spatial(256, i)
                b[v] = a[v] * T.float32(2)


def task_of(mod):
    return Task("double", structural_key(mod), mod, 1, 0.0, registry.get("cpu"))


DOUBLE = task_of(Double)


def candidate(mod):
    return DOUBLE.candidate(structural_key(mod), mod)


def session_pid(bench):
    return bench._seats[0].session.child.pid


def opened(deadline=20.0, threads=1):
    return DeviceBench(ChildBuilder(deadline=60.0), ChildRunner(threads, deadline))


@pytest.fixture(scope="module")
def bench():
    with opened() as made:
        yield made


def test_measures_the_right_and_names_the_wrong(bench):
    baseline = bench.measure(DOUBLE, DOUBLE.default)
    assert baseline.error is None and 0 < baseline.seconds < 1e-3
    good = bench.measure(DOUBLE, candidate(Double))
    assert good.error is None and 0 < good.seconds < 1e-3 and 0 < good.reference < 1e-3
    wrong = bench.measure(DOUBLE, candidate(Half))
    assert wrong.seconds is None and wrong.error.startswith("wrong result: argument 1 is off by")
    assert bench.sessions_opened == 1


def test_crash_costs_one_session(bench):
    bench.measure(DOUBLE, DOUBLE.default)
    before = bench.sessions_opened
    crashed = bench.measure(DOUBLE, candidate(Crash))
    assert crashed.seconds is None and "crashed: signal SIG" in crashed.error
    assert bench.measure(DOUBLE, candidate(Double)).error is None
    assert bench.sessions_opened == before + 1


def test_deadline_costs_one_session(bench, monkeypatch):
    bench.measure(DOUBLE, DOUBLE.default)
    monkeypatch.setattr(bench.runner, "deadline", 3.0)
    assert "did not finish within 3 s" in bench.measure(DOUBLE, candidate(Endless)).error
    monkeypatch.setattr(bench.runner, "deadline", 20.0)
    assert bench.measure(DOUBLE, candidate(Double)).error is None


def test_build_error_is_told_and_the_session_lives(bench):
    bench.measure(DOUBLE, DOUBLE.default)
    before = bench.sessions_opened
    broken = tvm.IRModule({"main": Double["main"].with_attr("target", tvm.target.Target("cuda"))})
    timing = bench.measure(DOUBLE, candidate(broken))
    assert timing.seconds is None and timing.error and "crashed" not in timing.error
    assert bench.measure(DOUBLE, candidate(Double)).error is None and bench.sessions_opened == before


def test_conv_against_its_default_schedule(bench):
    for task in find_tasks(module(), registry.get("cpu")):
        assert bench.measure(task, task.default).error is None


def test_close_leaves_no_process():
    with opened() as bench:
        bench.measure(DOUBLE, DOUBLE.default)
        pids = [session_pid(bench), bench.builder._workers[0].child.pid]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_session_is_bound_to_no_core():
    with opened(threads=2) as bench:
        assert bench.measure(DOUBLE, candidate(Parallel)).error is None
        threads = [int(t) for t in os.listdir(f"/proc/{session_pid(bench)}/task")]
        assert [os.sched_getaffinity(t) for t in threads] == [os.sched_getaffinity(0)] * len(threads)


def test_hung_session_dies_with_its_tuner():
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from test_bench import DOUBLE, Endless, candidate, opened, session_pid
bench = opened(deadline=600)
bench.measure(DOUBLE, DOUBLE.default)
print(session_pid(bench), flush=True)
bench.measure(DOUBLE, candidate(Endless))
"""
    here = str(Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", code, here], stdout=subprocess.PIPE, text=True) as tuner:
        assert tuner.stdout is not None
        pid = int(tuner.stdout.readline())
        before = _cpu_ticks(pid)
        while _cpu_ticks(pid) < before + 50:  # by then it is neither reading nor building
            time.sleep(0.1)
        tuner.kill()
    for _ in range(600):
        if not _alive(pid):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the session is still there")


def _cpu_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_processes_that_cannot_start(monkeypatch):
    monkeypatch.setattr(child.sys, "executable", "/bin/false")
    with opened() as bench:
        error = bench.measure(DOUBLE, DOUBLE.default).error
        assert "process that builds candidates does not start: exit code 1" in error
    with pytest.raises(SrTvmError, match="process that runs modules does not start: exit code 1"):
        ChildRunner().open()
