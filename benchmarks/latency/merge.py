"""Rows of a new run beside those of an earlier one, where both can stand in one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import irregular


def earlier(path: Path, value: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The result at ``path`` if rows of ``value`` may be added to it, else None and why not.

    Machine, versions of what both used, input and database must be equal. No file at all gives (None, None).
    """
    try:
        old = json.loads(path.read_text())
        if not (old["name"] == value["name"] and all(r["date"] for r in old["rows"])):
            return None, "it is of another kind"
        for part in ("machine", "versions"):
            for key in old[part].keys() & value[part].keys():
                if old[part][key] != value[part][key]:
                    return None, f"its {part} differ ({key}: {old[part][key]}, now {value[part][key]})"
        for key in ("input", "database"):
            if old["method"][key] != value["method"][key]:
                return None, f"its {key} was {old['method'][key]}"
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, "it is not a result of today's form"
    return old, None


def rows(
    old: list[dict[str, Any]], new: list[dict[str, Any]], order: tuple[str, ...], seed: int
) -> list[dict[str, Any]]:
    """``old`` and ``new``, by network in ``order`` and number of threads.

    A network's rows of one number of threads come from one run: new ones replace all of them, of other engines too.
    Networks that another seed drew go.
    """
    fresh = {(r["model"], r["threads"]) for r in new}
    kept = [r for r in old if (r["model"], r["threads"]) not in fresh and irregular.seed_of(r["model"]) in (None, seed)]
    place = {name: i for i, name in enumerate(order)}
    return sorted(kept + new, key=lambda r: (place.get(r["model"], len(order)), r["model"], r["threads"]))


def by_model(old: list[dict[str, Any]], new: list[dict[str, Any]], models: set[str]) -> list[dict[str, Any]]:
    """The same for rows that have one run for each network: of ``models``, the networks that are kept."""
    fresh = {r["model"] for r in new}
    return [r for r in old if r["model"] not in fresh and r["model"] in models] + new
