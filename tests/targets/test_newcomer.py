"""The family that docs/add_a_target.md leads to: its lowering is right, it compiles, is tuned, its records are used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from newcomer.decisions import OUTER, Order
from newcomer.host import Newcomer
from newcomer.lowering import NodeLowering

from sr_tvm.build.compiler import compile_model
from sr_tvm.build.options import CompileOptions
from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.model import read_model
from sr_tvm.frontend.parity import run_relax
from sr_tvm.frontend.to_relax import import_graph
from sr_tvm.runners.local import LocalRunner
from sr_tvm.targets import registry
from sr_tvm.tuning.options import TuneOptions
from sr_tvm.tuning.region_task import find_regions
from sr_tvm.tuning.tune import tune

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / "streaming"), str(HERE.parent / "passes")]  # any region, and what it computes
SIZE = (1, 3, 12, 16)


@pytest.fixture
def installed(monkeypatch):
    """The name as an entry point of an installed package would make it known, and the folder where child processes
    look for modules."""
    monkeypatch.setattr(registry, "_installed", lambda: {"newcomer": "newcomer.host:Newcomer"})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))


def test_any_region_is_right():
    from harness import check
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
    from region_nets import regions, shapes, sizes

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.data())
    def examine(data):
        region, size = data.draw(regions()), data.draw(sizes())
        check(NodeLowering(), region, size, data.draw(shapes(size)))

    examine()


def test_it_compiles_and_is_tuned(tiny_onnx, tmp_path, installed):
    target, model = registry.get("newcomer"), read_model(tiny_onnx)
    assert target == Newcomer()
    mod = import_graph(model.graph(model.open_shapes({})))
    fused, regions = find_regions(mod, target, SIZE[:1] + SIZE[2:])
    result = tune(fused, target, tmp_path / "db", TuneOptions(4, population=4, pin=True), regions=regions)
    assert result.trials >= 2 and not any(task.failed for task in result.tasks)
    artifact = compile_model(model, target, tmp_path / "out", options=CompileOptions(tmp_path / "db"))
    assert artifact.schedule == "tuned" and artifact.target == "newcomer"
    x = np.random.default_rng(0).random(artifact.inputs[0].shape, "float32")
    (expected,) = run_relax(mod, [x])
    np.testing.assert_allclose(LocalRunner().run(artifact, [x])[0], expected, atol=1e-5)


@pytest.mark.parametrize("data", [None, [], {}, {"outer": "column"}, {"outer": 1}])
def test_decisions_that_are_none_are_refused(data):
    with pytest.raises(SrTvmError, match="^here: outer is"):
        NodeLowering().from_json(data, "here")


def test_decisions_survive_json():
    for outer in OUTER:
        assert NodeLowering().from_json(NodeLowering().to_json(Order(outer)), "here") == Order(outer)
