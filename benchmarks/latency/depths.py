"""One network compiled at each depth of fusion, from a kernel for every operator to one kernel for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.engines.library import FILE
from benchmarks.latency import cuts
from sr_tvm.errors import SrTvmError
from sr_tvm.regions import depths as regions

# In order; the name of the lowering's depth where a depth is one of the streaming kernels.
DEPTHS: dict[str, str] = {
    "none": "one kernel for each operator",
    "fuse-ops": "TVM's FuseOps",
    "elementwise": "our mapping table, without streaming",
    "layer": "streaming kernels, one layer each",
    "expand-project": "streaming kernels, expand and project in one",
    "block": "streaming kernels, one block each",
    "net": "streaming kernels, the whole network in one",
}
STREAMED = regions.DEPTHS


def compile_at_depth(model: Path, depth: str, out: Path, lowering: Any = None) -> dict[str, int]:
    """Compile the ONNX file ``model`` for this machine's CPU into ``out``/model.so.

    Gives ``kernels`` and ``intermediate_bytes``, the sum of the sizes of what kernels hand to one another. All depths
    before the streaming ones have the same default schedules. ``lowering`` makes the streaming kernels, the target's
    own without it.

    Raises:
        SrTvmError: the model is off, or this depth is unknown or not there.
    """
    if depth not in DEPTHS:
        raise SrTvmError(f"unknown depth {depth!r}; known are {', '.join(DEPTHS)}")
    from sr_tvm.frontend.onnx_file import load_onnx, resolve_inputs
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()
    from sr_tvm.build.schedule import schedule
    from sr_tvm.frontend.to_relax import import_onnx
    from sr_tvm.passes import accounting
    from sr_tvm.targets import registry

    target, loaded = registry.get("cpu"), load_onnx(model)
    mod = import_onnx(loaded, resolve_inputs(loaded))
    if depth in STREAMED:
        mod = _streamed(mod, target, depth, lowering or target.lowering())
    else:
        mod = _fused(mod, target, depth)
    calls, traffic = accounting.kernels(mod)
    out.mkdir(parents=True, exist_ok=True)
    if (made := target.build(schedule(mod, target), out)) != FILE:
        raise SrTvmError(f"the library of target cpu is called {made}, where {FILE} is expected")
    return {"kernels": len(calls), "intermediate_bytes": traffic}


def _fused(mod: Any, target: Any, depth: str) -> Any:
    import tvm
    from tvm.relax import transform

    from sr_tvm.passes.pipeline import optimize

    if depth == "elementwise":
        return optimize(mod, target.tvm_target())[0]
    steps = [transform.FoldConstant(), transform.LegalizeOps()]
    if depth == "fuse-ops":
        steps += [transform.AnnotateTIROpPattern(), transform.FuseOps(), transform.FuseTIR()]
    with target.tvm_target(), tvm.transform.PassContext(opt_level=3):
        return tvm.transform.Sequential([*steps, transform.DeadCodeElimination()])(mod)


def _streamed(mod: Any, target: Any, depth: str, lowering: Any) -> Any:
    """The network as streaming kernels of that depth, the rest fused by the mapping table."""
    from sr_tvm.passes.pipeline import optimize

    if lowering is None:
        raise SrTvmError(f"depth {depth}: target {target.name} has no streaming lowering")
    return optimize(mod, target.tvm_target(), lowering=cuts.CutLowering(lowering, depth))[0]
