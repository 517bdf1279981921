"""From decisions about one kind of kernel to a whole quantised network as a module, to be run in a simulator."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize.qdq_read import from_onnx
from sr_tvm.records import measured_stages
from sr_tvm.records.elf import library_machine
from sr_tvm.records.module import Module
from sr_tvm.system.files import sha256
from sr_tvm.targets import registry


class IntegerCandidates:
    """A quantised network and a kind of its kernels: a candidate decides about that.

    The others are the default's, but compiled in the same way: that takes half the time. ``request`` is the task's JSON
    form.

    Raises:
        SrTvmError: The target decides nothing about such kernels.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.target = registry.from_spec(request["target"])
        lowering = self.target.integer_lowering()
        if lowering is None:
            raise SrTvmError(f"target {self.target.name} decides nothing about kernels of quantised models")
        self.lowering, self.kind = lowering, str(request["what"])
        # What was read, not the file, which may be another by now.
        self.network = from_onnx(request["model"], onnx.ModelProto.FromString(base64.b64decode(request["onnx"])))
        self.kinds = self.target.integer_kinds(self.network)
        self.weight = self.kinds[self.kind][1]

    def build(self, candidate: dict[str, Any], key: str, folder: str) -> Module:
        """Build the program in a folder of its own; a file there says which stages are measured.

        Args:
            candidate: {"decisions"}, in the lowering's JSON form.
            key: Of the candidate, which becomes the module's.
            folder: Where the program's folder goes.

        Returns:
            The module, a program for a simulator.

        Raises:
            SrTvmError: The decisions are not right.
        """
        decisions = self.lowering.from_json(candidate["decisions"], "a candidate")
        place = Path(tempfile.mkdtemp(dir=folder, prefix="program-"))
        decided = {kind: (self.lowering.like(decisions), "") for kind in self.kinds}
        built = self.target.build_integer(self.network, place, decided | {self.kind: (decisions, "a candidate")})
        stages = [i for i, row in enumerate(built.kernels) if row.get("kind") == self.kind]
        measured_stages.write(place, stages, self.weight)
        library = place / built.library
        device = self.target.capabilities.device
        return Module(key, str(library), sha256(library), library_machine(library), device, self.target.name)
