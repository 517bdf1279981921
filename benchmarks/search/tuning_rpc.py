"""Tuning over RPC: a region's candidates on one, two and four servers of this machine, real times and recorded ones.

Servers of one machine share its cores, so real wall times say little of phones. So the same search is done once more
with its candidates built beforehand and its times taken from the recording, each told after a second's sleep: every
candidate is still uploaded to a server, run there and compared. Writes benchmarks/results/tuning_rpc.json.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import common, options
from sr_tvm.errors import SrTvmError
from sr_tvm.system.files import check_writable

NAME, KEY, MODEL = "tuning_rpc", "box", "wdsr_x2_37k.onnx"
SERVERS = (1, 2, 4)
REAL, SLEEPING = "real", "sleeping"
METHOD = {
    "region": "the whole of the shipped 3x24, input 1x3x90x160, default space and settings, 16 children a generation",
    "wall_s": "of the search, from its first build or call on; its sessions are open already",
    REAL: "built and measured",
    SLEEPING: "built beforehand; uploaded, run, compared on the server; the time is the recorded one, after a sleep",
    "lost": "candidates asked for and not in the history, and those whose session was lost, over all rows",
    "same_best": "the decisions of the record that each sleeping search leaves are equal",
}


# In the error of a candidate that took its session, or its builder, along.
LOST = ("session lost", "crashed", "did not finish")


def search(folder: Path, bench: Any, task: Any, trials: int, seed: int) -> dict[str, Any]:
    """One search on a bench; a row without what was asked."""
    from sr_tvm.records.region_decisions import RegionRecords
    from sr_tvm.tuning.options import TuneOptions
    from sr_tvm.tuning.tune import tune

    bench.open()
    start = time.monotonic()
    how = TuneOptions(trials, seed, per_generation=16)
    result = tune(None, task.target, folder, how, bench=bench, regions=[task])
    wall = time.monotonic() - start
    records = list(RegionRecords.open([folder]).records.values())
    errors = [row["error"] for row in result.history if row["error"]]
    return {
        "wall_s": round(wall, 3),
        "trials": len(result.history),
        "failed": len(errors),
        "lost": trials - len(result.history) + sum(any(word in e for word in LOST) for e in errors),
        "sessions_opened": bench.sessions_opened,
        "default_ms": round(result.before_ms, 4),
        "best_ms": round(result.after_ms, 4),
        "best": records[0].decisions if records else dict(task.default.request["decisions"]),
    }


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rows come to; a missing or failed row makes a ratio 0 and a loss infinite (written as None)."""
    of = {(row["mode"], row["servers"]): row for row in rows if "error" not in row}

    def speedup(mode: str, servers: int) -> float:
        one, many = of.get((mode, 1)), of.get((mode, servers))
        return round(one["wall_s"] / many["wall_s"], 4) if one and many else 0.0

    whole = all((mode, n) in of for mode in (REAL, SLEEPING) for n in SERVERS)
    lost = sum(row["lost"] for row in of.values()) if whole else math.inf
    sleeping = [of.get((SLEEPING, n)) for n in SERVERS]
    best = [json.dumps(row["best"], sort_keys=True) if row else None for row in sleeping]
    return {
        "speedup_4_servers": speedup(SLEEPING, 4),
        "speedup_2_servers": speedup(SLEEPING, 2),
        "real_speedup_4_servers": speedup(REAL, 4),
        "lost": lost if math.isfinite(lost) else None,
        "sessions_opened": {f"{row['mode']}, {row['servers']}": row["sessions_opened"] for row in of.values()},
        "same_best": None not in best and len(set(best)) == 1,
        "failed_rows": [f"{row['mode']}, {row['servers']}" for row in rows if "error" in row],
    }


def the_task() -> Any:
    from sr_tvm import shipped
    from sr_tvm.frontend.onnx_file import load_onnx
    from sr_tvm.frontend.to_relax import import_onnx
    from sr_tvm.targets import registry
    from sr_tvm.tuning.region_task import find_regions

    model = load_onnx(shipped.models() / MODEL)
    _, (task,) = find_regions(import_onnx(model, {"x": (1, 3, 90, 160)}), registry.get("cpu"))
    return task


