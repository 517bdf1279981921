"""The numbered list of phases from high-level Relax to fused TIR, and the function that runs it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import tvm
from tvm.relax import transform as relax_passes

from sr_tvm.passes import accounting
from sr_tvm.passes.fuse_elementwise import FuseElementwise, Grouping
from sr_tvm.passes.report import PassReport


class Phase(NamedTuple):
    """One line of the list: ``run`` is a TVM pass."""

    number: int
    name: str
    what: str
    run: tvm.ir.transform.Pass


PHASES: tuple[Phase, ...] = (
    Phase(1, "fold-constants", "evaluate what depends on weights alone", relax_passes.FoldConstant()),
    Phase(2, "legalize", "one TIR kernel for each operator", relax_passes.LegalizeOps()),
    Phase(3, "annotate", "let TIR say how each kernel maps inputs to outputs", relax_passes.AnnotateTIROpPattern()),
    Phase(4, "drop-dead", "remove what nobody reads", relax_passes.DeadCodeElimination()),
    Phase(5, "fuse-elementwise", "group kernels by the mapping table", FuseElementwise()),
    Phase(6, "fuse-tir", "one TIR function for each group", relax_passes.FuseTIR()),
    Phase(7, "drop-dead-kernels", "remove kernels that nobody calls", relax_passes.DeadCodeElimination()),
)


def optimize(
    mod: tvm.IRModule, tvm_target: tvm.target.Target, dump_dir: str | Path | None = None
) -> tuple[tvm.IRModule, PassReport]:
    """Run :data:`PHASES` on the high-level Relax of an imported network.

    Returns the module of fused, unscheduled TIR kernels, and the report. ``dump_dir`` gets the module after each phase as
    ``01-fold-constants.py`` and so on.
    """
    before = accounting.unfused(mod, tvm_target)
    grouping = None
    phases = []
    with tvm_target, tvm.transform.PassContext(opt_level=3):
        for phase in PHASES:
            if phase.name == "fuse-elementwise":
                grouping = Grouping(mod)
            start = time.perf_counter()
            mod = phase.run(mod)
            ms = (time.perf_counter() - start) * 1e3
            phases.append({"number": phase.number, "name": phase.name, "what": phase.what, "ms": round(ms, 3)})
            if dump_dir is not None:
                path = Path(dump_dir) / f"{phase.number:02d}-{phase.name}.py"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(mod.script(show_meta=False), encoding="utf-8")
    assert grouping is not None
    kernels, traffic = accounting.kernels(mod)
    return mod, PassReport(
        kernels_before=before[0],
        kernels_after=len(kernels),
        intermediate_bytes_before=before[1],
        intermediate_bytes_after=traffic,
        fusions=tuple(accounting.fusions(mod, grouping)),
        refusals=tuple(grouping.refusals()),
        phases=tuple(phases),
    )
