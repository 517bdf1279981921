"""Milliseconds from packets: an estimate by assumptions, which are data (``clocks.json``) and told with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from sr_tvm.errors import SrTvmError

DEFAULT = "snapdragon-888"
LABEL = "estimated, by packets alone"


@dataclass(frozen=True)
class Assumption:
    """A number that nobody measured here, the least and the largest that it may be, and where it is from."""

    value: float
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Dsp:
    """A DSP by its name: its clock, contexts, clocks for a packet of a context, and what contexts gain together."""

    name: str
    what: str
    clock_hz: Assumption
    contexts: Assumption
    cycles_per_packet: Assumption
    scaling: Assumption

    def ms(self, packets: float) -> float:
        """Estimate the time that packets take, by the assumed values alone.

        Args:
            packets: Instruction packets of all the work, as the simulator counts them.

        Returns:
            Milliseconds, with the rows shared by all contexts.
        """
        return 1e3 * packets * self.cycles_per_packet.value / (self.clock_hz.value * self.scaling.value)

    def estimate(self, packets: float) -> dict[str, Any]:
        """Estimate the time that packets take, and say by what assumptions.

        Args:
            packets: Instruction packets of all the work, as the simulator counts them.

        Returns:
            JSON: "ms", the least and the most that the assumptions allow ("low_ms", "high_ms"), the DSP, a label that
            calls it estimated, and how it was done, in words.
        """
        clock, cycles, scaling = self.clock_hz, self.cycles_per_packet, self.scaling
        return {
            "label": LABEL,
            "dsp": self.name,
            "ms": self.ms(packets),
            "low_ms": 1e3 * packets * cycles.low / (clock.high * scaling.high),
            "high_ms": 1e3 * packets * cycles.high / (clock.low * scaling.low),
            "how": (
                f"{clock.value / 1e9:g} GHz, {cycles.value:g} clocks a packet, rows shared by {self.contexts.value:g} "
                f"contexts that are together {scaling.value:g} times as fast as one: all assumed, not measured; no "
                "stalls, caches or memory in it"
            ),
        }


@cache
def _all() -> dict[str, Dsp]:
    rows = json.loads((resources.files(__package__) / "clocks.json").read_text(encoding="utf-8"))["dsps"]
    made = {}
    for name, row in rows.items():
        numbers = {key: Assumption(**value) for key, value in row.items() if key != "what"}
        made[name] = Dsp(name, row["what"], **numbers)
    return made


def names() -> list[str]:
    """List the DSPs that there are assumptions for.

    Returns:
        Their names.
    """
    return list(_all())


def get(name: str = DEFAULT) -> Dsp:
    """Find the DSP of a name.

    Args:
        name: One of :func:`names`.

    Returns:
        The DSP with its assumptions.

    Raises:
        SrTvmError: There is none; the message lists all.
    """
    if name not in _all():
        raise SrTvmError(f"unknown DSP {name!r}; known are {', '.join(names())}")
    return _all()[name]


def in_words(found: dict[str, Any]) -> str:
    """Describe an estimate as a line to print.

    Args:
        found: What :meth:`Dsp.estimate` gave.

    Returns:
        The line, which says that it is estimated, and how.
    """
    span = f"{found['low_ms']:.3g} to {found['high_ms']:.3g} as assumptions go"
    return f"{found['label']}: {found['ms']:.3g} ms on {found['dsp']} ({span}): {found['how']}"
