"""The networks that engines are compared on, each prepared once in a folder that all of them read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import irregular
from sr_tvm import shipped

SHIPPED = "wdsr-3x24"
# For one ONNX file through every step of the loop.
NAMES = (SHIPPED, "wdsr-4x16", "fsrcnn", "carn-m", "vgg16")
SCALE = 2


def compared(seed: int = 0) -> tuple[str, ...]:
    """The networks of peers: six WDSR, three of them drawn by ``seed`` as a search gives them, and three others."""
    return ("wdsr-4x16", "wdsr-8x24", "wdsr-16x24", *irregular.names(seed), "fsrcnn", "carn-m", "vgg16")


def is_wdsr(name: str) -> bool:
    return name.startswith("wdsr-")


def weights_file(name: str, scale: int) -> Path | None:
    """The weights that we ship for a network, also by the name of their file; None where it has random ones."""
    stem = f"wdsr_x{scale}_37k" if name == SHIPPED else name
    path = shipped.models() / f"{stem}.safetensors"
    return path if path.is_file() else None


def prepare(
    name: str, folder: Path, size: tuple[int, int], database: Path | None = None, scale: int = SCALE
) -> dict[str, Any]:
    """Write model.onnx (static shape), the input x.npy and PyTorch's output y.npy; gives what model.json says.

    ``size`` is (height, width) of the input. ``macs`` in what it gives are those of one run as direct convolution.

    Raises:
        SrTvmError: unknown network, or its ONNX file is off.
    """
    import torch

    from benchmarks.macs import count
    from sr_tvm.frontend.export import export_onnx

    shape = input_shape(name, size)
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {
        "model": name,
        "scale": scale,
        "shape": list(shape),
        "weights": "shipped" if weights_file(name, scale) else "random",
        "database": str(database.resolve()) if database else None,
    }
    (folder / "model.json").write_text(json.dumps(about))
    network = module(folder)
    x = np.random.default_rng(0).random(shape, np.float32)
    with torch.inference_mode():
        about["macs"], y = count(network, torch.from_numpy(x))
    (folder / "model.json").write_text(json.dumps(about))
    export_onnx(network, folder / "model.onnx", shape, exporter="torchscript")
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y.numpy())
    return about


def module(folder: Path) -> Any:
    """The PyTorch module of a prepared folder, weight norm folded."""
    from sr_tvm.frontend.export import fold_parametrizations
    from sr_tvm.nets import registry, weights

    about = json.loads((folder / "model.json").read_text())
    name, scale = about["model"], about["scale"]
    if path := weights_file(name, scale):
        return weights.load_weights(path)
    if architecture := irregular.architecture(name, scale):
        return fold_parametrizations(irregular.build(architecture))
    return fold_parametrizations(registry.build(name, scale))


def input_shape(name: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(N, C, H, W) that a network takes. Raises SrTvmError where there is none of that name."""
    from sr_tvm.nets import registry

    like_shipped = irregular.architecture(name) or weights_file(name, SCALE)
    return registry.input_shape(SHIPPED if like_shipped else name, *size)
