"""The networks that engines are compared on, each prepared once in a folder that all of them read."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

SHIPPED = "wdsr-3x24"
WEIGHTS = "wdsr_x2_37k.safetensors"
NAMES = (SHIPPED, "wdsr-4x16", "fsrcnn", "carn-m", "vgg16")
SCALE = 2


def prepare(name: str, folder: Path, size: tuple[int, int], database: Path | None = None) -> dict[str, Any]:
    """Write model.onnx (static shape), the input x.npy and PyTorch's output y.npy; gives what model.json says.

    Raises:
        SrTvmError: unknown network, or its ONNX file is off.
    """
    import torch

    from sr_tvm.frontend.export import export_onnx, fold_parametrizations
    from sr_tvm.nets import registry

    shape = registry.input_shape(name, *size)
    folder.mkdir(parents=True, exist_ok=True)
    shipped = name == SHIPPED and _weights().is_file()
    about = {
        "model": name,
        "shape": list(shape),
        "weights": "shipped" if shipped else "random",
        "database": str(database.resolve()) if database else None,
    }
    (folder / "model.json").write_text(json.dumps(about))
    network = fold_parametrizations(module(folder))
    x = np.random.default_rng(0).random(shape, np.float32)
    with torch.inference_mode():
        y = network(torch.from_numpy(x)).numpy()
    export_onnx(network, folder / "model.onnx", shape, exporter="torchscript")
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return about


def module(folder: Path) -> Any:
    """The PyTorch module of a prepared folder, weight norm folded."""
    from sr_tvm.frontend.export import fold_parametrizations
    from sr_tvm.nets import registry, weights

    about = json.loads((folder / "model.json").read_text())
    if about["weights"] == "shipped":
        return weights.load_weights(_weights())
    return fold_parametrizations(registry.build(about["model"], SCALE))


def _weights() -> Path:
    return Path(str(resources.files("sr_tvm.models") / WEIGHTS))
