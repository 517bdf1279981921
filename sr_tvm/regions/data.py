"""Regions as data: to send one to a worker process, and to find its tuning records. Free of TVM, and without pickle."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.region import Add, Concat, Conv, Node, Pointwise, Region, Result, Source


def region_hash(region: Region) -> str:
    """Hash the structure of a region: its operators, channels, kernel sizes and links, but no weights.

    Args:
        region: Any region, such as one that a tuning record is looked up for.

    Returns:
        16 hexadecimal digits, equal for regions of equal structure in every process.
    """
    text = json.dumps(region.describe(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_data(region: Region) -> dict[str, str]:
    """Write a region as text that can be sent to another process.

    Args:
        region: With its weights.

    Returns:
        The key "structure" has the nodes and results as JSON, "arrays" the weights and parameters as a base64 npz
        archive.
    """
    arrays: dict[str, np.ndarray] = {}

    def keep(*numbers: np.ndarray) -> list[str]:
        names = [f"a{len(arrays) + i}" for i in range(len(numbers))]
        arrays.update(zip(names, numbers, strict=True))
        return names

    rows = []
    for node in region.nodes:
        row: dict[str, Any] = {"kind": type(node).__name__, "name": node.name, "inputs": list(node.inputs)}
        if isinstance(node, Conv):
            row |= {"numbers": keep(node.weight, node.bias), "groups": node.groups}
        elif isinstance(node, Pointwise):
            row |= {"numbers": keep(*node.parameters), "function": node.function}
        rows.append(row | {"channels": node.channels})
    packed = io.BytesIO()
    np.savez(packed, **arrays)  # type: ignore[arg-type]
    results = [[r.value, r.shuffle] for r in region.results]
    structure = json.dumps({"nodes": rows, "results": results})
    return {"structure": structure, "arrays": base64.b64encode(packed.getvalue()).decode()}


def from_data(data: dict[str, str]) -> Region:
    """Read a region that :func:`to_data` wrote.

    Args:
        data: The keys "structure" and "arrays". It may come from anyone: nothing in it is executed.

    Returns:
        An equal region.

    Raises:
        SrTvmError: A key or field is missing, of another type or of an unknown kind, or the archive is damaged.
    """
    try:
        structure = json.loads(data["structure"])
        with np.load(io.BytesIO(base64.b64decode(data["arrays"])), allow_pickle=False) as arrays:
            nodes = tuple(_node(row, [arrays[name] for name in row.get("numbers", ())]) for row in structure["nodes"])
        return Region(nodes, tuple(Result(str(value), int(shuffle)) for value, shuffle in structure["results"]))
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise SrTvmError(f"not the data of a region: {error}") from None


def _node(row: dict[str, Any], numbers: list[np.ndarray]) -> Node:
    name, inputs, channels = row["name"], tuple(row["inputs"]), int(row["channels"])
    match row["kind"]:
        case "Source":
            return Source(name, channels)
        case "Conv":
            return Conv(name, inputs, numbers[0], numbers[1], int(row["groups"]))
        case "Pointwise":
            return Pointwise(name, inputs, row["function"], tuple(numbers), channels)
        case "Add":
            return Add(name, inputs, channels)
        case "Concat":
            return Concat(name, inputs, channels)
    raise ValueError(f"no node is a {row['kind']}")
