"""PyTorch to ONNX: one self-contained file, weight norm folded, compared with PyTorch before it takes its name."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.utils import parametrize

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.parity import Parity, compare
from sr_tvm.records.architecture import Architecture
from sr_tvm.system.files import atomic_file

EXPORTERS = ("dynamo", "torchscript")
MAX_BYTES = 1_900_000_000
DYNAMIC_AXES = ("height", "width")


def fold_parametrizations(module: nn.Module) -> nn.Module:
    """Copy a module with its parametrized weights (weight norm) as plain parameters.

    Args:
        module: Stays as it is.

    Returns:
        The copy, in eval mode, without gradients.
    """
    folded = copy.deepcopy(module).eval().requires_grad_(False)
    for part in folded.modules():
        if parametrize.is_parametrized(part):
            values = {name: getattr(part, name).detach().clone() for name in part.parametrizations}  # type: ignore[union-attr]
            # remove_parametrizations deletes the property from the class, which a deep copy shares with its original.
            part.__class__ = type(part).__bases__[0]
            del part.parametrizations
            for name, value in values.items():
                part.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return folded


def export_onnx(
    module: nn.Module,
    path: str | Path,
    input_shape: tuple[int, ...],
    dynamic: bool = False,
    exporter: str = "dynamo",
    opset: int | None = None,
    input_name: str = "x",
    output_name: str = "y",
) -> Parity:
    """Write a PyTorch module as one self-contained ONNX file that is compared with it first.

    Args:
        module: Takes one float32 tensor (N, C, H, W) and returns one. Where it has an ``architecture``, that goes into
            the file's metadata.
        path: The file; it takes this name only when the comparison has passed.
        input_shape: (N, C, H, W) of the example that is exported and compared.
        dynamic: Make H and W the symbols "height" and "width", so that the file is for every size.
        exporter: "dynamo" (torch.export) or "torchscript" (tracing, the older one).
        opset: Version of ONNX's operator set; None for the exporter's default.
        input_name: Of the input in the file.
        output_name: Of the output in the file.

    Returns:
        How far the file's outputs are from PyTorch's, at worst.

    Raises:
        SrTvmError: The exporter fails, the model is over 1.9 GB, or the outputs differ by more than 1e-5 of
            max(1, peak).
    """
    if exporter not in EXPORTERS:
        raise SrTvmError(f"unknown exporter {exporter!r}; {' or '.join(EXPORTERS)} is allowed")
    plain = fold_parametrizations(module)
    size = sum(t.numel() * t.element_size() for t in plain.state_dict().values())
    if size > MAX_BYTES:
        raise SrTvmError(f"{path}: the weights are {size / 1e9:.1f} GB; one ONNX file holds at most 1.9 GB")
    example = torch.rand(input_shape, generator=torch.Generator().manual_seed(0))
    model = _run_exporter(plain, example, dynamic, exporter, opset, input_name, output_name)
    if dynamic:
        _name_axes(model)
    strip_notes(model)
    architecture = getattr(module, "architecture", None)
    if isinstance(architecture, Architecture):
        onnx.helper.set_model_props(model, {"sr_tvm.architecture": json.dumps(architecture.to_json())})
    with atomic_file(path) as partial:
        partial.write_bytes(model.SerializeToString())
        del model
        return _check(plain, partial, input_shape, dynamic, Path(path).name).require()


def _run_exporter(
    module: nn.Module, x: torch.Tensor, dynamic: bool, exporter: str, opset: int | None, input_name: str, output: str
) -> onnx.ModelProto:
    names: dict[str, Any] = {"input_names": [input_name], "output_names": [output], "opset_version": opset}
    try:
        with _silence():
            if exporter == "dynamo":
                axes = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},) if dynamic else None
                program = torch.onnx.export(module, (x,), dynamo=True, dynamic_shapes=axes, verbose=False, **names)
                assert program is not None
                return program.model_proto
            named = dict(zip((2, 3), DYNAMIC_AXES, strict=True))
            buffer: Any = io.BytesIO()
            torch.onnx.export(
                module, (x,), buffer, dynamo=False, dynamic_axes={input_name: named} if dynamic else None, **names
            )
            return onnx.load_model_from_string(buffer.getvalue())
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise SrTvmError(f"PyTorch's {exporter} exporter failed ({type(error).__name__}): {reason}") from error


@contextlib.contextmanager
def _silence() -> Any:
    """Yield with progress on stdout and warnings suppressed: the exporters write many about their own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _name_axes(model: onnx.ModelProto) -> None:
    """Call the symbolic axes of the input height and width; what derives from them stays unnamed."""
    for axis, name in zip((2, 3), DYNAMIC_AXES, strict=True):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    for value in model.graph.output:
        for i, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_param"):
                dim.dim_param = f"{value.name}_{('batch', 'channels', *DYNAMIC_AXES)[i] if i < 4 else i}"


def strip_notes(model: onnx.ModelProto) -> None:
    """Remove what exporters note beside the network: the source files and lines, by path, that made each node.

    Args:
        model: Changed in place.
    """
    graph = model.graph
    function_nodes = (node for function in model.functions for node in function.node)
    noted = (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info, *model.functions)
    for part in (model, *noted, *function_nodes):
        del part.metadata_props[:]
        part.ClearField("doc_string")


def _check(module: nn.Module, path: Path, shape: tuple[int, ...], dynamic: bool, name: str) -> Parity:
    run = _runner(path)
    worst: Parity | None = None
    sizes = [shape] + [(*shape[:2], shape[2] + 3, shape[3] + 2)] * dynamic
    for size in sizes:
        for x in _pictures(size):
            with torch.inference_mode():
                reference = module(torch.from_numpy(x)).numpy()
            found = compare(f"{name} against PyTorch", reference, run(x))
            if worst is None or not found.ok or (worst.ok and found.max_abs_err > worst.max_abs_err):
                worst = found
    assert worst is not None
    return worst


def _pictures(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return noise, black, white and a checkerboard: flat areas and hard edges at the borders."""
    board = np.indices(shape[-2:]).sum(0) % 2
    return [
        np.random.default_rng(1).random(shape, np.float32),
        np.zeros(shape, np.float32),
        np.ones(shape, np.float32),
        np.broadcast_to(board, shape).astype(np.float32),
    ]


def _runner(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        session: Any = ReferenceEvaluator(str(path))
        name = session.input_names[0]
    else:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]
