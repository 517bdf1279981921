"""One cell of a table: all engines on one network with one number of threads, interleaved."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.engines import OURS
from benchmarks.engines.peak import Peak
from benchmarks.engines.process import EngineProcess
from sr_tvm.errors import SrTvmError

# Of max(1, peak of the output). ``ok`` is what ours must reach. A peer may be further off and still counts: Winograd's
# algorithm alone costs up to 1e-4 in MNN; half precision or a wrong result costs more than the second bound.
EXACT, TOLERANCE = 1e-5, 5e-4

Note = Callable[[str | None, int], None]
"""Takes what is being done, or None, and how many runs were made since the last call."""


def silent(what: str | None, runs: int) -> None:
    """A note that nobody reads."""


def measure(
    folder: Path,
    about: dict[str, Any],
    engines: Sequence[str],
    threads: int,
    rounds: common.Rounds,
    note: Note = silent,
    peak: Peak | None = None,
) -> list[dict[str, Any]]:
    """One row for every engine, timed with ``threads``; an engine that fails or is off has a row that says so.

    ``about`` is what :func:`benchmarks.models.prepare` gave for ``folder``. With ``peak``, its bursts are timed in the
    same rounds, and rows carry the GFLOPS of the peak and of the network, as direct convolution.
    """
    rows: dict[str, dict[str, Any]] = {}
    where = f"{about['model']}, {threads} thread{'s' * (threads > 1)}"
    with contextlib.ExitStack() as stack:
        ready: list[common.Timed] = []
        for name in engines:
            note(f"{where}: starting {name}", 0)
            row: dict[str, Any] = {"model": about["model"], "engine": name, "threads": threads, "date": common.now()}
            row |= {"ms": None, "ms_low": None, "ms_high": None, "rounds": 0, "macs": about["macs"]}
            row |= {"max_abs_err": None, "ok": False}
            rows[name] = row
            process = stack.enter_context(EngineProcess(name, folder, threads))
            try:
                judge(row, EXACT if name == OURS else TOLERANCE, **process.ready())
                ready.append(process)
            except SrTvmError as error:
                row["error"] = str(error)
                process.close()
        note(f"{where}: measuring", 0)
        timed = [*ready, peak] if peak and ready else ready
        samples, errors = common.interleave(timed, rounds, lambda: note(None, 1)) if ready else ({}, {})
    best = peak.gflops(common.timing(samples[peak.name])["ms"]) if peak and ready else None
    for name, values in samples.items():
        if name in errors:
            rows[name] |= {"error": errors[name], "ok": False}
        elif name in rows:
            rows[name] |= common.timing(values) | {"rounds": len(values)}
            if best:
                rows[name] |= share(rows[name]["ms"], about["macs"], best)
    return list(rows.values())


def judge(row: dict[str, Any], bound: float, max_abs_err: float, peak: float) -> None:
    """Note in ``row`` how far the output is from PyTorch's; beyond ``bound`` of its peak, that is an error."""
    worst = max(1.0, peak)
    row |= {"max_abs_err": max_abs_err, "ok": max_abs_err <= EXACT * worst}
    if max_abs_err > bound * worst:
        row["error"] = f"off by {max_abs_err:.3g} at a peak of {peak:.3g}"


def share(ms: float, macs: int, peak: float) -> dict[str, float]:
    """The GFLOPS of a run of ``ms``, of the ``peak`` measured beside it, and the ratio of the two."""
    gflops = 2 * macs / ms / 1e6
    return {"gflops": round(gflops, 2), "peak_gflops": round(peak, 2), "peak_fraction": round(gflops / peak, 4)}
