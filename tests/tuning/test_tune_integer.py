"""Kernels of quantised models in the tuner: their space without a device, and a search in the simulator."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec import structs

sys.path.insert(0, str(Path(__file__).parents[1]))
from quantize_nets import pictures, wdsr

from sr_tvm.build.integer_candidates import IntegerCandidates
from sr_tvm.cli.tune import command
from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.model import read_model
from sr_tvm.quantize import reference
from sr_tvm.quantize.calibrate import Calibration, calibrate
from sr_tvm.quantize.qdq_read import from_onnx
from sr_tvm.records.region_decisions import RegionRecords
from sr_tvm.runners import hexagon_sim
from sr_tvm.targets import registry
from sr_tvm.targets.hexagon.hvx.decisions import DEFAULT, HvxDecisions
from sr_tvm.targets.hexagon.hvx.lowering import KernelLowering, kinds
from sr_tvm.tuning.integer_task import find_kinds

OPEN = (1, None, None)


@pytest.fixture(scope="module")
def network():
    return calibrate(wdsr([(24, 20)]), pictures(), Calibration(adapt=False))


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    import onnx

    from sr_tvm.quantize.qdq_write import to_onnx

    path = tmp_path_factory.mktemp("integer") / "net.onnx"
    onnx.save(to_onnx(network, np.zeros(3)), path)
    return path


def test_genomes_are_valid_and_have_one_form(network):
    lowering = KernelLowering(68)
    for kind, (stage, _) in kinds(network).items():
        space, rng = lowering.space(stage, OPEN), Random(0)
        seeds = list(space.seeds())
        assert seeds[0] == space.default == space.repair(stage.usual)
        assert len({space.key(s) for s in seeds}) == len(seeds) > 8
        for _ in range(50):
            genome = space.mutate(space.crossover(space.random(rng), rng.choice(seeds), rng), rng) or space.default
            assert space.repair(genome) == genome
            assert lowering.fits(genome, stage, OPEN)
            assert lowering.from_json(lowering.to_json(genome), kind) == genome


def test_decisions_without_effect_are_not_two(network):
    lowering = KernelLowering(68)
    for stage, _ in kinds(network).values():
        space = lowering.space(stage, OPEN)
        other = structs.replace(space.default, **({"tiles": 4} if stage.expand else {"spread": "last"}))
        assert space.repair(other) == space.default
        assert not lowering.fits(other, stage, OPEN)


@pytest.mark.parametrize("field, value", [("tiles", 3), ("direction", "left"), ("fused", 1), ("rotation", "200")])
def test_a_record_that_is_none_is_told(field, value):
    with pytest.raises(SrTvmError, match=f"a.json: field {field} is"):
        HvxDecisions.from_json(DEFAULT.to_json() | {field: value}, "a.json")
    with pytest.raises(SrTvmError, match=r"a.json: field fused is missing"):
        HvxDecisions.from_json({}, "a.json")


def test_other_targets_and_trackers_are_refused(model, tmp_path):
    to = ["-o", str(tmp_path / "out")]
    done = CliRunner().invoke(command, [str(model), "--target", "hexagon", "--tracker", "h:1", "--key", "k", *to])
    assert "leave out --tracker" in done.output
    done = CliRunner().invoke(command, [str(model), "--target", "hexagon", "--threads", "2", *to])
    assert "leave out --threads" in done.output
    done = CliRunner().invoke(command, [str(model), "--target", "cpu", *to])
    assert "decides nothing about kernels of quantised models: hexagon does" in str(done.exception)


def test_a_search_in_packets_whose_records_a_build_replays(model, network, tmp_path):
    if (why := hexagon_sim.missing()) is not None:
        pytest.skip(f"make system-deps ({why})")
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.runners.hexagon_sim import HexagonSimRunner

    folder = tmp_path / "records"
    arguments = [str(model), "--target", "hexagon", "--input-shape", "1x3x4x160", "--trials", "4", "-o", str(folder)]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "packets by default" in done.output
    assert "simulated: no time" in done.output
    assert " ms" not in done.output
    # What the search found, and one record more, of a kind that four trials don't come to.
    records = RegionRecords.open([folder])
    lowering = registry.get("hexagon").integer_lowering()
    last = list(kinds(network))[-1]
    decisions = structs.replace(DEFAULT, direction="up")  # by default it goes down
    name, shape, by, hardware = last, OPEN, lowering.name, lowering.hardware
    from sr_tvm.records.region_decisions import RegionRecord

    records.put(RegionRecord(name, shape, by, hardware, 1.0, 2.0, decisions.to_json(), "packets"))
    records.save(folder)
    plain = compile_model(model, "hexagon", tmp_path / "plain", options=CompileOptions(use_shipped_log=False))
    options = CompileOptions(folder, use_shipped_log=False)
    tuned = compile_model(model, "hexagon", tmp_path / "tuned", options=options)
    assert (plain.schedule, tuned.schedule) == ("default", "tuned")
    told = {row["kind"]: row.get("record", "") for row in tuned.kernels if row["kind"]}
    assert f"region {last}" in told[last]
    assert RegionRecords.open([tmp_path / "tuned" / "tuning"]).records
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 6, 100)).astype(np.uint8)
    made = [HexagonSimRunner().run(artifact, [picture])[0] for artifact in (plain, tuned)]
    assert np.array_equal(*made)
    assert (tmp_path / "plain" / "network.s").read_text() != (tmp_path / "tuned" / "network.s").read_text()


def test_the_process_that_builds_is_given_the_network_not_the_file(model, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model.read_bytes())
    read = read_model(path)
    path.unlink()
    target = registry.get("hexagon")
    picture = np.random.default_rng(0).integers(0, 256, (3, 8, 16)).astype(np.uint8)
    wanted = reference.run(from_onnx(model), picture)
    requests = [json.loads(json.dumps(task.build_request())) for task in find_kinds(read, target, (1, 8, 16))]
    assert len(requests) > 1
    for request in requests:
        found = IntegerCandidates(request)
        assert found.kind in found.kinds
        assert np.array_equal(reference.run(found.network, picture), wanted)
