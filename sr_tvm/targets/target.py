"""What a target is: a TVM target, a way to schedule, a way to link. One file per target derives from Target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import tvm
from tvm import relax

from sr_tvm.build.replay import replay
from sr_tvm.passes.hide_helpers import HideHelpers
from sr_tvm.passes.reshape_views import ReshapeViews
from sr_tvm.targets import link
from sr_tvm.targets.lowering import SCHEDULE_ATTR

if TYPE_CHECKING:
    from sr_tvm.targets.lowering import Lowering
    from sr_tvm.tuning.row_records import RowRecords


@dataclass(frozen=True)
class Target:
    """A place a model is compiled for.

    A subclass sets the class variables and :meth:`tvm_target`, and overrides :meth:`default_schedule` or :meth:`link`
    where it differs. ``name`` is what people type; ``device`` is where the kernels run: "cpu", "opencl", "hexagon".
    """

    name: ClassVar[str]
    description: ClassVar[str]
    device: ClassVar[str] = "cpu"
    runs_here: ClassVar[bool] = False
    notes: ClassVar[tuple[str, ...]] = ()
    library: ClassVar[str] = "model.so"

    def tvm_target(self) -> tvm.target.Target:
        raise NotImplementedError

    def lowering(self, records: RowRecords | None = None) -> Lowering | None:
        """How regions of operators become streaming kernels; None where the target streams none.

        ``records`` are tuned decisions, for the regions they know.
        """
        return None

    def default_schedule(self, mod: tvm.IRModule) -> tvm.IRModule:
        """Schedule the kernels that no tuning record covers; those have the attribute ``tirx.is_scheduled``."""
        return mod

    def link(self, output: Path, objects: list[Path]) -> None:
        """Link object files to the library ``output``."""
        link.shared(output, objects)

    def schedule(self, mod: tvm.IRModule, database: Any = None) -> tvm.IRModule:
        """Give every kernel of a fused Relax module its schedule: a record of ``database`` or the target's default.

        ``database`` is a MetaSchedule database or None. Each kernel carries which it was in :data:`SCHEDULE_ATTR`.
        """
        target = self.tvm_target()
        tuned: set[str] = set()
        if database is not None:
            mod, tuned = replay(mod, database, target)
        with target:
            mod = self.default_schedule(mod)
        for var, function in mod.functions_items():
            if isinstance(function, tvm.tirx.PrimFunc):
                # A streamed kernel may carry the mark already.
                known = "tuned" if var.name_hint in tuned else "default"
                source = str((function.attrs or {}).get(SCHEDULE_ATTR, known))
                mod[var] = function.with_attr(SCHEDULE_ATTR, source)
        return mod

    def build(self, mod: tvm.IRModule, folder: Path) -> str:
        """Lower a scheduled module to machine code and write the library into ``folder``; returns its file name."""
        executable = self.compile(mod)

        def fcompile(output: str, objects: list[str], **_: Any) -> None:
            self.link(Path(output), [Path(o) for o in objects])

        executable.export_library(str(Path(folder) / self.library), fcompile=fcompile)
        return self.library

    def compile(self, mod: tvm.IRModule) -> Any:
        """A scheduled module to a Relax VM executable, in memory."""
        target = self.tvm_target()
        steps = [
            ReshapeViews(),
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
            relax.transform.StaticPlanBlockMemory(),
            relax.transform.LowerAllocTensor(),
            relax.transform.KillAfterLastUse(),
            relax.transform.LowerRuntimeBuiltin(),
            relax.transform.ComputePrimValue(),
            relax.transform.VMShapeLower(),
            relax.transform.AttachGlobalSymbol(),
            HideHelpers(),
        ]
        # The generic pipeline: "adreno", which TVM would pick by itself, is for textures and does not load.
        lower = tvm.transform.Sequential(steps)
        return relax.build(mod, target, relax_pipeline=lower, tir_pipeline="s_tir")

    def kernels(self, mod: tvm.IRModule) -> tuple[dict[str, Any], ...]:
        """What runs where, in the order of the first call: kernel, device, calls, schedule of a scheduled module."""
        calls: dict[str, int] = {}

        def visit(node: Any) -> None:
            if isinstance(node, relax.Call) and node.op == tvm.ir.Op.get("relax.call_tir"):
                name = node.args[0].name_hint
                calls[name] = calls.get(name, 0) + 1

        relax.analysis.post_order_visit(mod["main"], visit)
        return tuple(
            {"kernel": name, "device": self.device, "calls": n, "schedule": str(mod[name].attrs[SCHEDULE_ATTR])}
            for name, n in calls.items()
        )
