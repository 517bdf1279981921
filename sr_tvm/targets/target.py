"""What a target is: one object with all that the rest of the project asks of a place that models are compiled for."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tvm
from tvm import relax
from tvm.s_tir import dlight

from sr_tvm.errors import SrTvmError
from sr_tvm.passes.hide_helpers import HideHelpers
from sr_tvm.passes.reshape_views import ReshapeViews
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.regions.value import FLOAT32
from sr_tvm.system import machine
from sr_tvm.targets import link
from sr_tvm.targets.lowering import IntegerLowering, Lowering


@dataclass(frozen=True)
class Capabilities:
    """What a target can do, as data.

    Attributes:
        device: TVM's name of the device that kernels run on: "cpu", "opencl", "hexagon".
        any_size: whether one artifact may take pictures of any size: where whole networks stream. Elsewhere every
            kernel is scheduled for one size, and one for any size has plain, slow loops.
        dtypes: element types that kernels may compute in; the first is the default.
        meta_schedule: the kind of MetaSchedule's rules that its kernels can be tuned by; "" where there are none yet.
        needs: what must be there to run and tune its kernels, in words; "" where this machine is enough.
        estimated_on: the GPU whose machine code its kernels' times can be estimated by; "" where they can't.
    """

    device: str
    any_size: bool = False
    dtypes: tuple[str, ...] = (FLOAT32,)
    meta_schedule: str = ""
    needs: str = ""
    estimated_on: str = ""

    @property
    def runs_here(self) -> bool:
        """Whether artifacts are made for this machine."""
        return not self.needs


@dataclass(frozen=True)
class IntegerBuild:
    """What :meth:`Target.build_integer` wrote: the library's file name, a row of each kernel, notes for people."""

    library: str
    kernels: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target(ABC):
    """A place that models are compiled for: its capabilities, its hooks into the pipeline, its lowering, its linker.

    Fields of a subclass are plain values that choose a variant, say of another element type; they and the class make
    the target anew in another process (:meth:`options`). ``name`` is what people type, ``notes`` what they should know.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    notes: ClassVar[tuple[str, ...]] = ()
    library: ClassVar[str] = "model.so"
    link_options: ClassVar[tuple[str, ...]] = ()
    # A band of rows that begins at a multiple of it is computed as in the whole picture: kernels treat rows in groups.
    row_step: ClassVar[int] = 1

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities: ...

    @abstractmethod
    def tvm_target(self) -> tvm.target.Target: ...

    def options(self) -> dict[str, Any]:
        """The fields, as keywords of JSON values."""
        return dataclasses.asdict(self)

    def computing_in(self, dtype: str) -> Target:
        """The same target with kernels that compute in ``dtype``.

        Raises:
            SrTvmError: it has no such kernels; the message says what is missing.
        """
        if dtype == self.capabilities.dtypes[0]:
            return self
        raise SrTvmError(f"target {self.name} has no kernels in {dtype}; it computes in {self.capabilities.dtypes[0]}")

    def hosted_by(self, host: str) -> Target:
        """The same target with its host code for ``host``, where kernels run on a device beside the CPU.

        Raises:
            SrTvmError: it has none, or another choice; the message says which.
        """
        raise SrTvmError(f"target {self.name} has no --host: all of its code runs on the CPU that it is made for")

    def for_processor(self, mcpu: str) -> Target:
        """The same target for a processor, by LLVM's name of it.

        Raises:
            SrTvmError: it has no choice, or not this one; the message says which there are.
        """
        raise SrTvmError(f"target {self.name} has no --mcpu: hexagon has a choice of processors")

    @property
    def computes_in(self) -> str:
        """The element type of its kernels, as :meth:`computing_in` has chosen it."""
        return str(self.options().get("dtype", self.capabilities.dtypes[0]))

    def instruction_sets(self) -> tuple[str, ...]:
        """Instructions that its code may have and a processor of its kind may lack, by LLVM's names of the sets."""
        return ()

    def stand_in(self) -> Target:
        """The same target, with the same decisions and schedules, such that its artifacts run on this machine.

        Raises:
            SrTvmError: there is none; the message says what is missing.
        """
        if self.capabilities.runs_here:
            return self
        raise SrTvmError(
            f"target {self.name} can't be verified on this machine, which does not run its code; it needs "
            f"{self.capabilities.needs}"
        )

    def device_here(self) -> str:
        """Name the device of this machine that artifacts of the target run on."""
        return machine.cpu_name()

    def why_not_here(self, tvm_target: Mapping[str, Any]) -> str | None:
        """Say what keeps code for ``tvm_target``, as an artifact has it, from running on this machine; None: nothing.

        That the library's architecture is this machine's is checked before.
        """
        return f"made for target {self.name} ({tvm_target.get('kind', 'llvm')}), which this CPU can't run"

    def lowering(self) -> Lowering[Any] | None:
        """How regions of operators become streaming kernels; None where the target streams none."""
        return None

    def schedule_rules(self) -> Sequence[dlight.ScheduleRule]:
        """Rules for kernels that no tuning record covers, tried in order; each gives None where it does not apply."""
        return ()

    def default_schedule(self, mod: tvm.IRModule) -> tvm.IRModule:
        """Schedule by :meth:`schedule_rules` what has no attribute ``tirx.is_scheduled`` yet."""
        with self.tvm_target():
            return dlight.ApplyDefaultSchedule(*self.schedule_rules())(mod)

    # Hooks into the pipeline, by TVM's names for them: lists of passes.

    def library_dispatch(self) -> Sequence[tvm.ir.transform.Pass]:
        """On high-level Relax, after regions are formed: operators that a library or an intrinsic computes."""
        return ()

    def legalize(self) -> Sequence[tvm.ir.transform.Pass]:
        """Make one TIR kernel of each operator that is left."""
        return (relax.transform.LegalizeOps(),)

    def dataflow_lower(self) -> Sequence[tvm.ir.transform.Pass]:
        """From a scheduled dataflow graph to calls that write into memory given to them."""
        return (
            ReshapeViews(),
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
        )

    def finalize(self) -> Sequence[tvm.ir.transform.Pass]:
        """Plan memory, and lower what is left to calls of the virtual machine."""
        return (
            relax.transform.StaticPlanBlockMemory(),
            relax.transform.LowerAllocTensor(),
            relax.transform.KillAfterLastUse(),
            relax.transform.LowerRuntimeBuiltin(),
            relax.transform.ComputePrimValue(),
            relax.transform.VMShapeLower(),
            relax.transform.AttachGlobalSymbol(),
            HideHelpers(),
        )

    # From a scheduled module to files.

    def compile(self, mod: tvm.IRModule) -> Any:
        """Lower a scheduled module to a Relax VM executable, in memory."""
        # The generic pipeline: "adreno", which TVM would pick by itself, is for textures and does not load.
        lower = tvm.transform.Sequential([*self.dataflow_lower(), *self.finalize()])
        return relax.build(mod, self.tvm_target(), relax_pipeline=lower, tir_pipeline="s_tir")

    def build(self, mod: tvm.IRModule, folder: Path, kernels: Path | None = None) -> str:
        """Lower a scheduled module to machine code and write the library into ``folder``; returns its file name.

        The object file with the kernels' code is copied to ``kernels``, for those who do without TVM.
        """
        executable = self.compile(mod)

        def fcompile(output: str, objects: list[str], **_: Any) -> None:
            self.link(Path(output), [Path(o) for o in objects])
            if kernels is not None:
                shutil.copyfile(_with_code(objects), kernels)

        executable.export_library(str(Path(folder) / self.library), fcompile=fcompile)
        return self.library

    def integer_lowering(self) -> IntegerLowering[Any] | None:
        """What decides about the kernels of quantised networks; None where there is nothing to decide."""
        return None

    def integer_kinds(self, network: IntegerNetwork) -> dict[str, tuple[Any, int]]:
        """By name, the kinds of kernels that are decided about: one as the lowering takes it, and how many there are.

        Raises:
            SrTvmError: as :meth:`build_integer`.
        """
        return {}

    def build_integer(
        self, network: IntegerNetwork, folder: Path, decided: Mapping[str, tuple[Any, str]] | None = None
    ) -> IntegerBuild:
        """Lower a quantised network to machine code and write it into ``folder``.

        ``decided`` are decisions by the kind of a kernel, each with what is told of the record that has them.

        Raises:
            SrTvmError: the target has no integer kernels, or none for something of the network.
        """
        raise SrTvmError(
            f"target {self.name} has no kernels for quantised models: hexagon has; give {self.name} the float32 model"
        )

    def write_library(self, kernels: tvm.IRModule, caller: tvm.IRModule, path: Path) -> None:
        """Compile kernels for host and device, and host functions that call them by their symbols, to one library.

        All have a ``global_symbol``. The callers are compiled apart: LLVM takes the declaration of a function beside
        its definition for another function.
        """
        target = self.tvm_target()
        with tempfile.TemporaryDirectory(prefix="sr-tvm-caller-") as scratch:
            calling = Path(scratch) / "caller.o"
            with tvm.transform.PassContext(opt_level=3):
                built = tvm.tirx.build(kernels, target=target, pipeline="s_tir")
                tvm.tirx.build(caller, target=target, pipeline="s_tir").write_to_file(str(calling))

            def fcompile(output: str, objects: list[str], **_: Any) -> None:
                self.link(Path(output), [*(Path(o) for o in objects), calling])

            built.export_library(str(path), fcompile=fcompile)

    def object(self, mod: tvm.IRModule, path: Path) -> None:
        """Compile TIR functions, the public ones with a ``global_symbol``, to an object file for :meth:`link`."""
        with tvm.transform.PassContext(opt_level=3):
            tvm.tirx.build(mod, target=self.tvm_target(), pipeline="s_tir").write_to_file(str(path))

    def link(self, output: Path, objects: Sequence[Path], aliases: Mapping[str, str] | None = None) -> None:
        """Link object files to the library ``output``; ``aliases`` are further names of symbols, by name."""
        link.shared(output, objects, *self.link_options, *link.aliases(aliases or {}))


def _with_code(objects: Sequence[str]) -> str:
    """The object file of TVM's that holds the code: the others hold the virtual machine's bytecode and constants."""
    (found,) = (path for path in objects if Path(path).name.startswith("lib"))
    return found
