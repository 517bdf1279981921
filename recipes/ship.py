"""From the work folder to models/: weights, architecture and ONNX of what is shipped, the history of everything."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.system import files
from sr_tvm.training.settings import WeightsFile

SCHEMA, VERSION = "sr-tvm/model-history", 1
SUPERNET, SEARCHED, PLAIN, SCALED = "supernet", "searched", "plain", "scaled"
HISTORY, ONNX = "history", "model.onnx"
EXPORT = ("--dynamic", "--exporter", "torchscript", "--opset", "17")


@dataclass(frozen=True)
class About:
    """What a model is.

    Attributes:
        name: The name of its files.
        role: One of "supernet", "searched", "plain" and "scaled".
        scale: Factor of the enlargement.
        device: The speed model whose budget it was made for; None for none.
        budget: In ms by that model; None for none.
    """

    name: str
    role: str
    scale: int
    device: str | None = None
    budget: float | None = None


def ship(
    about: About, work: Path, models: Path, weights: bool = False, old: dict[str, Any] | None = None
) -> None:
    """Write models/history/NAME.json, and if wanted the model itself; what is there already stays untouched.

    Args:
        about: What the model is.
        work: Folder with the results of its training, in work/NAME.
        models: Folder that they are put into.
        weights: Whether weights, architecture and ONNX go along.
        old: The history of what the training began as, which came before it; None where it began as nothing that ships.

    Raises:
        SrTvmError: A result is missing or damaged, or a place cannot be written.
    """
    folder = work / about.name
    value = history(about, folder, old)
    if weights:
        for source, end in (("weights.safetensors", "safetensors"), ("architecture.json", "json"), (ONNX, "onnx")):
            _copy(folder / source, models / f"{about.name}.{end}")
    path = models / HISTORY / f"{about.name}.json"
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with files.atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8")


def history(about: About, folder: Path, old: dict[str, Any] | None = None) -> dict[str, Any]:
    """Put together how a model came about, and which weights are meant.

    Of a search the widths along the way are left out.

    Args:
        about: What the model is.
        folder: With the results of its training, and of its search in search/.
        old: The history of what the training began as: the search is its, and its training is the last of those
            ``before``.

    Returns:
        The JSON object of models/history/NAME.json.

    Raises:
        SrTvmError: A result is missing or damaged.
    """
    from sr_tvm.search import loop as search_loop
    from sr_tvm.training import loop

    training = files.read_json(folder / "history.json", loop.HISTORY_SCHEMA, loop.HISTORY_VERSION)
    search = old["search"] if old else None
    if about.role == SEARCHED and not old:
        path = folder / "search" / "history.json"
        search = files.read_json(path, search_loop.HISTORY_SCHEMA, search_loop.HISTORY_VERSION)
        rows = [{k: v for k, v in row.items() if k != "blocks"} | {"depth": len(row["blocks"])}
                for row in search["rows"]]  # fmt: skip
        search = {"run": search["run"], "result": search["result"], "rows": rows}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        **asdict(about),
        "params": Architecture.load(folder / "architecture.json").params,
        "weights": digest(folder / "weights.safetensors"),
        "search": search,
        "training": {"run": training["run"], "rows": training["rows"]},
    } | _spent(folder / loop.SPENT) | (_before(old) if old else {})


def _before(old: dict[str, Any]) -> dict[str, Any]:
    """Return the trainings that came before, the first one first, each with the weights that it ended with."""
    last = {key: old[key] for key in ("weights", "training", "spent") if key in old}
    return {"before": [*old.get("before", []), last]}


def _spent(path: Path) -> dict[str, Any]:
    """Return the pictures and the time that a training took, where it was told; older ones did not.

    Raises:
        SrTvmError: The file is damaged.
    """
    try:
        return {"spent": json.loads(path.read_text(encoding="utf-8"))}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SrTvmError(f"{path}: damaged ({error}); it may be removed") from None


def read(models: Path) -> list[dict[str, Any]]:
    """Read the histories in models/history, by name.

    Args:
        models: The folder with history/ in it.

    Returns:
        Their JSON objects, in order of name.

    Raises:
        SrTvmError: One is damaged.
    """
    return [files.read_json(path, SCHEMA, VERSION) for path in sorted((models / HISTORY).glob("*.json"))]


def digest(path: Path) -> str:
    """Hash a weights file, to tell whether it is the one that is meant.

    Args:
        path: The file.

    Returns:
        The first 16 hex digits of its SHA-256, which histories and records name it by.

    Raises:
        SrTvmError: The file cannot be read.
    """
    return WeightsFile.of(path).digest


def _copy(source: Path, path: Path) -> None:
    if not source.is_file():
        raise SrTvmError(f"{source}: no such file; made anew after  rm {source.parent / 'history.json'}")
    if path.is_file() and path.read_bytes() == source.read_bytes():
        return
    with files.atomic_file(path) as partial:
        shutil.copyfile(source, partial)
