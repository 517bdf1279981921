"""Export and import of the four networks against PyTorch. Run with -s to see the figures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sr_tvm.frontend.export import export_onnx
from sr_tvm.frontend.onnx_file import load_onnx, parse_input_shape, resolve_inputs
from sr_tvm.frontend.parity import compare, run_relax
from sr_tvm.frontend.to_relax import import_onnx
from sr_tvm.nets import registry
from sr_tvm.nets.vgg import VGG16


def light_vgg16() -> nn.Module:
    """All of VGG-16's layers, 64 x 64 pixels and 64 hidden units: the full one has 553 MB and 15.5 G multiply-adds."""
    torch.manual_seed(0)
    return VGG16(hidden=64, size=64).eval()


# name -> network, exported at, imported at (another size where the model is symbolic)
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str | None]] = {
    "WDSR 3x24 x2": (lambda: registry.build("wdsr-3x24"), (1, 3, 24, 20), "1x3x17x30"),
    "FSRCNN x2": (lambda: registry.build("fsrcnn"), (1, 1, 24, 20), "1x1x17x30"),
    "CARN-M x2": (lambda: registry.build("carn-m"), (1, 3, 24, 20), "1x3x9x14"),
    "VGG-16, light": (light_vgg16, (1, 3, 64, 64), None),
}


# dynamo, the default of `sr-tvm export`, for the two networks that are quick to export with it.
CASES = [*((name, "torchscript") for name in NETS), ("WDSR 3x24 x2", "dynamo"), ("FSRCNN x2", "dynamo")]


@pytest.mark.parametrize(("name", "exporter"), CASES)
def test_export_and_import_agree_with_pytorch(name: str, exporter: str, tmp_path: Path) -> None:
    make, traced, override = NETS[name]
    net, path = make(), tmp_path / "net.onnx"
    exported = export_onnx(net, path, traced, dynamic=override is not None, exporter=exporter)
    model = load_onnx(path)
    shapes = resolve_inputs(model, parse_input_shape(override) if override else None)
    x = np.random.default_rng(2).random(shapes["x"], np.float32)
    with torch.inference_mode():
        reference = net(torch.from_numpy(x)).numpy()
    (got,) = run_relax(import_onnx(model, shapes), [x])
    imported = compare(name, reference, got)
    for step, found in (("export", exported), ("import", imported)):
        print(f"{name}: {step} max abs error {found.max_abs_err:.2g}, output peak {found.peak:.3g}")  # noqa: T201
    assert exported.ok
    assert imported.ok
