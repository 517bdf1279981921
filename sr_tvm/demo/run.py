"""Once round the loop: a trained network to ONNX, Relax, a tuned library, an RPC server, a speed model, a picture.

What a step found goes into summary.json at once, so an interrupted run has its page up to there. Running again
overwrites, except for what took long: tuning goes on from its records, and architectures that were measured under the
same conditions are not measured again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sr_tvm import shipped
from sr_tvm.demo import steps
from sr_tvm.demo.state import DemoRun, Teller
from sr_tvm.errors import SrTvmError
from sr_tvm.report import host, run_folder
from sr_tvm.report.summary import Step, Summary

WEIGHTS = "wdsr_x2_37k.safetensors"
KEY = "this-machine"
TRIALS = 128

# The server runs from the first of the two steps that need it to the end of the second.
BEFORE: tuple[tuple[str, Callable[[DemoRun], None]], ...] = (
    ("A trained network", steps.network),
    ("Export to ONNX", steps.export),
    ("Import to Relax", steps.import_to_relax),
    ("Passes", steps.passes),
    ("Tune with the genetic tuner", steps.tuning),
    ("Build the artifact", steps.build),
)
SERVED = (("Deploy over RPC and measure", steps.deploy), ("Learn: predicted against measured", steps.learn))
AFTER = (
    ("The same network on every target", steps.every_target),
    ("Enlarge a photograph", steps.picture),
    ("Write the report", steps.report),
)


def run(folder: Path, trials: int, seed: int, weights: Path | None, tell: Teller) -> Summary:
    """Take all steps of the demo in order, and write the page, report.html.

    Args:
        folder: Of the run; a new or empty one, or that of an earlier run.
        trials: Candidates that the tuner measures.
        seed: Of the input, the tuner and the small networks.
        weights: Of the network; the shipped ones if None.
        tell: Shows progress.

    Returns:
        What the steps found.

    Raises:
        SrTvmError: A step failed, and the message begins with its title; or the folder is not a run's.
    """
    _check(folder)
    loop = DemoRun(folder, trials, seed, weights or shipped.models() / WEIGHTS, tell)
    loop.note(title="Once round the loop", machine=host.machine(), versions=host.versions(), steps=[], complete=False)
    for title, step in BEFORE:
        _step(loop, title, step)
    with _server(loop):
        for title, step in SERVED:
            _step(loop, title, step)
    for title, step in AFTER[:-1]:
        _step(loop, title, step)
    loop.note(complete=True)
    _step(loop, *AFTER[-1])
    return loop.summary


def _step(loop: DemoRun, title: str, step: Callable[[DemoRun], None]) -> None:
    number, of = len(loop.summary.steps) + 1, len(BEFORE) + len(SERVED) + len(AFTER)
    loop.tell.step(number, of, title)
    start = time.perf_counter()
    try:
        step(loop)
    except SrTvmError as error:
        raise SrTvmError(f"{title}: {error}") from error
    loop.note(steps=[*loop.summary.steps, Step(title, round(time.perf_counter() - start, 2))])


@contextlib.contextmanager
def _server(loop: DemoRun) -> Iterator[None]:
    """Keep a real tracker and a real server on this machine, and a device that speaks to them."""
    from sr_tvm.runners.rpc import RpcRunner
    from sr_tvm.runners.tracker import start_server, start_tracker

    with start_tracker() as tracker, start_server(tracker, KEY) as server:
        with RpcRunner(tracker, KEY, deadline=120.0) as device:
            loop.made.device = device
            loop.tell.say(f"tracker on {tracker}, server on {server.address}, both on this machine")
            yield


def _check(folder: Path) -> None:
    """Refuse a folder that is not a run's, so that it is left alone.

    Raises:
        SrTvmError: It is a file, or a folder with other things in it.
    """
    if folder.exists() and not folder.is_dir():
        raise SrTvmError(f"{folder}: a file of that name is there; name a folder")
    if folder.is_dir() and any(folder.iterdir()):
        run_folder.load(folder)
