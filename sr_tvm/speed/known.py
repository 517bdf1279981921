"""Speed models by name: those that are shipped, surrogates of phones, and files."""

from __future__ import annotations

from pathlib import Path

from sr_tvm import shipped
from sr_tvm.errors import SrTvmError
from sr_tvm.speed.model import SURROGATE, SpeedModel


def folder() -> Path:
    """Find where the shipped speed models lie.

    Returns:
        The folder.
    """
    return shipped.models() / "speed"


def names() -> list[str]:
    """List the shipped speed models.

    Returns:
        Their names, sorted.
    """
    return sorted(path.stem for path in folder().glob("*.json"))


def find(name_or_path: str) -> SpeedModel:
    """Read a shipped speed model by its name, or any by the path of its .json file.

    The shipped ones are all surrogates (``source`` is "stand-in"): fitted to latencies that others' models predicted
    for single blocks. Say so where their numbers are shown; :func:`caution` has the words.

    Args:
        name_or_path: One of :func:`names`, or the path of a file.

    Returns:
        The model.

    Raises:
        SrTvmError: No such name, with those there are; or the file is missing or no speed model.
    """
    if Path(name_or_path).suffix == ".json" or Path(name_or_path).is_file():
        return SpeedModel.load(name_or_path)
    if name_or_path not in names():
        raise SrTvmError(
            f"no speed model of a device {name_or_path!r}; known are {', '.join(names())}, or name a .json file "
            "from 'sr-tvm speed fit'"
        )
    return SpeedModel.load(folder() / f"{name_or_path}.json")


def caution(model: SpeedModel) -> str | None:
    """Say what should be told beside a prediction: that its model is a surrogate, and what it does not count.

    Args:
        model: The model that predicts.

    Returns:
        Words for people; None where there is nothing to be said.
    """
    parts = []
    if model.source == SURROGATE:
        parts.append("a surrogate: fitted to latencies that another model predicted for single blocks, not measured")
    if not model.ends:
        parts.append("counts the blocks only, not head, tail and skip")
    return "; ".join(parts) or None
