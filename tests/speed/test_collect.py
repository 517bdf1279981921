"""A network that shares a kernel with the shipped model is measured with default schedules all the same."""

import pytest

from sr_tvm.records.architecture import Architecture
from sr_tvm.records.measurement import Measurement
from sr_tvm.speed.collect import collect
from sr_tvm.speed.dataset import load
from sr_tvm.speed.feedback import Conditions

pytest.importorskip("tvm")
pytest.importorskip("torch")


class Device:
    """Notes what it was to measure; the time is not of interest here."""

    name, threads = "box", 1

    def __init__(self):
        self.kernels = []

    def measure(self, artifact, repeats=20):
        self.kernels += artifact.kernels
        conditions = {"threads": 1, "clock": "wall", "schedule": artifact.schedule}
        shape = artifact.inputs[0].shape
        return Measurement(self.name, artifact.target, artifact.model, "0" * 64, shape, (1.0,), "ms", conditions)


def test_default_schedules_where_the_shipped_log_knows_a_kernel(tmp_path, monkeypatch):
    from sr_tvm.records import schedules

    asked = []
    monkeypatch.setattr(schedules, "shipped_folders", lambda name: asked.append(name) or ())
    network = Architecture.uniform(2, 0, 4)
    where = Conditions("box", "cpu", "default", 1, "wall", "ms", (1, 3, 12, 16))
    device, told = Device(), []
    assert collect(tmp_path / "s.jsonl", device, where, [network], 2, progress=lambda *at: told.append(at)) == 1
    assert asked == [] and {k["schedule"] for k in device.kernels} == {"default"}
    (record,) = load(tmp_path / "s.jsonl")
    assert Conditions.of(record) == where and record.architecture == network.to_json() and record.model == "random"
    assert collect(tmp_path / "s.jsonl", device, where, [network], 2) == 0
    assert told == [(0, 1), (1, 1)]


def test_the_simulated_dsp_is_a_device_like_any_other(tmp_path):
    """A float architecture is quantised, run in the simulator, and its packets are what is learnt from."""
    from sr_tvm.runners import hexagon_sim

    if (why := hexagon_sim.missing()) is not None:
        pytest.skip(f"make system-deps ({why})")
    device, shape = hexagon_sim.HexagonSimRunner(), (1, 3, 6, 64)
    where = Conditions(device.name, "hexagon", "default", device.threads, device.clock, device.unit, shape)
    networks = [Architecture.uniform(2, 1, 4), Architecture.uniform(2, 2, 8)]
    path = tmp_path / "dsp.jsonl"
    assert collect(path, device, where, networks, repeats=1) == 2
    small, large = load(path)
    assert small.unit == large.unit == "packets" and tuple(small.input_shape) == shape
    assert 0 < small.median < large.median
    assert collect(path, device, where, networks, repeats=1) == 0
