"""The shipped records fit the shipped model, as `upscale` compiles it."""

import json
import logging
import sys
from pathlib import Path

import pytest
import tvm

from sr_tvm import shipped
from sr_tvm.build.records import Recorded, open_sources
from sr_tvm.codegen.kernel import SCHEDULE_ATTR
from sr_tvm.frontend.onnx_file import load_onnx
from sr_tvm.frontend.to_relax import import_onnx
from sr_tvm.passes.pipeline import optimize
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.cpu.rows.machine import CpuCore
from sr_tvm.targets.registry import get

SHAPES = [(1, 3, "height", "width"), (1, 3, 360, 640)]
AVX512, AVX2 = CpuCore(16, 32), CpuCore(8, 16)


def streamed(shape, processor):
    """The records, and the shipped model's module for a processor with them."""
    model = load_onnx(shipped.models() / "wdsr_x2_37k.onnx")
    lowering = Recorded(RowLowering(processor), open_sources("cpu", None, True))
    mod, _ = optimize(import_onnx(model, {"x": shape}), get("cpu").tvm_target(), lowering=lowering)
    return list(lowering.used.values()), mod


@pytest.mark.parametrize("shape", SHAPES)
def test_shipped_records_are_used(shape, caplog):
    """If a region or the lowering has changed so that they do not fit any more, tune again (tuning_logs/README.md)."""
    with caplog.at_level(logging.WARNING):
        records, mod = streamed(shape, AVX512)
    (record,) = records
    assert record.ms < record.default_ms and caplog.text == ""
    kernels = [f for _, f in mod.functions_items() if isinstance(f, tvm.tirx.PrimFunc) and SCHEDULE_ATTR in f.attrs]
    assert len(kernels) == len(record.decisions["pieces"])
    # They build where the instructions are, whatever this machine has.
    target = tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v4"})
    functions = {v: f for v, f in mod.functions_items() if isinstance(f, tvm.tirx.PrimFunc)}
    named = {
        v: f.with_attr("global_symbol", v.name_hint) if SCHEDULE_ATTR in f.attrs else f for v, f in functions.items()
    }
    assert tvm.compile(tvm.IRModule(named), target=target, tir_pipeline="s_tir") is not None


def test_other_vectors_have_the_cost_models_choice():
    records, _ = streamed(SHAPES[0], AVX2)
    assert records == []


def gpu_logs():
    root = shipped.tuning_logs()
    return [path for target in ("adreno", "mali") for path in sorted((root / target).glob("*/"))]


@pytest.mark.parametrize("folder", gpu_logs(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_shipped_records_for_phone_gpus_are_used(folder, caplog):
    """Where nothing beat the cost model's choice, it is pinned and the log says so."""
    about = json.loads((folder / "meta.json").read_text())
    model = load_onnx(shipped.models() / about["model"])
    target = get(about["target"])
    recorded = Recorded(target.lowering(), open_sources(about["target"], None, True))
    with caplog.at_level(logging.WARNING):
        mod = import_onnx(model, {"x": tuple(about["input_shape"])})
        optimize(mod, target.tvm_target(), lowering=recorded, hooks=target)
    (record,) = recorded.used.values()
    assert Path(record.where).parent == folder and caplog.text == "" and record.clock == "estimate"
    assert record.ms == record.default_ms if "nothing beat" in about.get("note", "") else record.ms < record.default_ms


def test_both_phone_gpus_have_a_log():
    assert {path.parent.name for path in gpu_logs()} == {"adreno", "mali"}


def test_shipped_records_fit_the_kernels_of_quantised_models(caplog):
    """If a kind's name or its decisions have changed so that they do not fit any more, tune again."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from quantize_nets import pictures, wdsr

    from sr_tvm.quantize.calibrate import Calibration, calibrate

    network = calibrate(wdsr([(144, 20)]), pictures(), Calibration(adapt=False))
    target = get("hexagon")
    recorded = Recorded(target.integer_lowering(), open_sources("hexagon", None, True))
    kinds = target.integer_kinds(network)
    with caplog.at_level(logging.WARNING):
        found = {kind: recorded.recorded(stage, (1, None, None)) for kind, (stage, _) in kinds.items()}
    assert len(kinds) == 5 and caplog.text == ""
    assert [kind for kind, record in found.items() if record] == ["1x1 24->144, ReLU, 1x1 144->20"]
    assert all(record.ms < record.default_ms and record.clock == "packets" for record in recorded.used.values())
