"""Tasks of a module: its unique kernels, how often each is called, how much each computes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import tvm
from tvm.s_tir.analysis import estimate_tir_flops
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.s_tir.meta_schedule.relax_integration import extract_tasks

from sr_tvm.build.builder import Candidate
from sr_tvm.build.replay import SCHEDULED, structural_key
from sr_tvm.errors import SrTvmError
from sr_tvm.targets import registry

if TYPE_CHECKING:
    from sr_tvm.targets.target import Target


@dataclass(frozen=True, eq=False)
class Task:
    """One kernel to be tuned.

    Attributes:
        name: The kernel's, for people.
        key: Its structural hash.
        mod: A TVM module whose function "main" is the kernel, unscheduled.
        weight: How often one inference calls it.
        flops: Floating-point operations of one call.
        target: What it is compiled for.
    """

    name: str
    key: str
    mod: Any
    weight: int
    flops: float
    target: Target

    @cached_property
    def arguments(self) -> list[tuple[str, tuple[int, ...]]]:
        """The type and shape of each argument of its function."""
        infos = [info.as_json() for info in ArgInfo.from_entry_func(self.mod, True)]
        return [(str(dtype), tuple(int(n) for n in shape)) for _, dtype, shape in infos]

    def inputs(self) -> dict[str, np.ndarray]:
        """Draw seeded numbers for every argument, those that the kernel writes over too.

        Returns:
            Tensors by name, "argument 0" and so on.
        """
        rng = np.random.default_rng(0)
        return {f"argument {i}": _fill(rng, shape, dtype) for i, (dtype, shape) in enumerate(self.arguments)}

    def candidate(self, key: str, mod: Any) -> Candidate:
        """Make a candidate of a scheduled module.

        Args:
            key: The module's structural hash.
            mod: The scheduled kernel; None for a candidate that is not to be built.

        Returns:
            The candidate.
        """
        return Candidate(key, {} if mod is None else {"mod": tvm.ir.save_json(mod)})

    @cached_property
    def default(self) -> Candidate:
        """The kernel under the target's default schedule: what one without a record gets, and a record must beat."""
        # Default schedules are put into the module they are given: a copy.
        copy = tvm.IRModule(dict(self.mod.functions_items()))
        return self.candidate("default", self.target.default_schedule(copy))

    @cached_property
    def truth(self) -> Candidate:
        """The kernel without any schedule."""
        return self.candidate("unscheduled", self.mod)

    def build_request(self) -> dict[str, Any]:
        """Describe the task for the process that builds its candidates.

        Returns:
            The kind, the target, and the types and shapes of the arguments, as JSON holds them.
        """
        return {"kind": "kernel", "target": registry.spec(self.target), "arguments": self.arguments}


def _fill(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return random numbers to compute with."""
    if dtype.startswith(("float", "bfloat")):
        return rng.uniform(-1, 1, shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)  # 0 and 1 are valid as flags, indices and numbers


def find_tasks(mod: tvm.IRModule, target: Target, none_is_fine: bool = False) -> list[Task]:
    """List the kernels of a fused Relax module that have no schedule yet.

    Args:
        mod: The fused module.
        target: What it is compiled for; one without MetaSchedule has no such kernels.
        none_is_fine: Whether an empty list is no error.

    Returns:
        The unique kernels in order of name.

    Raises:
        SrTvmError: There is nothing to tune, which is not fine.
    """
    found: dict[str, Task] = {}
    for task in extract_tasks(mod, target.tvm_target()) if target.capabilities.meta_schedule else ():
        kernel = task.dispatched[0]
        attrs = kernel["main"].attrs
        if attrs is not None and bool(attrs.get(SCHEDULED, False)):
            continue
        key = structural_key(kernel)
        found[key] = Task(str(task.task_name), key, kernel, int(task.weight), _flops(kernel), target)
    if not found and not none_is_fine:
        raise SrTvmError("nothing to tune: the module holds no unscheduled kernels; pass the optimized Relax module")
    return sorted(found.values(), key=lambda t: (t.name, t.key))


def _flops(kernel: tvm.IRModule) -> float:
    try:
        return float(estimate_tir_flops(kernel))
    except (ValueError, RuntimeError):  # loops it can't count; only shown, never needed
        return 0.0
