"""Priorities of a GPU's minutes: first a better teacher, then what ships, trained on and distilled from it; as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sr_tvm.records.architecture import Architecture, by_name
from sr_tvm.training.settings import TrainingSettings, WeightsFile

TEACHER = {2: "teacher_x2", 4: "teacher_x4"}
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Item:
    """One training.

    Attributes:
        name: Of the network.
        scale: By which it enlarges.
        arch: Blocks x channels, such as "wdsr-16x48"; "" for that of models/NAME.json, from models/NAME.safetensors.
        init: An item that it begins as, of any scale; "" for none.
        distilled: Whether it waits for the teacher of its scale, and learns from it.
    """

    name: str
    scale: int
    arch: str = ""
    init: str = ""
    distilled: bool = True


# First what others wait for, then what is furthest from its goal (models/README.md).
ITEMS = (
    Item(TEACHER[2], 2, "wdsr-16x48", distilled=False),
    Item("wdsr_x2_8x24", 2),
    Item(TEACHER[4], 4, "wdsr-16x48", TEACHER[2], distilled=False),
    Item("wdsr_x2_dsp_70ms", 2),
    Item("wdsr_x2_s21_100ms", 2),
    Item("wdsr_x2_37k", 2),
    Item("wdsr_x4_s21_70ms", 4),
    Item("wdsr_x2_s21_70ms", 2),
    Item("wdsr_x4_s21_100ms", 4),
    Item("wdsr_x2_s21_40ms", 2),
    Item("wdsr_x4_s21_40ms", 4),
    Item("wdsr_x2_dsp_100ms", 2),
    Item("wdsr_x2_dsp_40ms", 2),
)


@dataclass(frozen=True)
class Hyperparameters:
    """How an item is trained; what is not here is the default of ``sr-tvm train``.

    Attributes:
        teacher_steps: Of the teachers.
        steps: Of all others.
        batch: Patches in a step.
        patch: Side of a patch in low-resolution pixels, by scale: windows of a pack have about 44 of them at x4.
        detail: As of the training settings, as are ``late_patch`` and ``late_share``.
        teacher_share: Share of the loss that is the difference to the teacher's output.
        teacher_ensemble: Whether the mean of the teacher's output for all turns and mirrors is aimed at.
        branches: As of the training settings; teachers are trained without: their checkpoints would be too large to
            travel.
        validations: In a training.
    """

    teacher_steps: int = 150_000
    steps: int = 150_000
    batch: int = 16
    patch: tuple[tuple[int, int], ...] = ((2, 48), (4, 32))
    detail: float = 0.5
    late_patch: int = 0
    late_share: float = 0.2
    teacher_share: float = 0.9
    teacher_ensemble: bool = True
    branches: str = "product"
    validations: int = 40

    def settings(
        self, item: Item, models: Path, precision: str, init: Path | None, teacher: Path | None
    ) -> TrainingSettings:
        """Make the settings of a training.

        Args:
            item: The training.
            models: Folder with the architecture of an item that has none of its own.
            precision: That the device computes in, as of the training settings.
            init: Weights to begin with; None to begin with chance.
            teacher: Weights of the teacher; None for no distillation.

        Returns:
            The settings.

        Raises:
            SrTvmError: A file of models/ is missing or damaged.
        """
        steps = self.steps if item.distilled else self.teacher_steps
        return TrainingSettings(
            network(item, models),
            steps=steps,
            batch=self.batch,
            patch=dict(self.patch)[item.scale],
            validate_every=max(1, steps // self.validations),
            init=None if init is None else WeightsFile.of(init),
            teacher=None if teacher is None else WeightsFile.of(teacher),
            teacher_share=self.teacher_share,
            teacher_ensemble=self.teacher_ensemble and teacher is not None,
            precision=precision,
            detail=self.detail,
            late_patch=self.late_patch,
            late_share=self.late_share,
            branches=self.branches if item.distilled else "none",
        )


GPU = Hyperparameters()
# A core does few steps: many small ones without branches are worth most (docs/training.md), and a teacher's one output
# is enough.
CPU = Hyperparameters(batch=4, patch=((2, 32), (4, 32)), teacher_ensemble=False, branches="none")


def network(item: Item, models: Path) -> Architecture:
    """Make or load the architecture of an item.

    Args:
        item: The training.
        models: Folder with the architecture of an item that has none of its own.

    Returns:
        The architecture.

    Raises:
        SrTvmError: Its file is missing or damaged.
    """
    return by_name(item.arch, item.scale) if item.arch else Architecture.load(models / f"{item.name}.json")


def begins(item: Item, models: Path, work: Path) -> list[Path]:
    """List the weights files that an item may begin as.

    Args:
        item: The training.
        models: Where what ships lies.
        work: Where a folder of each training is kept.

    Returns:
        The files, best first, which need not be there; none for an item that begins from nothing.
    """
    if item.init:  # not one brought along, which may be narrower
        return [work / item.init / WEIGHTS]
    return [] if item.arch else [models / f"{item.name}.safetensors"]


def made(name: str, models: Path, work: Path) -> list[Path]:
    """List the files where a teacher's weights may be: made here, or brought along in models/teacher.

    Args:
        name: The teacher's.
        models: Where what ships lies.
        work: Where a folder of each training is kept.

    Returns:
        The files, best first, which need not be there.
    """
    return [work / name / WEIGHTS, models / "teacher" / f"{name}.safetensors"]
