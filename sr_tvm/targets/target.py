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
    """What :meth:`Target.build_integer` wrote.

    Attributes:
        library: the library's file name.
        kernels: a row of each kernel, as the artifact lists it.
        notes: what people should know.
    """

    library: str
    kernels: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target(ABC):
    """A place that models are compiled for: its capabilities, its hooks into the pipeline, its lowering, its linker.

    Fields of a subclass are plain values that choose a variant, say of another element type; they and the class make
    the target anew in another process (:meth:`options`).

    Attributes:
        name: what people type.
        description: what the target is, in a few words.
        notes: what people should know of its artifacts.
        library: file name of the library in an artifact.
        link_options: of ld.lld.
        row_step: a band of rows that begins at a multiple of it is computed as in the whole picture.
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
    def capabilities(self) -> Capabilities:
        """What the target can do."""

    @abstractmethod
    def tvm_target(self) -> tvm.target.Target:
        """Give the target that TVM compiles for.

        Returns:
            TVM's target, with the host for code beside a device.
        """

    def options(self) -> dict[str, Any]:
        """Give the fields, from which the target can be made anew.

        Returns:
            Keywords of the class, with JSON values.
        """
        return dataclasses.asdict(self)

    def computing_in(self, dtype: str) -> Target:
        """Give the same target with kernels that compute in another element type.

        Args:
            dtype: One of those in its :attr:`capabilities`.

        Returns:
            The target.

        Raises:
            SrTvmError: It has no such kernels; the message says what is missing.
        """
        if dtype == self.capabilities.dtypes[0]:
            return self
        raise SrTvmError(f"target {self.name} has no kernels in {dtype}; it computes in {self.capabilities.dtypes[0]}")

    def hosted_by(self, host: str) -> Target:
        """Give the same target with its host code for another machine, where kernels run on a device beside the CPU.

        Args:
            host: Name of the machine, as the target has it.

        Returns:
            The target.

        Raises:
            SrTvmError: It has no choice, or another one; the message says which.
        """
        raise SrTvmError(f"target {self.name} has no --host: all of its code runs on the CPU that it is made for")

    def for_processor(self, mcpu: str) -> Target:
        """Give the same target for another processor of its kind.

        Args:
            mcpu: LLVM's name of the processor.

        Returns:
            The target.

        Raises:
            SrTvmError: It has no choice, or not this one; the message says which there are.
        """
        raise SrTvmError(f"target {self.name} has no --mcpu: hexagon has a choice of processors")

    @property
    def computes_in(self) -> str:
        """The element type of its kernels, as :meth:`computing_in` has chosen it."""
        return str(self.options().get("dtype", self.capabilities.dtypes[0]))

    def instruction_sets(self) -> tuple[str, ...]:
        """List the instructions that its code may have and a processor of its kind may lack.

        Returns:
            LLVM's names of the sets, such as "avx2" or "fullfp16".
        """
        return ()

    def stand_in(self) -> Target:
        """Give the same target, with the same decisions and schedules, such that its artifacts run on this machine.

        Returns:
            The target, itself where its artifacts run here anyway.

        Raises:
            SrTvmError: There is none; the message says what is missing.
        """
        if self.capabilities.runs_here:
            return self
        raise SrTvmError(
            f"target {self.name} can't be verified on this machine, which does not run its code; it needs "
            f"{self.capabilities.needs}"
        )

    def device_here(self) -> str:
        """Name the device of this machine that artifacts of the target run on.

        Returns:
            The name, for people.
        """
        return machine.cpu_name()

    def why_not_here(self, tvm_target: Mapping[str, Any]) -> str | None:
        """Say what keeps code from running on this machine.

        That the library's architecture is this machine's is checked before.

        Args:
            tvm_target: The TVM target that an artifact's code was made for, as a mapping with "kind" and perhaps
                "mcpu".

        Returns:
            The reason, in words for people; None where there is none.
        """
        return f"made for target {self.name} ({tvm_target.get('kind', 'llvm')}), which this CPU can't run"

    def lowering(self) -> Lowering[Any] | None:
        """Give what turns regions of operators into streaming kernels.

        Returns:
            The lowering; None where the target streams nothing.
        """
        return None

    def schedule_rules(self) -> Sequence[dlight.ScheduleRule]:
        """List the rules for kernels that no tuning record covers.

        Returns:
            Rules in the order that they are tried; each gives None where it does not apply.
        """
        return ()

    def default_schedule(self, mod: tvm.IRModule) -> tvm.IRModule:
        """Schedule by :meth:`schedule_rules` what has no attribute ``tirx.is_scheduled`` yet.

        Args:
            mod: A module of TIR kernels, and perhaps Relax functions.

        Returns:
            The module with every kernel scheduled that a rule applies to.
        """
        with self.tvm_target():
            return dlight.ApplyDefaultSchedule(*self.schedule_rules())(mod)

    # Hooks into the pipeline, by TVM's names for them: lists of passes.

    def library_dispatch(self) -> Sequence[tvm.ir.transform.Pass]:
        """List the passes that give operators to a library or an intrinsic.

        They see high-level Relax, after regions are formed.

        Returns:
            TVM's passes, in order.
        """
        return ()

    def legalize(self) -> Sequence[tvm.ir.transform.Pass]:
        """List the passes that make one TIR kernel of each operator that is left.

        Returns:
            TVM's passes, in order.
        """
        return (relax.transform.LegalizeOps(),)

    def dataflow_lower(self) -> Sequence[tvm.ir.transform.Pass]:
        """List the passes from a scheduled dataflow graph to calls that write into memory given to them.

        Returns:
            TVM's passes, in order.
        """
        return (
            ReshapeViews(),
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
        )

    def finalize(self) -> Sequence[tvm.ir.transform.Pass]:
        """List the passes that plan memory, and lower what is left to calls of the virtual machine.

        Returns:
            TVM's passes, in order.
        """
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
        """Lower a scheduled module to a Relax VM executable, in memory.

        Args:
            mod: Relax and the TIR kernels that it calls, each with its schedule.

        Returns:
            What :func:`tvm.relax.build` makes.
        """
        # The generic pipeline: "adreno", which TVM would pick by itself, is for textures and does not load.
        lower = tvm.transform.Sequential([*self.dataflow_lower(), *self.finalize()])
        return relax.build(mod, self.tvm_target(), relax_pipeline=lower, tir_pipeline="s_tir")

    def build(self, mod: tvm.IRModule, folder: Path, kernels: Path | None = None) -> str:
        """Lower a scheduled module to machine code and write the library into a folder.

        Args:
            mod: Relax and the TIR kernels that it calls, each with its schedule.
            folder: Where the library is written.
            kernels: Where the object file with the kernels' code is copied, for those who do without TVM; None for
                nowhere.

        Returns:
            The library's file name.

        Raises:
            SrTvmError: The linker is missing or refuses.
        """
        executable = self.compile(mod)

        def fcompile(output: str, objects: list[str], **_: Any) -> None:
            self.link(Path(output), [Path(o) for o in objects])
            if kernels is not None:
                shutil.copyfile(_with_code(objects), kernels)

        executable.export_library(str(Path(folder) / self.library), fcompile=fcompile)
        return self.library

    def integer_lowering(self) -> IntegerLowering[Any] | None:
        """Give what decides about the kernels of quantised networks.

        Returns:
            The lowering; None where there is nothing to decide.
        """
        return None

    def integer_kinds(self, network: IntegerNetwork) -> dict[str, tuple[Any, int]]:
        """Find the kinds of kernels of a quantised network that are decided about.

        Args:
            network: The network.

        Returns:
            By name, one kernel of the kind as the lowering takes it, and how many of the kind there are.

        Raises:
            SrTvmError: The target has no kernels for something of the network.
        """
        return {}

    def build_integer(
        self, network: IntegerNetwork, folder: Path, decided: Mapping[str, tuple[Any, str]] | None = None
    ) -> IntegerBuild:
        """Lower a quantised network to machine code and write it into a folder.

        Args:
            network: The network.
            folder: Where the library is written.
            decided: By the kind of a kernel, decisions and what is told of the record that has them; None, and kinds
                that are not in it, for the default.

        Returns:
            What was written.

        Raises:
            SrTvmError: The target has no integer kernels, or none for something of the network.
        """
        raise SrTvmError(
            f"target {self.name} has no kernels for quantised models: hexagon has; give {self.name} the float32 model"
        )

    def write_library(self, kernels: tvm.IRModule, caller: tvm.IRModule, path: Path) -> None:
        """Compile kernels for host and device, and host functions that call them by their symbols, to one library.

        All have a ``global_symbol``. The callers are compiled apart: LLVM takes the declaration of a function beside
        its definition for another function.

        Args:
            kernels: The kernels.
            caller: The functions that call them.
            path: The library that is written.

        Raises:
            SrTvmError: The linker is missing or refuses.
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
        """Compile TIR functions to an object file for :meth:`link`.

        Args:
            mod: Scheduled functions, the public ones with a ``global_symbol``.
            path: The object file that is written.
        """
        with tvm.transform.PassContext(opt_level=3):
            tvm.tirx.build(mod, target=self.tvm_target(), pipeline="s_tir").write_to_file(str(path))

    def link(self, output: Path, objects: Sequence[Path], aliases: Mapping[str, str] | None = None) -> None:
        """Link object files to a library.

        Args:
            output: The library that is written.
            objects: Object files of the target's machine.
            aliases: Further names of symbols: new name to the one that there is.

        Raises:
            SrTvmError: The linker is missing or refuses.
        """
        link.shared(output, objects, *self.link_options, *link.aliases(aliases or {}))


def _with_code(objects: Sequence[str]) -> str:
    """Return TVM's object file that holds the code: the others hold the virtual machine's bytecode and constants."""
    (found,) = (path for path in objects if Path(path).name.startswith("lib"))
    return found
