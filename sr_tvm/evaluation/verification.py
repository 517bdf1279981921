"""Run the kernels of an artifact on this machine, before it is written, against those of another target."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.records.tensor import shape_text
from sr_tvm.targets import registry

if TYPE_CHECKING:
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.frontend.model import OnnxModel
    from sr_tvm.records.artifact import Artifact
    from sr_tvm.targets.target import Target

SECONDS = 900.0  # for one run: an emulated GPU at the size of a photograph
REFERENCE, PLAIN = "cpu", "plain"  # what a target is compared with; and what "cpu" itself is
EXAMPLE_SIDE = 64  # of the picture where any size is taken


@dataclass(frozen=True)
class Verification:
    """That kernels of an artifact computed the right thing, where, and how right.

    Attributes:
        device: what they ran on, in the driver's words; not the device that the artifact is for.
        reference: the target whose kernels on this machine's CPU they were compared with.
        input_shape: of the pictures, two of them: noise, and edges on a slope.
        deviation: the largest difference of an output, in parts of the output's largest number.
        allowed: the largest that would have passed.
    """

    device: str
    reference: str
    input_shape: tuple[int, ...]
    deviation: float
    allowed: float

    def to_json(self) -> dict[str, Any]:
        """Write the record as an artifact's manifest holds it.

        Returns:
            A JSON object with one field for each of this record.
        """
        return asdict(self) | {"input_shape": list(self.input_shape)}

    def __str__(self) -> str:
        return (
            f"verified at {shape_text(self.input_shape)} on {self.device}: outputs differ from target "
            f"{self.reference}'s by {self.deviation:.1e} of the peak at most, {self.allowed:.0e} is allowed"
        )


def verify(
    model: OnnxModel | str | Path,
    target: Target,
    input_shapes: Mapping[str, tuple[int | str, ...]] | None = None,
    options: CompileOptions | None = None,
) -> Verification:
    """Compile an ONNX file for this machine with the decisions and schedules of a target, run it, and compare.

    The kernels run in a child process: one that crashes or hangs is an error like another.

    Args:
        model: The network.
        target: Whose kernels are checked.
        input_shapes: Of the network's inputs, by name; as the file says if None.
        options: That the artifact will be compiled with; the host, and the element type, must be ``target``'s by now.

    Returns:
        What they ran on, and how far the outputs are from the reference's.

    Raises:
        SrTvmError: This machine can't run the target's kernels, with what is missing; they fail, or their outputs are
            wrong, with the first that is.
    """
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.frontend.model import as_model
    from sr_tvm.runners.child_session import ChildRunner

    given = replace(options or CompileOptions(), host=None, dtype=target.capabilities.dtypes[0])
    twin = target.stand_in()
    model = as_model(model)
    with tempfile.TemporaryDirectory(prefix="sr-tvm-verify-") as scratch:
        place = Path(scratch)
        found = compile_model(model, twin, place / "found", input_shapes, given)
        reference = PLAIN if target.name == REFERENCE else REFERENCE
        plain = replace(given, database=None, use_shipped_log=False)
        truth = compile_model(model, registry.get(reference), place / "truth", input_shapes, plain)
        if found.any_size:
            found, truth = (a.at(_example(a)) for a in (found, truth))
        with ChildRunner(deadline=SECONDS) as runner:
            session = runner.open()
            deviation = float(np.max([_deviation(session, found, truth, x) for x in _pictures(found)]))  # keeps a NaN
            device = twin.device_here()
        allowed = _allowed(twin)
        if not deviation <= allowed:  # NaN is wrong too
            raise SrTvmError(
                f"{found.model} for {target.name} computes something else on {device} than target {reference}: outputs "
                f"are off by {deviation:.2g} of the peak, {allowed:.0e} is allowed; nothing was written"
            )
    return Verification(device, reference, found.inputs[0].at({}), deviation, allowed)


def _allowed(target: Target) -> float:
    from sr_tvm.runners.deviation import DEFAULT_TOLERANCE, TOLERANCE

    return TOLERANCE.get(target.computes_in, DEFAULT_TOLERANCE)


def _example(artifact: Artifact) -> dict[str, tuple[int, ...]]:
    """Return a small size for an artifact of any: the shape of each input by its name."""
    return {t.name: tuple(EXAMPLE_SIDE + 1 if isinstance(n, str) else n for n in t.shape) for t in artifact.inputs}


def _pictures(artifact: Artifact) -> list[list[np.ndarray]]:
    """Return two sets of inputs to run with: noise of 0..1, and slopes with edges as pictures have them."""
    from sr_tvm.runners.base import random_inputs

    smooth = []
    for i, tensor in enumerate(artifact.inputs):
        shape = tensor.at({})
        ramps = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij", sparse=True)
        slope = np.zeros(shape)
        for ramp, weight in zip(ramps, (0.1, 0.2, 0.4, 0.3, 0.1, 0.1), strict=False):
            slope += ramp * weight
        smooth.append(((slope * (5 + i)) % 1).astype(tensor.dtype))
    return [random_inputs(artifact), smooth]


def _deviation(session: Any, found: Artifact, truth: Artifact, inputs: list[np.ndarray]) -> float:
    """Return the largest difference in parts of the output's largest number; not a number where an output has one."""
    pairs = zip(session.run(found, inputs), session.run(truth, inputs), strict=True)
    parts = []
    for actual, expected in pairs:
        peak = float(np.abs(expected).max(initial=0)) or 1.0
        parts.append(float(np.abs(actual.astype("float64") - expected).max(initial=0)) / peak)
    return float(np.max(parts))  # np.max keeps a NaN
