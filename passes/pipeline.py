"""The numbered list of phases from high-level Relax to fused TIR, and the function that runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import tvm
import tvm_ffi
from tvm.relax import transform as relax_passes

from sr_tvm.codegen.kernel import Lowers
from sr_tvm.errors import SrTvmError
from sr_tvm.passes import accounting
from sr_tvm.passes.fold_batch_norm import FoldBatchNorm
from sr_tvm.passes.fold_mean_shift import FoldMeanShift
from sr_tvm.passes.fold_pixel_shuffle import FoldPixelShuffle
from sr_tvm.passes.form_regions import FormRegions
from sr_tvm.passes.fuse_elementwise import FuseElementwise, Grouping
from sr_tvm.passes.inline_blocks import InlineBlocks
from sr_tvm.passes.log import Log
from sr_tvm.passes.report import PassReport
from sr_tvm.passes.shapes import has_symbols
from sr_tvm.passes.sink_pixel_shuffle import SinkPixelShuffle
from sr_tvm.passes.transposed_convolution import TransposedConvolution
from sr_tvm.system import files

# Else what a lowering refuses would come out of TVM's pass as a RuntimeError.
tvm_ffi.register_error("SrTvmError", SrTvmError)


class Hooks(Protocol):
    """The passes that a target adds to the list; see :class:`sr_tvm.targets.target.Target`."""

    def library_dispatch(self) -> Sequence[tvm.ir.transform.Pass]:
        """Return the passes that give operators to the target's own code, run before ``legalize``.

        Returns:
            TVM passes, in order; empty where it has none.
        """
        ...

    def legalize(self) -> Sequence[tvm.ir.transform.Pass]:
        """Return the passes that make one TIR kernel of each operator that is left.

        Returns:
            TVM passes, in order.
        """
        ...


class NoHooks:
    """Hooks of a target without own passes: operators become TIR kernels, one each, and no library computes any."""

    def library_dispatch(self) -> Sequence[tvm.ir.transform.Pass]:
        """Return no passes: no library computes any operator.

        Returns:
            Empty.
        """
        return ()

    def legalize(self) -> Sequence[tvm.ir.transform.Pass]:
        """Return TVM's LegalizeOps alone.

        Returns:
            That one pass.
        """
        return (relax_passes.LegalizeOps(),)


class PassArguments(NamedTuple):
    """What a phase makes its pass with.

    Attributes:
        log: Where our passes tell what they did.
        lowering: The target's, for regions that stream; None where it has none.
        hooks: The target's own passes.
    """

    log: Log
    lowering: Lowers | None
    hooks: Hooks


class PipelinePhase(NamedTuple):
    """One line of the list of phases.

    Attributes:
        number: Counted from 1.
        name: As in the names of dumped files.
        what: What it does, in words.
        make: Gives the TVM pass.
    """

    number: int
    name: str
    what: str
    make: Callable[[PassArguments], tvm.ir.transform.Pass]


GROUPING = "fuse-elementwise"
_LIST: tuple[tuple[str, str, Callable[[PassArguments], tvm.ir.transform.Pass]], ...] = (
    ("fold-constants", "evaluate what depends on weights alone", lambda _: relax_passes.FoldConstant()),
    ("fold-batch-norm", "batch_norm into weights and biases", lambda a: FoldBatchNorm(a.log)),
    ("fold-pixel-shuffle", "reshape, permute, reshape into one store", lambda a: FoldPixelShuffle(a.log)),
    ("transposed-convolution", "as a convolution and a shuffle", lambda a: TransposedConvolution(a.log)),
    ("fold-mean-shift", "per-channel constants into weights and biases", lambda a: FoldMeanShift(a.log)),
    ("sink-pixel-shuffle", "arithmetic after the shuffle goes before it", lambda a: SinkPixelShuffle(a.log)),
    ("form-regions", "streaming kernels, where the target has them", lambda a: FormRegions(a.log, a.lowering)),
    ("library-dispatch", "what the target has its own code for", lambda a: _all(a.hooks.library_dispatch())),
    ("legalize", "one TIR kernel for each operator", lambda a: _all(a.hooks.legalize())),
    ("annotate", "TIR types kernels of unknown name", lambda _: relax_passes.AnnotateTIROpPattern()),
    (GROUPING, "group kernels by the mapping table", lambda _: FuseElementwise()),
    ("fuse-tir", "one TIR function for each group", lambda _: relax_passes.FuseTIR()),
    ("inline-blocks", "one block of each run of elementwise blocks", lambda _: InlineBlocks()),
    ("drop-dead", "remove kernels that nobody calls", lambda _: relax_passes.DeadCodeElimination()),
)
PHASES = tuple(PipelinePhase(number, *row) for number, row in enumerate(_LIST, 1))


def _all(passes: Sequence[tvm.ir.transform.Pass]) -> tvm.ir.transform.Pass:
    return tvm.transform.Sequential(list(passes))


def optimize(
    mod: tvm.IRModule,
    tvm_target: tvm.target.Target,
    dump_dir: str | Path | None = None,
    lowering: Lowers | None = None,
    hooks: Hooks | None = None,
) -> tuple[tvm.IRModule, PassReport]:
    """Run :data:`PHASES` on the high-level Relax of an imported network.

    Args:
        mod: Its ``main`` takes and returns NCHW tensors.
        tvm_target: Under which TVM's passes run.
        dump_dir: A folder that gets the module after each phase, ``01-fold-constants.py`` and so on; None for no dumps.
        lowering: The target's, which makes kernels, schedule and all, of the regions that stream; None for none.
        hooks: The target's own passes; None for TVM's LegalizeOps alone.

    Returns:
        The module of fused TIR kernels (those that are not streamed have no schedule yet), and the report.
    """
    before, symbols = accounting.unfused(mod, tvm_target), has_symbols(mod["main"])
    log, grouping, phases = Log(), None, []
    asked = PassArguments(log, lowering, hooks or NoHooks())
    with tvm_target, tvm.transform.PassContext(opt_level=3):
        for phase in PHASES:
            if phase.name == GROUPING:
                grouping = Grouping(mod)
            start = time.perf_counter()
            mod = phase.make(asked)(mod)
            ms = (time.perf_counter() - start) * 1e3
            phases.append({"number": phase.number, "name": phase.name, "what": phase.what, "ms": round(ms, 3)})
            if dump_dir is not None:
                with files.atomic_file(Path(dump_dir) / f"{phase.number:02d}-{phase.name}.py") as path:
                    path.write_text(mod.script(show_meta=False), encoding="utf-8")
    assert grouping is not None
    kernels, traffic = accounting.kernels(mod)
    return mod, PassReport(
        kernels_before=before[0],
        kernels_after=len(kernels),
        intermediate_bytes_before=before[1],
        intermediate_bytes_after=traffic,
        fusions=tuple(accounting.fusions(mod, grouping, log)),
        rewrites=tuple(log.rewrites),
        refusals=(*log.refusals, *grouping.refusals()),
        phases=tuple(phases),
        per_pixel=symbols,
    )