class Remembering:
    """A builder that only remembers what it was asked for: the candidates of a search that is replayed."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def build(self, task: Any, candidate: Any) -> Any:
        from sr_tvm.build.builder import NoBuilder

        self.asked[candidate.key] = candidate
        return NoBuilder().build(task, candidate)

    def close(self) -> None:
        pass


class Kept:
    """A builder that outlives the benches that use it."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def build(self, task: Any, candidate: Any) -> Any:
        return self.builder.build(task, candidate)

    def close(self) -> None:
        pass


def measure(place: Path, trials: int, seed: int, delay: float, tell: Any) -> list[dict[str, Any]]:
    """All rows: real searches, then the replayed ones."""
    from sr_tvm.build.builder import ChildBuilder
    from sr_tvm.runners.replay import ReplayRunner
    from sr_tvm.runners.rpc import RpcRunner
    from sr_tvm.runners.tracker import start_server, start_tracker
    from sr_tvm.system import machine
    from sr_tvm.tuning.bench import DeviceBench

    task, rows = the_task(), []

    def row(mode: str, servers: int, make: Any) -> None:
        tell(f"{mode}, {servers} server(s)")
        found: dict[str, Any] = {"mode": mode, "servers": servers}
        try:
            with contextlib.ExitStack() as stack:
                tracker = stack.enter_context(start_tracker())
                for _ in range(servers):
                    stack.enter_context(start_server(tracker, KEY))
                bench = stack.enter_context(make(RpcRunner(tracker, KEY)))
                found |= search(place / f"{mode}{servers}", bench, task, trials, seed)
        except SrTvmError as error:
            found["error"] = str(error)
        rows.append(found)

    for servers in SERVERS:
        row(REAL, servers, lambda r, n=servers: DeviceBench(ChildBuilder(min(n, machine.cores())), r))
    recorded = place / f"{REAL}1" / "tuning.json"
    if "error" in rows[0]:
        return rows + [{"mode": SLEEPING, "servers": n, "error": "there is no recording"} for n in SERVERS]
    with ChildBuilder(machine.cores()) as builder:
        dry = Remembering()
        with DeviceBench(dry, ReplayRunner.of_history(recorded, task.default.key)) as bench:
            search(place / "dry", bench, task, trials, seed)
        tell(f"building {len(dry.asked)} candidates")
        for candidate in dry.asked.values():
            with contextlib.suppress(SrTvmError):  # then it fails in the search too, as it did when it was recorded
                builder.build(task, candidate)
        for servers in SERVERS:

            def slow(runner: Any) -> Any:
                replay = ReplayRunner.of_history(recorded, task.default.key, inner=runner, delay=delay)
                return DeviceBench(Kept(builder), replay)

            row(SLEEPING, servers, slow)
    return rows


@click.command()
@click.option("--trials", default=64, show_default=True, type=click.IntRange(2), help="Candidates of each search.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--delay", default=1.0, show_default=True, type=click.FloatRange(0), help="Seconds of the sleep.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/.")
def main(trials: int, seed: int, delay: float, output: Path | None) -> None:
    """Tune one region over 1, 2 and 4 servers of this machine, and rewrite benchmarks/results/tuning_rpc.json.

    \b
    Example:  make bench NAME=tuning_rpc
    """
    from sr_tvm.system.tvm_setup import import_tvm

    path = output or common.RESULTS / f"{NAME}.json"
    check_writable(path)
    import_tvm()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="sr-tvm-tuning-rpc-") as place, console.status("") as status:
        rows = measure(Path(place), trials, seed, delay, status.update)
    how = METHOD | {"trials": trials, "seed": seed, "sleep_s": delay}
    summary = summarize(rows)
    common.write_result(common.result(NAME, how, rows, summary), path)
    for row in rows:
        told = row.get("error") or f"{row['wall_s']:.1f} s, {row['failed']} failed, {row['sessions_opened']} session(s)"
        console.print(f"{row['mode']}, {row['servers']} server(s): {told}")
    console.print(f"{summary}\nwrote {path}")
    if summary["failed_rows"]:
        raise SrTvmError(f"no result of {', '.join(summary['failed_rows'])}; see 'error' in {path}")


if __name__ == "__main__":
    options.run(main)
