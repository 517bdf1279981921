"""Regions for phone GPUs in the tuner: estimated by machine code, and measured on this machine's OpenCL device."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sr_tvm.build.builder import ChildBuilder
from sr_tvm.cli import bench as bench_cli
from sr_tvm.cli import compile as compile_cli
from sr_tvm.cli import tune as tune_cli
from sr_tvm.isa import system
from sr_tvm.records.region_decisions import RegionRecords
from sr_tvm.records.timer import ESTIMATE
from sr_tvm.regions.region import Conv, Pointwise, Region, Result, Source
from sr_tvm.runners.child_session import ChildRunner
from sr_tvm.runners.machine_code import MachineCodeRunner
from sr_tvm.targets import registry
from sr_tvm.tuning.bench import DeviceBench
from sr_tvm.tuning.options import TuneOptions
from sr_tvm.tuning.region_task import RegionTask
from sr_tvm.tuning.tune import TuningResult, tune

SIZE = (1, 24, 64)
COMMANDS = {"tune": tune_cli.command, "compile": compile_cli.command, "bench": bench_cli.command}


@pytest.fixture
def compilers() -> None:
    if (why := system.missing()) is not None:
        pytest.skip(why)


def region() -> Region:
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype("float32") / 8  # noqa: E731
    nodes = (
        Source("x", 3),
        Conv("head", ("x",), draw(8, 3, 3, 3), draw(8)),
        Conv("wide", ("head",), draw(24, 8, 1, 1), draw(24)),
        Pointwise("relu", ("wide",), "relu", (), 24),
        Conv("narrow", ("relu",), draw(4, 24, 1, 1), draw(4)),
        Conv("tail", ("narrow",), draw(4, 4, 3, 3), draw(4)),
    )
    return Region(nodes, (Result("tail", 2),))


def search(bench: DeviceBench, name: str, folder: Path, host: str | None = None) -> TuningResult:
    target = registry.get(name) if host is None else registry.get(name).hosted_by(host)
    task = RegionTask("region", region(), SIZE, SIZE, target)
    options = TuneOptions(6, population=4, per_generation=3)
    with bench:
        return tune(None, target, folder, options, bench=bench, regions=[task])


def test_estimates_find_decisions_and_say_that_they_are_estimates(compilers, tmp_path):
    result = search(DeviceBench(ChildBuilder(2), MachineCodeRunner("adreno-660"), 2), "adreno", tmp_path)
    assert result.clock == ESTIMATE and result.trials == 6
    assert [row["error"] for row in result.history] == [None] * 6
    assert len({row["ms"] for row in result.history}) > 1, "decisions matter"
    for record in RegionRecords.open([tmp_path]).records.values():
        assert record.clock == ESTIMATE and record.ms < record.default_ms


def test_candidates_run_and_are_checked_on_a_device(opencl, tmp_path):
    result = search(DeviceBench(ChildBuilder(), ChildRunner()), "mali", tmp_path, "x86")
    assert result.trials == 6 and [row["error"] for row in result.history] == [None] * 6
    assert all(row["ms"] > 0 for row in result.history)


def test_tune_bench_and_compile_without_a_phone(compilers, tmp_path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = {"first": np.ones((8, 3, 3, 3), np.float32), "second": np.ones((3, 8, 3, 3), np.float32)}
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], **pads),
        helper.make_node("Conv", ["a", "second"], ["y"], **pads),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 3, 24, 64)) for n in "xy"]
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "n.onnx")
    model, records, out = (str(tmp_path / name) for name in ("n.onnx", "records", "out"))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(COMMANDS[arguments[0]], list(arguments[1:]), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    told = run("tune", model, "--target", "adreno", "-o", records, "--trials", "4", "--population", "4")
    assert "nothing runs" in told and "estimated by machine code" in told
    told = run("compile", model, "--target", "adreno", "--database", records, "-o", out)
    tuned = RegionRecords.open([records]).records
    assert ("a first guess" in told) == bool(tuned)
    value = json.loads(run("bench", out, "--isa", "adreno-660", "--json"))["measurement"]
    assert value["unit"] == "estimated ms" and value["samples"][0] > 0
    refused = CliRunner().invoke(tune_cli.command, [model, "--target", "cpu", "--isa", "adreno-660"])
    assert refused.exit_code == 2 and "--isa" in refused.output
