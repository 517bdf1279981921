"""Machine code of many networks' kernels, each different one compiled once, and a recording of it.

Stock kernels and ours come to hundreds, and Mesa takes seconds for each. A recording keeps the counts by what was
compiled: the kernel's text with its own names taken out, what is known of its launch, GPU and version of Mesa. A kernel
that is not in it is measured, and so is a seeded share of those that are: they must come out as they were recorded.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.isa.count import Count, count_sources
from sr_tvm.isa.device_code import DeviceCode
from sr_tvm.isa.launch import Launch
from sr_tvm.isa.machine import Statistics
from sr_tvm.isa.network import NetworkCount
from sr_tvm.system import files

SCHEMA, VERSION = "sr-tvm/kernel-counts", 1
BATCH = 16  # kernels of one run of the compiler
_NAME = "k"
_STATISTICS = ("registers", "max_waves", "spills", "fills", "wave")
_NUMBERS = ("slots", "half_slots", "macs", "items", "lanes", "footprint")


@dataclass(frozen=True)
class Program:
    """One kernel as a program of its own, its names replaced by plain ones."""

    text: str
    launch: Launch

    def key(self, gpu: str, mesa: str) -> str:
        """The same for equal kernels of different networks."""
        whole = [mesa, gpu, self.text, json.dumps(self.launch.to_json(), sort_keys=True)]
        return hashlib.sha256("\0".join(whole).encode()).hexdigest()[:24]


def programs(code: DeviceCode) -> dict[str, Program]:
    """The kernels that a network calls, by name."""
    sections = {}
    for part in re.split(r"^(?=// Function: )", code.text, flags=re.M)[1:]:
        name = part.partition("\n")[0].removeprefix("// Function: ").strip()
        lines = [line for line in part.splitlines()[1:] if not re.match(r"__kernel .*;$", line)]
        sections[name] = "\n".join(lines) + "\n"
    found = {}
    for launch in code.launches:
        if launch.name in code.calls:
            if launch.name not in sections:
                raise SrTvmError(f"the OpenCL C has no part for kernel {launch.name}")
            text = re.sub(rf"\b{re.escape(launch.name)}\b", _NAME, sections[launch.name])
            found[launch.name] = Program(_renamed(text), replace(launch, name=_NAME))
    return found


def _renamed(text: str) -> str:
    """Number the names that end in _ptr, all that TVM makes of a network's values, by their order."""
    names: dict[str, str] = {}
    return re.sub(r"\b\w+_ptr\b", lambda m: names.setdefault(m[0], f"p{len(names)}_ptr"), text)


class Recording:
    """Counts by key, in a file of a line each. A file that is not there is an empty one.

    Raises:
        SrTvmError: the file is none of these.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: dict[str, Any] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        if path.is_file():
            value = files.read_json(path, SCHEMA, VERSION)
            self.about, self.rows = value["about"], value["kernels"]

    def save(self, about: Mapping[str, Any], keys: Iterable[str] | None = None) -> None:
        """Write those of ``keys``, or all."""
        wanted = set(self.rows if keys is None else keys)
        rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(self.rows.items()) if k in wanted)
        head = json.dumps({"schema": SCHEMA, "version": VERSION, "about": about}, indent=1)[:-2]
        with files.atomic_file(self.path) as partial:
            partial.write_text(f'{head},\n"kernels": {{\n{rows}\n}}}}\n', encoding="utf-8")


def to_row(count: Count, seconds: float) -> dict[str, Any]:
    """What a recording keeps of a count."""
    row = {name: round(float(getattr(count, name)), 3) for name in _NUMBERS}
    row |= {name: getattr(count.statistics, name) for name in _STATISTICS}
    return row | {"gpu": count.gpu, "mesa": count.mesa, "problem": count.problem, "seconds": round(seconds, 1)}


def from_row(row: Mapping[str, Any], name: str) -> Count:
    """A count of kernel ``name`` as far as it was recorded: the kinds of its instructions were not."""
    numbers = {key: row[key] for key in _NUMBERS} | {key: int(row[key]) for key in ("items", "lanes")}
    statistics = Statistics(**{key: row[key] for key in _STATISTICS})
    kept = {key: row[key] for key in ("gpu", "mesa", "problem")}
    return Count(name, kinds={}, loads={}, stores={}, statistics=statistics, **kept, **numbers)


def differs(row: Mapping[str, Any], again: Mapping[str, Any]) -> str:
    """What came out otherwise the second time; "" if nothing."""
    return ", ".join(f"{k} {again[k]}, recorded {v}" for k, v in row.items() if k != "seconds" and again.get(k) != v)


def measure(
    wanted: Sequence[Program],
    gpu: str,
    mesa: str,
    recording: Recording,
    share: float,
    seed: int,
    note: Callable[[int, int], None],
    record: bool = False,
) -> dict[str, str]:
    """Have counts of all ``wanted`` in ``recording``: what is not there is measured, of the rest a ``share`` again.

    Gives errors by key: a kernel does not build, or came out otherwise than recorded. With ``record`` the latter is no
    error: what was measured again replaces what was recorded. ``note`` gets how many kernels are done, and of how many.
    """
    by_key = {program.key(gpu, mesa): program for program in wanted}
    known = sorted(key for key in by_key if key in recording.rows)
    again = set(random.Random(seed).sample(known, math.ceil(share * len(known))))
    todo = [key for key in by_key if key not in recording.rows or key in again]
    errors: dict[str, str] = {}
    for start in range(0, len(todo), BATCH):
        keys = todo[start : start + BATCH]
        note(start, len(todo))
        # A text of its own is not in the cache of compiled code on this disk: what is measured again is compiled again.
        texts = [f"// {seed} {time.time_ns()}\n" * (k in again) + by_key[k].text for k in keys]
        for key, made in zip(keys, _counts(texts, [by_key[k].launch for k in keys], gpu), strict=True):
            if isinstance(made, str):
                errors[key] = made
            elif record or key not in again:
                recording.rows[key] = made
            elif said := differs(recording.rows[key], made):
                errors[key] = f"measured anew: {said}; record it again (--record)"
    note(len(todo), len(todo))
    return errors


def _counts(texts: Sequence[str], launches: Sequence[Launch], gpu: str) -> list[dict[str, Any] | str]:
    """A row or an error for each; one that does not build is found by compiling one after another."""
    begun = time.monotonic()
    try:
        found = count_sources([(text, [launch]) for text, launch in zip(texts, launches, strict=True)], gpu)
    except SrTvmError as error:
        if len(texts) == 1:
            return [one_line(error)]
        return [one for pair in zip(texts, launches, strict=True) for one in _counts(*([part] for part in pair), gpu)]
    seconds = (time.monotonic() - begun) / len(texts)
    return [to_row(counts[0], seconds) for counts in found]


def network_count(
    code: DeviceCode, gpu: str, mesa: str, macs: int, recording: Recording, errors: Mapping[str, str]
) -> NetworkCount:
    """A network's counts out of a recording.

    Raises:
        SrTvmError: one of its kernels has an error.
    """
    counts = []
    for name, program in programs(code).items():
        key = program.key(gpu, mesa)
        if key in errors:
            raise SrTvmError(f"kernel {name}: {errors[key]}")
        counts.append(from_row(recording.rows[key], name))
    return NetworkCount(gpu, mesa, tuple(counts), dict(Counter(code.calls)), macs)
