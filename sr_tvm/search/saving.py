"""A search on disk: its checkpoint, and how it is taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture
from sr_tvm.search.searcher import Searcher
from sr_tvm.search.settings import FINETUNE, HALVING
from sr_tvm.system.validation import Count, Finite, Record, read
from sr_tvm.training.checkpoint import HINT, Checkpoint, peek
from sr_tvm.training.loop import check_same


class SearchRow(Record, frozen=True, forbid_unknown_fields=False):
    """A line of the history; only what a line has of these is kept."""

    step: Count
    channels: Count
    blocks: list[tuple[Count, Count]]
    phase: str
    loss: Finite | None = None
    latency: Finite | None = None
    target: Finite | None = None
    psnr: Finite | None = None
    depths: dict[str, Finite] = {}


class SearchCounters(Record, frozen=True, forbid_unknown_fields=False):
    """The state in a checkpoint, but for the architecture."""

    loss_sum: Finite
    loss_count: Count
    history: list[SearchRow]
    depth: Count | None


def asked(searcher: Searcher) -> dict[str, Any]:
    """Describe what a resumed search must agree on: settings, pictures, and the speed model by two latencies.

    Args:
        searcher: The search.

    Returns:
        A JSON object.
    """
    speed = f"{searcher.least:.6g}-{searcher.most:.6g}"
    return searcher.settings.to_json() | {"data": searcher.pairs.digest, "speed": speed}


def check(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Refuse to resume a search under other settings than it began with.

    Args:
        found: What the checkpoint says that it was asked; see :func:`asked`.
        wanted: The same of now; without ``speed`` where the speed model is not known yet.
        path: Of the checkpoint, for the message.

    Raises:
        SrTvmError: A setting differs; the message names it.
    """
    if found.get("supernet") != wanted["supernet"]:
        raise SrTvmError(f"{path}: began with another supernet; resume with the same, or name another output")
    began, now = (run.get("supernet_weights") for run in (found, wanted))
    if began != now:
        began, now = (str(x or "none")[:80] for x in (began, now))
        raise SrTvmError(
            f"{path}: began with the supernet weights {began}, now they are {now}; resume with the same, or name "
            "another output"
        )
    if found.get("speed") != wanted.get("speed", found.get("speed")):
        raise SrTvmError(f"{path}: began with another speed model; resume with the same, or name another output")
    check_same(found, wanted, path)


def _tensors(searcher: Searcher) -> dict[str, Tensor]:
    out = {f"network.{name}": parameter for name, parameter in searcher.network.named_parameters()}
    out |= searcher.optimizers.moments()
    if searcher.noise is not None:
        out |= {f"squares.{name}": square for name, square in searcher.noise.squares.items()}
    if searcher.average is not None:
        out |= {f"average.{name}": parameter for name, parameter in searcher.average.named_parameters()}
    return out


def save(searcher: Searcher, path: Path) -> None:
    """Write the checkpoint of a search, atomically.

    Args:
        searcher: The search, between two steps.
        path: Of the file; an older checkpoint is replaced.

    Raises:
        SrTvmError: The file cannot be written.
    """
    state = {
        "loss_sum": searcher.loss_sum,
        "loss_count": searcher.loss_count,
        "history": searcher.history,
        "architecture": searcher.architecture.to_json(),
        "depth": searcher.depth,
    }
    Checkpoint(searcher.step, _tensors(searcher), asked(searcher), state).write(path)


def restore(searcher: Searcher, path: Path) -> None:
    """Take up a checkpoint, in a searcher that has not taken a step.

    Args:
        searcher: Made with the same settings, pictures and speed model.
        path: Of the checkpoint.

    Raises:
        SrTvmError: It is damaged, or of a search with other settings, pictures or speed model.
    """
    told = peek(path)
    check(told["run"], asked(searcher), path)
    step = told["step"]
    if step > searcher.settings.steps:
        raise SrTvmError(f"{path}: a damaged checkpoint (step {step}); {HINT}")
    searcher.phase = searcher.settings.phase(step)
    if searcher.phase.name == FINETUNE:
        searcher.become(WDSR(_found(told["state"], searcher, path)))
    searcher._use(searcher.network)
    saved = Checkpoint.read(path, {k: tuple(v.shape) for k, v in _tensors(searcher).items()})
    if step > searcher.phase.begin:
        searcher.optimizers.remember(saved.tensors, step - searcher.phase.begin)
    with torch.no_grad():
        for name, parameter in searcher.network.named_parameters():
            parameter.copy_(saved.tensors[f"network.{name}"])
        for name, parameter in searcher.average.named_parameters() if searcher.average else ():
            parameter.copy_(saved.tensors[f"average.{name}"])
        for name, square in searcher.noise.squares.items() if searcher.noise else ():
            square.copy_(saved.tensors[f"squares.{name}"])
    searcher.step = step
    if searcher.noise is not None:  # successive halving goes by what the phase before has seen
        halving = searcher.phase.name == HALVING
        searcher.noise.seen = searcher.settings.width_steps if halving else step - searcher.phase.begin
    try:
        counters = read(SearchCounters, saved.state, str(path))
    except SrTvmError as error:
        raise SrTvmError(f"{error}: a damaged checkpoint; {HINT}") from None
    least, most = searcher.settings.smallest.blocks, len(searcher.settings.supernet.blocks)
    if counters.depth is not None and not least <= counters.depth <= most:
        raise SrTvmError(f"{path}: field depth is {counters.depth}: a damaged checkpoint; {HINT}")
    searcher.depth, searcher.loss_sum, searcher.loss_count = counters.depth, counters.loss_sum, counters.loss_count
    kept = SearchRow.__struct_fields__
    searcher.history = [{k: v for k, v in row.items() if k in kept} for row in saved.state["history"]]


def _found(state: dict[str, Any], searcher: Searcher, path: Path) -> Architecture:
    """Return the architecture that a checkpoint was found to have: one of the supernet's.

    Raises:
        SrTvmError: It is no architecture, or not one of the supernet's.
    """
    found = Architecture.from_json(state.get("architecture"), f"{path}: field architecture")  # type: ignore[arg-type]
    big = searcher.settings.supernet
    widest = [max(x) for x in zip(*((b.expand, b.linear) for b in big.blocks), strict=True)]
    fits = found.scale == big.scale and found.channels <= big.channels and len(found.blocks) <= len(big.blocks)
    if not fits or any(b.expand > widest[0] or b.linear > widest[1] for b in found.blocks):
        raise SrTvmError(f"{path}: a damaged checkpoint (its architecture is not one of the supernet's); {HINT}")
    return found
