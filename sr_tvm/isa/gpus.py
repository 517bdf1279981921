"""The GPUs that Mesa compiles for, with the rates that are public: from ``gpus.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from sr_tvm.errors import SrTvmError


@dataclass(frozen=True)
class Gpu:
    """What is known of one GPU.

    Attributes:
        name: What people call it by, such as "adreno-660".
        family: "adreno" or "mali".
        mesa_id: What Mesa's drm-shim takes for it.
        warp: Work-items of a wave where the compiler's statistics don't say.
        stands_for: "" or why another GPU's code is taken for it.
        rates: Published figures, each with its source (see gpus.json); a figure that nobody published is not there.
    """

    name: str
    family: str
    mesa_id: str
    warp: int
    stands_for: str
    rates: dict[str, dict[str, Any]]

    def rate(self, key: str) -> float | None:
        """Find a published figure.

        Args:
            key: Such as "slots_per_second", "half_slots_per_second" or "bytes_per_second".

        Returns:
            The figure, in the unit that the key names; None where nobody published it.
        """
        found = self.rates.get(key)
        return None if found is None else float(found["value"])


@cache
def _all() -> dict[str, Gpu]:
    text = (resources.files(__package__) / "gpus.json").read_text(encoding="utf-8")
    rows = json.loads(text)["gpus"]
    made = {}
    for name, row in rows.items():
        rates = row.get("rates", {})
        made[name] = Gpu(name, row["family"], row["mesa_id"], row["warp"], row.get("stands_for", ""), rates)
    return made


def names() -> list[str]:
    """List the GPUs that code can be compiled for.

    Returns:
        Names such as "adreno-660", in the order of ``gpus.json``.
    """
    return list(_all())


def get(name: str) -> Gpu:
    """Find a GPU.

    Args:
        name: Such as "adreno-660".

    Returns:
        What is known of it.

    Raises:
        SrTvmError: There is none of that name; the message lists all.
    """
    if name not in _all():
        raise SrTvmError(f"unknown GPU {name!r}; Mesa's compilers know {', '.join(names())}")
    return _all()[name]
