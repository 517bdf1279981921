"""The shipped records fit the shipped model, at the tile that `upscale` runs."""

from pathlib import Path

import tvm

import sr_tvm.models
from sr_tvm.frontend.onnx_file import load_onnx
from sr_tvm.frontend.to_relax import import_onnx
from sr_tvm.passes.pipeline import optimize
from sr_tvm.targets.replay import replay
from sr_tvm.tuning.database import shipped_database
from sr_tvm.tuning.trace_genome import structural_key
from sr_tvm.upscaling.tiles import TILE


def test_replay_on_another_processor():
    """Records are of one machine; they must build for one that has AVX2 and no more."""
    model = load_onnx(Path(next(iter(sr_tvm.models.__path__))) / "wdsr_x2_37k.onnx")
    target = tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v3", "num-cores": 4})
    fused, _ = optimize(import_onnx(model, {"x": (1, 3, TILE, TILE)}), target)
    scheduled, names = replay(fused, shipped_database("cpu"), target)
    # The costly ones; if a pass has changed the kernels, tune again (tuning_logs/README.md).
    assert len(names) >= 4
    for name in names:
        kernel = tvm.IRModule({"main": scheduled[name].with_attr("global_symbol", "main")})
        assert structural_key(kernel)
        assert tvm.tirx.build(kernel, target=target) is not None
