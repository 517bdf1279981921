"""The worker process: it measures, finds wrong results, and dies alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tvm
from tuning_helpers import TARGET, module
from tvm.script import ir as I
from tvm.script import tirx as T

from sr_tvm.errors import SrTvmError
from sr_tvm.tuning import runner
from sr_tvm.tuning.runner import WorkerMeasurer
from sr_tvm.tuning.tasks import find_tasks


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


@pytest.fixture(scope="module")
def measurer():
    with WorkerMeasurer(TARGET, deadline=20.0) as worker:
        yield worker


def test_measures_the_right_and_names_the_wrong(measurer):
    baseline = measurer.open_task(Double, Double)
    assert baseline.error is None and 0 < baseline.seconds < 1e-3
    good = measurer.measure(Double)
    assert good.error is None and 0 < good.seconds < 1e-3 and good.build_s > 0
    wrong = measurer.measure(Half)
    assert wrong.seconds is None and wrong.error.startswith("wrong result: argument 1 is off by")
    assert measurer.starts == 1


def test_crash_costs_one_worker(measurer):
    measurer.open_task(Double)
    starts = measurer.starts
    crashed = measurer.measure(Crash)
    assert crashed.seconds is None and crashed.error.startswith("crashed: SIG")
    assert measurer.measure(Double).error is None
    assert measurer.starts == starts + 1


def test_deadline_costs_one_worker(measurer, monkeypatch):
    measurer.open_task(Double)
    monkeypatch.setattr(measurer, "deadline", 3.0)
    slow = measurer.measure(Endless)
    assert slow.error.startswith("too slow")
    monkeypatch.setattr(measurer, "deadline", 20.0)
    assert measurer.measure(Double).error is None


def test_worker_killed_from_outside(measurer):
    measurer.open_task(Double)
    os.kill(measurer._process.pid, signal.SIGKILL)
    assert measurer.measure(Double).error == "crashed: SIGKILL"
    assert measurer.measure(Double).error is None


def test_build_error_is_told_and_the_worker_lives(measurer):
    measurer.open_task(Double)
    starts = measurer.starts
    broken = measurer.measure(tvm.IRModule({"main": Double["main"].with_attr("target", tvm.target.Target("cuda"))}))
    assert broken.seconds is None and broken.error and not broken.error.startswith("crashed")
    assert measurer.measure(Double).error is None and measurer.starts == starts


def test_conv_against_its_default_schedule(measurer):
    from sr_tvm.targets.cpu.schedule.rules import default_schedules

    target = tvm.target.Target(TARGET)
    for task in find_tasks(module(), target):
        scheduled = default_schedules(tvm.IRModule(dict(task.mod.functions_items())), target, 32)
        assert measurer.open_task(task.mod, scheduled).error is None


def test_close_leaves_no_process(measurer):
    other = WorkerMeasurer(TARGET)
    other.open_task(Double)
    pid = other._process.pid
    other.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_worker_is_bound_to_no_core():
    with WorkerMeasurer(TARGET, threads=2) as worker:
        assert worker.open_task(Double, Parallel).error is None
        threads = [int(t) for t in os.listdir(f"/proc/{worker._process.pid}/task")]
        assert [os.sched_getaffinity(t) for t in threads] == [os.sched_getaffinity(0)] * len(threads)


def test_worker_outlives_the_thread_that_started_it():
    with WorkerMeasurer(TARGET) as worker:
        thread = threading.Thread(target=worker.open_task, args=(Double,))
        thread.start()
        thread.join()
        assert worker.measure(Double).error is None and worker.starts == 1


def test_hung_worker_dies_with_its_tuner():
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from test_tuning_worker import TARGET, Double, Endless, WorkerMeasurer
worker = WorkerMeasurer(TARGET, deadline=600)
worker.open_task(Double)
print(worker._process.pid, flush=True)
worker.measure(Endless)
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
    raise AssertionError("the worker is still there")


def _cpu_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_worker_that_cannot_start(monkeypatch):
    monkeypatch.setattr(runner.sys, "executable", "/bin/false")
    with pytest.raises(SrTvmError, match="worker does not start: crashed: exit code 1"):
        WorkerMeasurer(TARGET).open_task(Double)
