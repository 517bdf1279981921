"""From folders to a `Trainer`: pairs, validation, device, and the check that the two sets of pictures are disjoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import metrics, pictures, resize
from sr_tvm.training.data import Pairs, Tick, Warn, load_pairs
from sr_tvm.training.distillation import distill
from sr_tvm.training.evaluate import Upscale, examples
from sr_tvm.training.loop import Trainer, other_networks
from sr_tvm.training.settings import TrainingSettings
from sr_tvm.training.upscalers import bicubic, network, pick_device

# dB that a flawless validation counts as: the history is JSON, which has no infinity.
PERFECT = 100.0


@dataclass(frozen=True)
class Validation:
    """Scores a network by its mean PSNR-Y in dB, on pictures that are kept in memory.

    On a GPU, making them anew would take longer than the steps in between.

    Attributes:
        pictures: High resolution (H, W[, 3]) and low resolution (h, w, 3) of each, uint8.
        scale: By how much the network enlarges.
        device: Where it computes.
    """

    pictures: tuple[tuple[NDArray[np.uint8], NDArray[np.uint8]], ...]
    scale: int
    device: torch.device

    @classmethod
    def read(cls, folder: str | Path, scale: int, device: torch.device, warn: Warn = lambda _: None) -> Validation:
        """Read the pictures of a folder and make their low resolution.

        Args:
            folder: Of pictures in high resolution.
            scale: By how much the network enlarges.
            device: Where it computes.
            warn: Told each picture that is left out, and why.

        Returns:
            The validation.

        Raises:
            SrTvmError: The folder has no usable picture.
        """
        return cls(tuple((high, low) for _, high, low in examples(folder, scale, warn)), scale, device)

    def psnr(self, upscale: Upscale) -> float:
        """Score an upscaler.

        Args:
            upscale: From (h, w, 3), uint8, to (scale h, scale w, 3), uint8.

        Returns:
            Mean PSNR-Y in dB, at most ``PERFECT``.
        """
        found = (metrics.psnr_y(high, upscale(low), self.scale) for high, low in self.pictures)
        return min(math.fsum(found) / len(self.pictures), PERFECT)

    def __call__(self, model: nn.Module) -> float:
        """Score a network.

        Args:
            model: Folded; it is moved to the device.

        Returns:
            Mean PSNR-Y in dB, at most ``PERFECT``.
        """
        return self.psnr(network(model.to(self.device), self.device))


def refuse_leak(pairs: Pairs, validate: str | Path) -> None:
    """Insist that no training picture is also a validation picture, told by their pixels.

    Args:
        pairs: To train on.
        validate: Folder of the validation pictures.

    Raises:
        SrTvmError: One is; the message names both files.
    """
    known = {pair.digest: pair.name for pair in pairs.pairs}
    for path in pictures.list_pictures(validate):
        try:
            image = pictures.as_rgb(resize.modcrop(pictures.read_picture(path), pairs.scale))
        except SrTvmError:
            continue  # what cannot be read is told of by the validation itself
        name = known.get(pictures.pixel_digest(image))
        if name:
            raise SrTvmError(f"{name} is the validation picture {path}; training on it would make the score worthless")


def prepare(
    settings: TrainingSettings,
    data: Sequence[str | Path],
    validate: str | Path | None,
    device: str = "auto",
    threads: int | None = None,
    cache: str | Path | None = None,
    warn: Warn = lambda _: None,
    tick: Tick = lambda done, total: None,
    graph: bool = True,
) -> tuple[Trainer, float | None]:
    """Make everything that a run needs, checked before the first step.

    Args:
        settings: What the run is asked to do.
        data: Folders of training pictures.
        validate: Folder of validation pictures; None for none.
        device: ``cpu``, ``cuda`` or ``auto``.
        threads: That PyTorch may use on the CPU; None to leave it to PyTorch.
        cache: Folder where training pairs are kept; the user's cache folder by default.
        warn: Told each picture that is left out, and why.
        tick: Told (done, in all) while pictures are prepared.
        graph: On a GPU, replay steps as a CUDA graph.

    Returns:
        The trainer, and bicubic's PSNR-Y in dB on the validation pictures; None, and a trainer that tells the loss
        alone, if there are none to ``validate`` on.

    Raises:
        SrTvmError: A folder is missing or empty, training holds a validation picture, or the device is not there.
    """
    place = pick_device(device)
    if threads:
        torch.set_num_threads(threads)
    scale = settings.architecture.scale
    score = None if validate is None else Validation.read(validate, scale, place, warn)
    pairs = load_pairs(data, scale, cache, warn, tick)
    if validate is not None:
        refuse_leak(pairs, validate)
    pairs = pairs.large_enough(settings.patch, warn)
    teacher = other_networks(settings)[1]
    if teacher is not None and settings.teacher is not None:
        told = settings.teacher.digest, place, cache, tick, settings.teacher_ensemble
        pairs = distill(pairs, teacher, *told)
    baseline = None if score is None else score.psnr(bicubic(scale))
    return Trainer(settings, pairs, score, place, graph), baseline
