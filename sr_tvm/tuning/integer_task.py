"""Tasks of a quantised network: the kinds of its kernels, one by one, in the simulator's packets."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import reference
from sr_tvm.quantize.qdq_read import from_onnx
from sr_tvm.runners.hexagon_sim import PICTURE, WANTED
from sr_tvm.tuning.region_task import RegionTask

if TYPE_CHECKING:
    from sr_tvm.frontend.model import OnnxModel
    from sr_tvm.targets.lowering import Lowering
    from sr_tvm.targets.target import Target

SIZE = (1, 36, 640)  # what is measured where no size is asked for: a row costs the same wherever it is


@dataclass(frozen=True, eq=False)
class IntegerTask(RegionTask):
    """Kernels of one kind in the network of a quantised model; ``region`` is a stage of the kind.

    All candidates are whole programs, whose results are compared with ``data``.

    Attributes:
        model: The quantised model.
        macs: Multiply-accumulates of the kernel per pixel of the picture.
        data: The picture, and what the definition makes of it.
    """

    model: OnnxModel | None = None
    macs: int = 0
    data: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    @override
    def lowering(self) -> Lowering[Any]:
        found = self.target.integer_lowering()
        if found is None:
            raise SrTvmError(f"target {self.target.name} decides nothing about kernels of quantised models")
        return found

    @cached_property
    def key(self) -> str:
        """The hash of what is measured, with the model and the default, as packets are noted relative to its own."""
        lowering = self.lowering
        default = lowering.to_json(lowering.decide(self.region, self.shape))
        text = json.dumps([self.name, self.size, default, lowering.hardware, self._model.sha256])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def _model(self) -> OnnxModel:
        assert self.model is not None  # a default, since fields before it have one
        return self.model

    @property
    @override
    def flops(self) -> float:
        n, h, w = self.size
        return 2.0 * self.macs * n * h * w

    @override
    def inputs(self) -> dict[str, np.ndarray]:
        return self.data

    @override
    def build_request(self) -> dict[str, Any]:
        from sr_tvm.targets import registry

        return {
            "kind": "integer",
            "target": registry.spec(self.target),
            "model": str(self._model.path),
            "onnx": base64.b64encode(self._model.proto.SerializeToString()).decode(),
            "what": self.name,
        }


def find_kinds(model: OnnxModel, target: Target, size: tuple[int, int, int] = SIZE) -> list[IntegerTask]:
    """List the tasks of a quantised model, measured on seeded noise.

    Args:
        model: The quantised model.
        target: Whose integer kernels are tuned.
        size: (N, H, W) of the picture; N must be 1.

    Returns:
        A task for each kind of kernel.

    Raises:
        SrTvmError: The target has no integer kernels, or none for something of the model; or not one picture is asked.
    """
    network = from_onnx(model.path, model.proto)
    found = target.integer_kinds(network)
    if not found:
        raise SrTvmError(f"target {target.name} decides nothing about kernels of quantised models: hexagon does")
    if size[0] != 1:
        raise SrTvmError(f"{size[0]} pictures; one at a time is simulated")
    channels = network.channels(network.picture.name)
    picture = np.random.default_rng(0).integers(0, 256, (channels, *size[1:])).astype(np.uint8)
    data = {PICTURE: picture, WANTED: reference.run(network, picture)}
    return [
        IntegerTask(kind, stage, (1, None, None), size, target, weight, model, stage.macs, data)
        for kind, (stage, weight) in found.items()
    ]
