"""From folders and names to a `Searcher`: the speed model, the supernet, pairs, validation, device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import load_weights
from sr_tvm.search.ddp import ProcessGroup
from sr_tvm.search.searcher import Searcher
from sr_tvm.search.settings import SearchSettings
from sr_tvm.speed.differentiable import latency
from sr_tvm.speed.model import SpeedModel
from sr_tvm.training.data import Tick, Warn, load_pairs
from sr_tvm.training.session import Validation, refuse_leak

OUTPUT = (720, 1280)


def default_input(scale: int) -> tuple[int, int]:
    """Compute the low-resolution size whose output is 1280x720, or just larger.

    Args:
        scale: Of the network.

    Returns:
        Height and width in pixels.
    """
    return -(-OUTPUT[0] // scale), -(-OUTPUT[1] // scale)


def load_supernet(path: str | Path, scale: int) -> WDSR:
    """Read the weights of a trained supernet.

    Args:
        path: Of the safetensors file.
        scale: That it should have.

    Returns:
        The network, with the architecture that the file names.

    Raises:
        SrTvmError: It is no weights file, or of another scale.
    """
    net = load_weights(path)
    if net.architecture.scale != scale:
        raise SrTvmError(f"{path}: its scale is {net.architecture.scale}, but --scale is {scale}")
    return net


def tell(name: str, model: SpeedModel) -> dict[str, Any]:
    """Describe a speed model as the results of a search do.

    Args:
        name: Of the model, as it was asked for.
        model: The speed model.

    Returns:
        A JSON object.
    """
    return {"name": name, "kind": model.kind, "source": model.source, "unit": model.unit, "error": model.error}


def prepare(
    settings: SearchSettings,
    speed: SpeedModel,
    data: Sequence[str | Path],
    supernet: WDSR | None = None,
    validate: str | Path | None = None,
    group: ProcessGroup | None = None,
    threads: int | None = None,
    cache: str | Path | None = None,
    warn: Warn = lambda _: None,
    tick: Tick = lambda done, total: None,
) -> Searcher:
    """Collect everything that a search needs, checked before the first step.

    Args:
        settings: What is searched and how long.
        speed: The speed model.
        data: Folders of training pictures.
        supernet: What the supernet begins as; read from the settings' weights file if not given.
        validate: A folder of validation pictures; without, no network is scored.
        group: Processes that share every batch; this one alone, on the CPU, if None.
        threads: Of torch on the CPU; torch's own choice if None.
        cache: A folder for prepared pictures; the usual one if None.
        warn: Called with what is odd but does not stop the search.
        tick: Called with how many pictures are prepared, and of how many.

    Returns:
        A searcher before its first step.

    Raises:
        SrTvmError: The budget cannot be reached, the speed model is for another input size, a folder is missing or
            empty or has no usable picture, or training holds a validation picture.
    """
    group, scale = group or ProcessGroup(), settings.supernet.scale
    predict = latency(speed, settings.height, settings.width, scale)
    if threads:
        torch.set_num_threads(threads)
    if supernet is None and settings.supernet_weights is not None:
        supernet = load_supernet(settings.supernet_weights.path, scale)
    score = None if validate is None else Validation.read(validate, scale, group.device, warn)
    with group.leader_first():  # pairs are cached once
        pairs = load_pairs(data, scale, cache, warn, tick)
    if validate is not None:
        refuse_leak(pairs, validate)
    pairs = pairs.large_enough(settings.patch, warn)
    # The others only check that there is something to score on.
    return Searcher(settings, pairs, predict, supernet, score if group.leads else None, group)
