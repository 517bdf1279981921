"""What a GPU's minutes go to first: a better teacher, then what ships, trained on and distilled from it; as data."""

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
        name: Of the network, and of its folder in the work folder.
        scale: Factor of the enlargement.
        arch: Blocks x channels; without it, the network is that of models/NAME.json, and begins as
            models/NAME.safetensors.
        init: The name of an item that it begins as, of any scale; "" for none.
        distilled: Whether it waits for the teacher of its scale and learns from it.
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
        teacher_steps: Of each teacher, which is trained without ``branches``: its checkpoints would be too large to
            travel.
        steps: Of each other training.
        batch: Patches of a step.
        patch: Side of a patch in low-resolution pixels, by scale: windows of a pack have about 44 of them at x4.
        detail: Patches are drawn by their gradient's energy to this power; 0 for all places alike.
        late_patch: Side of patches in the last steps, in low-resolution pixels; 0 for none.
        late_share: The share of the steps that these last ones are, 0 to 1.
        teacher_share: Of the loss, what is distilled from the teacher, 0 to 1.
        teacher_ensemble: Whether the mean of the teacher's output for all turns and mirrors is aimed at.
        branches: Of the blocks' 3x3 filters (nets/branches.py), where the network is no teacher.
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
        """Put together what a training is asked to do.

        Args:
            item: The training.
            models: Folder of what ships.
            precision: That steps compute in, as ``TrainingSettings.precision``.
            init: Weights that it begins as; None to begin from nothing.
            teacher: Weights that it learns from; None for no teacher.

        Returns:
            The settings.

        Raises:
            SrTvmError: A file of models/ or of weights is missing or damaged.
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
    """Find the architecture of an item.

    Args:
        item: The training.
        models: Folder of what ships.

    Returns:
        The named one, or that of models/NAME.json.

    Raises:
        SrTvmError: The name is none, or the file is missing or damaged.
    """
    return by_name(item.arch, item.scale) if item.arch else Architecture.load(models / f"{item.name}.json")


def begins(item: Item, models: Path, work: Path) -> list[Path]:
    """List the weights files that an item may begin as, the best one first.

    Args:
        item: The training.
        models: Folder of what ships.
        work: Folder of the trainings.

    Returns:
        Paths, which may not be there yet; none where it begins from nothing.
    """
    if item.init:  # not one brought along, which may be narrower
        return [work / item.init / WEIGHTS]
    return [] if item.arch else [models / f"{item.name}.safetensors"]


def made(name: str, models: Path, work: Path) -> list[Path]:
    """List where a teacher's weights may be: made here, or brought along in models/teacher.

    Args:
        name: The teacher's.
        models: Folder of what ships.
        work: Folder of the trainings.

    Returns:
        Paths, which may not be there, the best one first.
    """
    return [work / name / WEIGHTS, models / "teacher" / f"{name}.safetensors"]
