"""TVM's own import and fusion, until the front end and the passes are there."""

from __future__ import annotations

from typing import Any

from sr_tvm import tvm_setup

tvm = tvm_setup.import_tvm()


def import_onnx(path: Any, shapes: dict[str, tuple[int, ...]] | None) -> tuple[Any, Any]:
    import onnx
    from tvm.relax.frontend.onnx import from_onnx

    model = onnx.load(path)
    return model, from_onnx(model, shape_dict={k: list(v) for k, v in (shapes or {}).items()} or None)


class Report:
    def to_json(self) -> dict[str, Any]:
        return {}


def optimize(mod: Any, target: Any) -> tuple[Any, Any]:
    t = tvm.relax.transform
    steps = [t.DecomposeOpsForInference(), t.LegalizeOps(), t.AnnotateTIROpPattern(), t.FoldConstant()]
    with target:
        return tvm.transform.Sequential([*steps, t.FuseOps(), t.FuseTIR(), t.DeadCodeElimination()])(mod), Report()
