"""Weights files: safetensors that carry their own architecture. Data only; nothing in them is ever run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import SCHEMA, VERSION, Architecture
from sr_tvm.system import files

MAX_JSON = 1 << 20  # characters of architecture JSON; 256 blocks need about 10,000


def fold(model: WDSR) -> WDSR:
    """Copy a network with plain convolutions: each weight is g v / |v|, branches added, so the output is the same.

    Args:
        model: With weight norm or without; it stays as it is.

    Returns:
        The copy, in eval mode, on the CPU.
    """
    plain = WDSR(model.architecture, normed=False)
    source = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    with torch.no_grad():
        for name, conv in plain.named_modules():
            if isinstance(conv, nn.Conv2d):
                bias, other = conv.bias, source[name].bias
                assert bias is not None and other is not None
                conv.weight.copy_(source[name].weight)
                bias.copy_(other)
    return plain.eval()


def save_weights(model: WDSR, path: str | Path) -> None:
    """Write a network, folded, as a weights file, atomically.

    Args:
        model: With weight norm or without.
        path: The safetensors file; equal weights make equal files.

    Raises:
        SrTvmError: The place cannot be written, or a weight is not finite.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in fold(model).state_dict().items()}
    _finite(state, str(path))
    metadata = {"format": "pt", "architecture": json.dumps(model.architecture.to_json())}
    write_blob(path, _sorted(save(state, metadata=metadata)))


def write_blob(path: str | Path, blob: bytes) -> None:
    """Write a file atomically.

    Args:
        path: The file, which is replaced where it exists.
        blob: All of its bytes.

    Raises:
        SrTvmError: The place cannot be written, or its disk is full.
    """
    with files.atomic_file(path) as partial:
        partial.write_bytes(blob)


def _sorted(blob: bytes) -> bytes:
    """Return the same file, its header in one order, as equal weights make equal files: safetensors shuffles it."""
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().rstrip()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + blob[8 + length :]


def expected_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """List every key of a weights file and its shape.

    Args:
        architecture: Of the network.

    Returns:
        By key (out, in, k, k) for a weight, (out,) for a bias.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, cin, cout, kernel in architecture.convolutions:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (cout, cin, kernel, kernel), (cout,)
    return shapes


def load_weights(path: str | Path) -> WDSR:
    """Read a weights file into a plain network, of the widths that the file itself tells.

    Args:
        path: The safetensors file, which may come from anyone.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        SrTvmError: The file is missing, cut off, not safetensors, without or with a bad architecture, or its tensors
            are not those of that architecture (name, shape, float32, finite).
    """
    path = Path(path)
    if not path.is_file():
        raise SrTvmError(f"{path}: {'not a file' if path.exists() else 'no such file'}; name a .safetensors file")
    try:
        with safe_open(path, framework="pt") as handle:
            architecture = _architecture(handle.metadata() or {}, str(path))
            # Shapes come from the header: nothing is allocated before they are known to fit the architecture.
            _check_header(handle, expected_shapes(architecture), str(path))
            state = {key: handle.get_tensor(key) for key in expected_shapes(architecture)}
    except (SafetensorError, OSError) as error:
        raise SrTvmError(f"{path}: not a safetensors file, or cut off ({str(error)[:120]})") from None
    _finite(state, str(path))
    model = WDSR(architecture, normed=False)
    model.load_state_dict(state)
    return model.eval()


def _architecture(metadata: dict[str, str], where: str) -> Architecture:
    text = metadata.get("architecture")
    if text is None:
        raise SrTvmError(f'{where}: its metadata has no "architecture"; a file written by sr-tvm train is needed')
    try:
        value: Any = json.loads(text) if len(text) <= MAX_JSON else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA or value.get("version") != VERSION:
        raise SrTvmError(f'{where}: the "architecture" in its metadata is not {SCHEMA} version {VERSION}')
    return Architecture.from_json(value, where)


def _check_header(handle: Any, shapes: dict[str, tuple[int, ...]], where: str) -> None:
    keys = set(handle.keys())
    for word, names in (("lacks", shapes.keys() - keys), ("has the unknown", keys - shapes.keys())):
        if names:
            raise SrTvmError(f"{where}: {word} tensor {min(names)[:80]!r}; its architecture says otherwise")
    for key, shape in shapes.items():
        part = handle.get_slice(key)
        found, kind = tuple(part.get_shape()), part.get_dtype()
        if found != shape or kind != "F32":
            raise SrTvmError(f"{where}: tensor {key!r} is {kind} of {found}; its architecture needs F32 of {shape}")


def _finite(state: dict[str, Tensor], where: str) -> None:
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise SrTvmError(f"{where}: tensor {key!r} holds a value that is not finite")
