"""Read an ONNX file that may come from anyone: everything is checked before anything large is allocated."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from sr_tvm.errors import SrTvmError
from sr_tvm.frontend import external_data, local_functions
from sr_tvm.frontend.input_shapes import parse_input_shape, resolve_inputs
from sr_tvm.frontend.operators import KNOWN, MIN_OPSET, QUANTISED, STANDARD_DOMAINS
from sr_tvm.frontend.tensors import check_tensor, type_name
from sr_tvm.system.files import sha256

__all__ = [
    "check",
    "load_onnx",
    "model_sha256",
    "parse",
    "parse_input_shape",
    "resolve_inputs",
    "tensors",
    "whole_sha256",
]
MAX_BYTES = 2**31 - 1
MAX_NODES = 20_000
FRAMING = 32  # bytes, at most, that protobuf adds to a tensor's data: its tag, and longer lengths of what it lies in
# Metadata that load_onnx leaves in a model: the hash of the external data it has read.
EXTERNAL_SHA256 = "sr_tvm.external_data_sha256"


def load_onnx(path: str | Path) -> onnx.ModelProto:
    """Read an ONNX file and check that it is well formed and of operators and types that we compile.

    Local functions are inlined and external data is read in, so the result needs no other file.

    Args:
        path: Of the file, which may come from anyone.

    Returns:
        The model, self-contained in memory.

    Raises:
        SrTvmError: No such file, not ONNX, damaged, over 2 GB, external data outside the model's folder, an operator,
            opset or element type that is not supported; the message names the file and the culprit.
    """
    return check(parse(path)[0], Path(path))


def check(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Check a parsed model and make it self-contained, as :func:`load_onnx` does.

    Args:
        model: What :func:`parse` read; it may be changed.
        path: Of its file, for messages and to find external data.

    Returns:
        The checked model.

    Raises:
        SrTvmError: The model is damaged or not supported; the message names the culprit.
    """
    _check_header(model, path)
    model = local_functions.inline(model, path, MAX_NODES, MAX_BYTES)
    nodes = model.graph.node
    if len(nodes) > MAX_NODES:
        raise SrTvmError(f"{path}: the graph has {len(nodes)} nodes; {MAX_NODES} at most are supported")
    for node in nodes:
        _check_operator(node, path)
    _read_external(model, path)
    if model.graph.sparse_initializer:
        raise SrTvmError(f"{path}: sparse initializers are not supported; export dense weights")
    _run_checker(model, path)
    _check_types(model, path)
    return model


def model_sha256(path: str | Path, model: onnx.ModelProto) -> str:
    """Compute what tells a model from every other: the SHA-256 of its file, and of the external data it refers to.

    Args:
        path: Of the file.
        model: What :func:`load_onnx` gave for it.

    Returns:
        64 hexadecimal digits; for a self-contained file its plain SHA-256.
    """
    return whole_sha256(sha256(path), model)


