"""The search, from its start or its checkpoint to its results. Stopped at any step, it goes on as if it never was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.weights import save_weights
from sr_tvm.search.ddp import ProcessGroup
from sr_tvm.search.progress import SearchProgress
from sr_tvm.search.saving import asked, check, restore, save
from sr_tvm.search.searcher import Searcher
from sr_tvm.search.selection import TOLERANCE
from sr_tvm.search.settings import SUPERNET, SearchSettings
from sr_tvm.search.supernet import SuperNet
from sr_tvm.system import files, interrupts
from sr_tvm.training.checkpoint import peek
from sr_tvm.training.loop import CHECKPOINT, CHECKPOINT_SECONDS

HISTORY_SCHEMA, HISTORY_VERSION = "sr-tvm/search-history", 1
SUPERNET_FILE = "supernet.safetensors"


@dataclass(frozen=True)
class Outcome:
    """What a search ended with: the predicted ``latency`` and the ``budget``, in the speed model's unit."""

    latency: float
    budget: float

    @property
    def inside(self) -> bool:
        """Whether the predicted latency is at most the budget and at most 3 % under it."""
        return self.budget * (1 - TOLERANCE) <= self.latency <= self.budget


def look_ahead(settings: SearchSettings, folder: Path) -> None:
    """Find out what would stop a search in ``folder`` before pictures are prepared for it.

    Args:
        settings: Of the search that is about to begin or to go on.
        folder: Where its checkpoint is or will be; made if it is missing.

    Raises:
        SrTvmError: The folder cannot be made, or holds a checkpoint that is damaged or of a search with other settings.
    """
    files.check_writable(folder / CHECKPOINT)
    if (folder / CHECKPOINT).exists():
        check(peek(folder / CHECKPOINT)["run"], settings.to_json(), folder / CHECKPOINT)


def agree(group: ProcessGroup, step: int) -> bool:
    """Find out whether all processes are at the same step; all get the same answer.

    Args:
        group: The processes; each has to call this.
        step: Of this process, 0 or more.

    Returns:
        Whether all named the same step.
    """
    # In two parts: a sum of float32 is exact below 2^24 alone.
    parts = [float(step % 4096), float(step // 4096)]
    differs = group.mean([], parts) != parts
    # One of them can be at the mean of the others, and would go on by itself.
    return not group.mean([], [float(differs)])[0]


def search(
    searcher: Searcher, folder: Path, report: Callable[[SearchProgress], None], told: dict[str, Any] | None = None
) -> Outcome:
    """Run to the last step, from the checkpoint in ``folder`` if there is one, and write the results there.

    Checkpoints every minute, at each interruption, at the end of each phase and of the search. Of several processes the
    leading one writes; all read, so ``folder`` must be seen by all.

    Args:
        searcher: One that has not taken a step.
        folder: Of the checkpoint, the weights, the architecture and the history.
        report: Called after every step with how far the search has come.
        told: What the history says of the speed model; nothing if None.

    Returns:
        The predicted latency beside the budget.

    Raises:
        KeyboardInterrupt: Stopped by Ctrl-C or SIGTERM, after a checkpoint.
        SrTvmError: The checkpoint is damaged or of another search, or not seen by all processes, or the folder cannot
            be written.
    """
    path, group = folder / CHECKPOINT, searcher.group
    if path.exists():
        restore(searcher, path)
    elif group.leads:
        save(searcher, path)  # a place that cannot be written is found out now, not after an hour
    group.wait()
    if not agree(group, searcher.step):
        raise SrTvmError(f"{folder}: not all processes see its checkpoint; name an --output that all of them share")
    saved = time.monotonic()
    with interrupts.between_steps() as stopped:
        while searcher.step < searcher.settings.steps:
            # All processes stop at the same step, or the others would wait for ever.
            if group.mean([], [float(stopped())])[0]:
                if group.leads:
                    save(searcher, path)
                raise KeyboardInterrupt
            before = searcher.phase
            report(searcher.advance())
            ended = searcher.phase != before
            if ended and before.name == SUPERNET and group.leads:
                assert isinstance(searcher.network, SuperNet)
                save_weights(searcher.network.net, folder / SUPERNET_FILE)
            if group.leads and (ended or time.monotonic() - saved > CHECKPOINT_SECONDS):
                save(searcher, path)
                saved = time.monotonic()
    outcome = Outcome(searcher.latency, searcher.settings.budget)
    if group.leads:
        save(searcher, path)
        write_results(searcher, folder, outcome, told or {})
    group.wait()
    return outcome


def write_results(searcher: Searcher, folder: Path, outcome: Outcome, told: dict[str, Any]) -> None:
    """Write weights.safetensors, architecture.json and history.json of a search that has ended.

    Args:
        searcher: After its last step.
        folder: Where the files go; each is written atomically.
        outcome: The latency and budget that the history names.
        told: What the history says of the speed model.

    Raises:
        SrTvmError: The search has not ended, or the folder cannot be written.
    """
    if searcher.step < searcher.settings.steps:
        raise SrTvmError("the search has not ended; there is no result to write")
    save_weights(searcher.dense, folder / "weights.safetensors")
    searcher.architecture.save(folder / "architecture.json")
    result = {"budget": outcome.budget, "predicted": outcome.latency, "inside": outcome.inside, "speed_model": told}
    files.write_json(
        folder / "history.json",
        {
            "schema": HISTORY_SCHEMA,
            "version": HISTORY_VERSION,
            "run": asked(searcher),
            "result": result,
            "rows": searcher.history,
        },
    )
