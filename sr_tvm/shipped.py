"""The data that come with the library, as folders: networks, speed models and tuning records. Files, and no code."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent


def models() -> Path:
    """Give the folder of the shipped networks, with speed models in ``speed`` and integer networks in ``int8``.

    Returns:
        The folder.
    """
    return _folder("models")


def tuning_logs() -> Path:
    """Give the folder of the shipped tuning records: in it one for each target, in that one for each network.

    Returns:
        The folder.
    """
    return _folder("tuning_logs")


def _folder(name: str) -> Path:
    """Return the folder beside this file, by a link in a checkout; where a zip lost the link, what it leads to."""
    place = HERE / name
    return place if place.is_dir() else HERE.parent / name
