"""Ours: the artifact for this machine's processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import Loaded
from sr_tvm.artifact import MANIFEST, Artifact


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    from sr_tvm.compiler import compile_model
    from sr_tvm.tvm_setup import import_tvm

    tvm = import_tvm()
    from sr_tvm.devices import threads as pools
    from sr_tvm.devices import vm

    if (folder / "artifact" / MANIFEST).is_file():
        artifact = Artifact.load(folder / "artifact")
    else:
        database = json.loads((folder / "model.json").read_text())["database"]
        artifact = compile_model(folder / "model.onnx", "cpu", folder / "artifact", database_dir=database)
    got = pools.start_pool(threads)
    if got != threads:
        raise RuntimeError(f"{threads} threads were asked for; TVM uses {got}")
    machine = vm.load(artifact.library_path)
    vm.set_inputs(machine, [x], tvm.cpu(0))

    def call() -> Any:
        machine.invoke_stateful(vm.FUNCTION)

    return Loaded(call, lambda _: vm.outputs(machine)[0])
