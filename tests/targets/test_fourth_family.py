"""Targets that nothing outside of their own folder knows: they compile, are tuned here and over RPC, and measured."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from fourth import Fourth
from tvm import relax

from sr_tvm.build.builder import ChildBuilder
from sr_tvm.build.compiler import compile_module
from sr_tvm.build.options import CompileOptions
from sr_tvm.frontend.parity import run_relax
from sr_tvm.records.region_decisions import RegionRecords
from sr_tvm.runners.child_session import ChildRunner
from sr_tvm.runners.local import LocalRunner
from sr_tvm.runners.rpc import RpcRunner
from sr_tvm.runners.tracker import start_server, start_tracker
from sr_tvm.targets import registry
from sr_tvm.tuning.bench import DeviceBench
from sr_tvm.tuning.options import TuneOptions
from sr_tvm.tuning.region_task import find_regions
from sr_tvm.tuning.tune import tune

SIZE = (1, 3, 24, 40)
HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def fourth(monkeypatch):
    """As an entry point of an installed package would make it known, to child processes too."""
    monkeypatch.setattr(registry, "_installed", lambda: {"fourth": "fourth:Fourth"})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")]))


def network():
    rng = np.random.default_rng(0)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(SIZE, "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            y, first = x, None
            for channels, deep in ((6, 3), (6, 6), (6, 6)):
                weight = relax.const(rng.standard_normal((channels, deep, 3, 3)).astype("float32") / 5)
                y = builder.emit(relax.op.nn.relu(relax.op.nn.conv2d(y, weight, padding=1)))
                first = y if first is None else first
            out = builder.emit_output(relax.op.add(y, first))
        builder.emit_func_output(out)
    return builder.get()


@pytest.fixture(scope="module")
def servers():
    with start_tracker() as tracker, start_server(tracker, "box"), start_server(tracker, "box"):
        yield tracker


def search(target, folder, runner):
    """A short search of a region on the runner; the result, and the bench it ran on."""
    fused, regions = find_regions(network(), target)
    with DeviceBench(ChildBuilder(), runner) as bench:
        options = TuneOptions(10, population=4, per_generation=5)
        result = tune(fused, target, folder, options, bench=bench, regions=regions)
    return result, bench


def check(target, folder):
    """What was tuned computes what the network says, and its records are used."""
    artifact = compile_module(network(), target, folder / "out", CompileOptions(folder / "db"))
    x = np.random.default_rng(1).random(SIZE, "float32")
    (y,), runner = run_relax(network(), [x]), LocalRunner()
    np.testing.assert_allclose(runner.run(artifact, [x])[0], y, atol=1e-5)
    assert artifact.target == target.name and runner.measure(artifact, repeats=2).median > 0
    best = RegionRecords.open([folder / "db"]).records
    assert (artifact.schedule == "tuned") == bool(best)
    assert all(row["record"].startswith("db/region_decisions.json: region ") for row in artifact.kernels if best)


@pytest.mark.parametrize("name", ["fourth", "plain"])
def test_here(name, tmp_path):
    result, bench = search(registry.get(name), tmp_path / "db", ChildRunner())
    (task,) = result.tasks
    assert 2 <= task.trials <= 10 and task.failed == 0 and task.best_ms > 0 and bench.sessions_opened == 1
    check(registry.get(name), tmp_path)


@pytest.mark.parametrize("name", ["fourth", "plain"])
def test_over_rpc_side_by_side(name, tmp_path, servers):
    result, bench = search(registry.get(name), tmp_path / "db", RpcRunner(servers, "box"))
    (task,) = result.tasks
    assert 2 <= task.trials <= 10 and task.failed == 0 and result.clock == "wall"
    assert bench.parallel == 2 and 1 <= bench.sessions_opened <= 2
    check(registry.get(name), tmp_path)


def test_a_record_of_another_lowering_is_not_used(tmp_path):
    search(registry.get("plain"), tmp_path / "db", ChildRunner())
    artifact = compile_module(network(), Fourth(), tmp_path / "out", CompileOptions(tmp_path / "db"))
    assert artifact.schedule == "default"