def whole_sha256(digest: str, model: onnx.ModelProto) -> str:
    """Compute the :func:`model_sha256` of a file whose own SHA-256 is known.

    Args:
        digest: SHA-256 of the file itself, in hexadecimal digits.
        model: What :func:`load_onnx` gave for it.

    Returns:
        ``digest`` itself where the file refers to no external data.
    """
    for entry in model.metadata_props:
        if entry.key == EXTERNAL_SHA256:
            digest = hashlib.sha256(f"{digest} {entry.value}".encode()).hexdigest()
    return digest


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """List every tensor that a model holds: initializers, and constants in attributes.

    Args:
        model: Of any origin.

    Yields:
        The tensors themselves, not copies.
    """
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def parse(path: str | Path) -> tuple[onnx.ModelProto, str]:
    """Read what an ONNX file holds, unchecked.

    Args:
        path: Of the file, which may come from anyone.

    Returns:
        The model, and the file's SHA-256 in hexadecimal digits.

    Raises:
        SrTvmError: No such file, not ONNX, damaged, or over 2 GB.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise SrTvmError(f"{path}: is a folder; name the ONNX file in it")
        size = os.stat(path).st_size
        if size == 0:
            raise SrTvmError(f"{path}: is empty; an ONNX file was expected")
        if size > MAX_BYTES:
            raise SrTvmError(f"{path}: {size / 1e9:.1f} GB; an ONNX file holds at most 2 GB")
        if not path.is_file():
            raise SrTvmError(f"{path}: is not a plain file; name an ONNX file")
        data = path.read_bytes()
    except FileNotFoundError:
        raise SrTvmError(f"{path}: no such file") from None
    except OSError as error:
        raise SrTvmError(f"{path}: cannot be read: {error.strerror or error}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError):
        raise SrTvmError(f"{path}: not an ONNX file, or a truncated one") from None
    return model, hashlib.sha256(data).hexdigest()


def _check_header(model: onnx.ModelProto, path: Path) -> None:
    if not model.ir_version or not model.HasField("graph"):
        raise SrTvmError(f"{path}: not an ONNX file, or a truncated one (no graph in it)")
    versions = [o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS]
    if not versions:
        raise SrTvmError(f"{path}: not a whole ONNX model (it imports no standard operator set), or a truncated one")
    latest = onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= max(versions) <= latest:
        raise SrTvmError(f"{path}: opset {max(versions)}; opset {MIN_OPSET} to {latest} is supported")
    if not model.graph.node:
        raise SrTvmError(f"{path}: the graph has no nodes; there is nothing to compile")
    if not model.graph.output:
        raise SrTvmError(f"{path}: the graph has no output")


def _read_external(model: onnx.ModelProto, path: Path) -> None:
    """Check every tensor, then read in those that lie in other files, and leave the hash of what was read.

    Raises:
        SrTvmError: With its external data the model is too large.
    """
    own = [entry for entry in model.metadata_props if entry.key != EXTERNAL_SHA256]  # a file's own claim is no hash
    del model.metadata_props[:]
    model.metadata_props.extend(own)
    sizes = [(tensor, check_tensor(tensor, path)) for tensor in tensors(model)]
    outside = [(tensor, size) for tensor, size in sizes if external_data.is_external(tensor)]
    if not outside:
        return
    # Several tensors may name the same bytes: what counts is what they come to in memory.
    whole = model.ByteSize() + sum(size + FRAMING for _, size in outside)
    if whole > MAX_BYTES:
        raise SrTvmError(f"{path}: {whole / 1e9:.1f} GB with its external data; at most 2 GB is supported")
    digest = hashlib.sha256()
    for tensor, _ in outside:
        external_data.read_into(tensor, path)
        digest.update(tensor.raw_data)
    model.metadata_props.add(key=EXTERNAL_SHA256, value=digest.hexdigest())


def _check_operator(node: onnx.NodeProto, path: Path) -> None:
    where = f"{path}: operator {node.op_type} (node {node.name or '->' + ','.join(node.output)!r})"
    if node.domain not in STANDARD_DOMAINS:
        raise SrTvmError(f"{where} is of domain {node.domain!r}; only standard ONNX operators are supported")
    if node.op_type in QUANTISED:
        raise SrTvmError(f"{where}: quantised models are not supported; give the float32 model")
    if node.op_type not in KNOWN:
        raise SrTvmError(f"{where} is not supported; see docs/onnx_import.md for those that are")


def _run_checker(model: onnx.ModelProto, path: Path) -> None:
    # The checker wants a shape on every input and output, which engines do not, and we neither.
    bare = [v.type.tensor_type for v in (*model.graph.input, *model.graph.output) if v.type.HasField("tensor_type")]
    bare = [t for t in bare if not t.HasField("shape")]
    for tensor_type in bare:
        tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise SrTvmError(f"{path}: not a valid ONNX model: {one_line(error)}") from None
    for tensor_type in bare:
        tensor_type.ClearField("shape")


def _check_types(model: onnx.ModelProto, path: Path) -> None:
    constants = {t.name for t in model.graph.initializer}
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            if value.name in constants:
                continue
            if not value.type.HasField("tensor_type"):
                raise SrTvmError(f"{path}: {kind} {value.name!r} is not a tensor; only float32 tensors are supported")
            element = value.type.tensor_type.elem_type
            if element != onnx.TensorProto.FLOAT:
                raise SrTvmError(f"{path}: {kind} {value.name!r} is {type_name(element)}; only float32 is supported")


def one_line(error: BaseException, limit: int = 240) -> str:
    """Shorten a library's many-line message to its gist.

    Args:
        error: With the message.
        limit: Most characters to keep.

    Returns:
        One line.
    """
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
