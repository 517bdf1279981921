"""Parity: how far the outputs of one step are from those of the step before."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sr_tvm.errors import SrTvmError

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Parity:
    """How far an output is from its reference, and whether that is near enough.

    Attributes:
        name: What was compared with what, for messages.
        max_abs_err: Largest absolute difference, in the units of the output.
        tolerance: What is allowed, as a share of max(1, peak).
        ok: Whether the difference is within that.
        peak: Largest absolute value of the reference.
    """

    name: str
    max_abs_err: float
    tolerance: float
    ok: bool
    peak: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Give the comparison in its JSON form.

        Returns:
            A dictionary of the fields.
        """
        return asdict(self)

    def require(self) -> Parity:
        """Insist that the outputs agree.

        Returns:
            The comparison itself.

        Raises:
            SrTvmError: They do not; the message has the figures.
        """
        if not self.ok:
            raise SrTvmError(
                f"{self.name}: outputs differ by {self.max_abs_err:.3g} at a peak of {self.peak:.3g}; "
                f"{self.tolerance:g} of max(1, peak) is allowed"
            )
        return self


def compare(name: str, reference: np.ndarray, output: np.ndarray, tolerance: float = TOLERANCE) -> Parity:
    """Compare an output with its reference.

    NaN or infinity where the reference has none, and the other way round, never passes.

    Args:
        name: What is compared with what, for messages.
        reference: Of any shape and dtype.
        output: Of the same shape.
        tolerance: Of the largest absolute difference, as a share of max(1, peak of the reference).

    Returns:
        The comparison, passed or not.

    Raises:
        SrTvmError: The shapes differ.
    """
    if reference.shape != output.shape:
        raise SrTvmError(f"{name}: the output has shape {output.shape}, the reference {reference.shape}")
    a, b = reference.astype(np.float64), output.astype(np.float64)
    finite = np.isfinite(a)
    same = bool(np.array_equal(a[~finite], b[~finite], equal_nan=True) and np.isfinite(b[finite]).all())
    peak = float(np.abs(a[finite]).max(initial=0.0))
    error = float(np.abs(a[finite] - b[finite]).max(initial=0.0)) if same else float("inf")
    return Parity(name, error, tolerance, error <= tolerance * max(1.0, peak), peak)


def run_relax(mod: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Build a module for this CPU with TVM's default pipeline and run ``main`` once. Slow code, for comparing only.

    Args:
        mod: High-level Relax or TIR.
        inputs: Of ``main``, in order.

    Returns:
        Its outputs, in order; one where it returns one tensor.
    """
    import tvm
    from tvm import relax

    executable = tvm.compile(mod, target=tvm.target.Target({"kind": "llvm"}))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*[tvm.runtime.tensor(np.ascontiguousarray(x)) for x in inputs])
    single = isinstance(result, tvm.runtime.Tensor)
    return [result.numpy()] if single else [r.numpy() for r in result]


def random_inputs(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Make pictures of noise, the same for the same seed.

    Args:
        shapes: Of the inputs, by name.
        seed: Of the noise.

    Returns:
        Arrays by name, float32, uniform in 0..1.
    """
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
