"""What is trained and how, as data: the supernets, a search and a plain network for each budget, the scaling runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recipes import ship
from recipes.jobs import Job, JobStep
from sr_tvm.records.architecture import Architecture, by_name
from sr_tvm.search.plain import plain
from sr_tvm.speed import known
from sr_tvm.speed.sample import input_size

PLAIN_8X24, PLAIN_37K = "wdsr_x2_8x24", "wdsr_x2_37k"


@dataclass(frozen=True)
class Recipe:
    """How everything is trained. What experiments may change is here; the rest are the defaults of ``sr-tvm train``.

    Attributes:
        supernet: Blocks x channels, as "wdsr-16x24".
        supernet_steps: Of the training of each supernet.
        search_steps: Of a search in width and depth together.
        steps: Of the training of what a search has found; a plain network is trained for as many as search and training
            have together.
        teacher_share: Of the loss, what is distilled from the supernet, 0 to 1; None is no teacher.
        teacher_ensemble: Whether the mean of the supernet's output for all turns and mirrors is aimed at.
        race_steps: Of a search's successive halving, beside its ``search_steps``.
    """

    supernet: str = "wdsr-16x24"
    supernet_steps: int = 36000
    search_steps: int = 6000
    steps: int = 30000
    teacher_share: float | None = 0.9
    teacher_ensemble: bool = True
    race_steps: int = 8000

    @property
    def whole(self) -> int:
        """Steps of a network from its supernet on: as many for a plain one as for one that was searched."""
        return self.search_steps + self.race_steps + self.steps


@dataclass(frozen=True)
class LatencyTarget:
    """A budget of latency on a speed model, which a network is searched for.

    Attributes:
        scale: Factor of the enlargement.
        device: The name of the speed model.
        budget: In ms by that model.
        plain: The name of its plain network where that is shipped; "" where it is not.
    """

    scale: int
    device: str
    budget: int
    plain: str = ""

    @property
    def name(self) -> str:
        """The name of the searched network, as wdsr_x2_s21_40ms."""
        return f"wdsr_x{self.scale}_{SHORT[self.device]}_{self.budget}ms"

    @property
    def plain_name(self) -> str:
        """The name of the plain network that the searched one is compared with."""
        return self.plain or f"{self.name}_plain"


SHORT = {"galaxy-s21": "s21", "galaxy-s10-dsp": "dsp"}
TARGETS = (
    LatencyTarget(2, "galaxy-s21", 100),
    LatencyTarget(2, "galaxy-s21", 70),
    LatencyTarget(2, "galaxy-s21", 40),
    LatencyTarget(4, "galaxy-s21", 100),
    LatencyTarget(4, "galaxy-s21", 70),
    LatencyTarget(4, "galaxy-s21", 40),
    LatencyTarget(2, "galaxy-s10-dsp", 100, PLAIN_8X24),
    LatencyTarget(2, "galaxy-s10-dsp", 70),
    LatencyTarget(2, "galaxy-s10-dsp", 40, PLAIN_37K),
)
SUPERNETS = {2: "supernet_x2", 4: "supernet_x4"}
# The plain 37K network once more, with a part of its steps: what ten times the steps of the last training are worth.
SCALED = {f"{PLAIN_37K}_tenth": 10, f"{PLAIN_37K}_hundredth": 100}
SCORES_ALONG = 40  # validations in a training
# What a training and a search leave in their folder.
TRAINED = ("checkpoint.safetensors", "weights.safetensors", "architecture.json", "spent.json", "history.json")
FOUND = (*TRAINED, "supernet.safetensors", "architecture.svg", "architecture.png")


@dataclass(frozen=True)
class RecipePlaces:
    """Where pictures are read, where work is kept and what the commands run on.

    Attributes:
        train: Folders of training pictures.
        validate: Folder of the pictures to score on.
        work: Folder with a folder for each job, and checkpoints in it.
        models: Folder that results are put into.
        threads: CPU threads of each command.
        device: "auto", "cpu" or "cuda".
    """

    train: Sequence[Path]
    validate: Path
    work: Path
    models: Path
    threads: int = 1
    device: str = "auto"

    def weights(self, name: str) -> Path:
        """Find where the weights of a network lie once it is trained.

        Args:
            name: Of the network, which is its job's.

        Returns:
            The path in the work folder; the file may not be there yet.
        """
        return self.work / name / "weights.safetensors"


def jobs(recipe: Recipe, places: RecipePlaces) -> list[Job]:
    """List everything that is trained and searched, each job after those that it needs.

    Args:
        recipe: How everything is trained.
        places: Where pictures are read and work is kept.

    Returns:
        The jobs; nothing runs yet.

    Raises:
        SrTvmError: A speed model is missing, or no plain network is within a budget.
    """
    found = [_supernet(scale, recipe, places) for scale in SUPERNETS]
    found += [_searched(target, recipe, places) for target in TARGETS]
    for target in TARGETS:
        found.append(_plain(target, target.plain_name, recipe.whole, recipe, places))
    small = next(t for t in TARGETS if t.plain == PLAIN_37K)
    for name, part in SCALED.items():
        found.append(_plain(small, name, max(1, recipe.whole // part), recipe, places))
    return found


def _command(*words: object) -> tuple[str, ...]:
    return (sys.executable, "-m", "sr_tvm", *map(str, words))


def _pictures(places: RecipePlaces) -> list[object]:
    return [*(word for folder in places.train for word in ("--data", folder)), "--validate", places.validate]


def _train(name: str, arch: object, scale: int, steps: int, init: Path | None, teacher: Path | None,
           recipe: Recipe, places: RecipePlaces) -> JobStep:  # fmt: skip
    words: list[object] = ["train", "--arch", arch, "--scale", scale, *_pictures(places), "-o", places.work / name]
    words += ["--steps", steps, "--validate-every", max(1, steps // SCORES_ALONG)]
    words += ["--threads", places.threads, "--device", places.device]
    asked: dict[str, object] = {"steps": steps, "init": init, "teacher": teacher}
    if isinstance(arch, str):  # not to be searched first
        asked["architecture"] = by_name(arch, scale).to_json()
    if init:
        words += ["--init", init]
    if teacher:
        words += ["--teacher", teacher, "--teacher-share", recipe.teacher_share]
        words += ["--teacher-ensemble"] if recipe.teacher_ensemble else []
        asked |= {"teacher_share": recipe.teacher_share, "teacher_ensemble": recipe.teacher_ensemble}
    return JobStep(f"train {steps:,} steps", _command(*words), places.work / name / "history.json", asked, TRAINED)


def _teacher(scale: int, recipe: Recipe, places: RecipePlaces) -> Path | None:
    return None if recipe.teacher_share is None else places.weights(SUPERNETS[scale])


def _supernet(scale: int, recipe: Recipe, places: RecipePlaces) -> Job:
    """Return the job of a supernet: the first one begins from nothing, the others from it."""
    name, first = SUPERNETS[scale], next(iter(SUPERNETS.values()))
    init = None if name == first else places.weights(first)
    step = _train(name, recipe.supernet, scale, recipe.supernet_steps, init, None, recipe, places)
    about = ship.About(name, ship.SUPERNET, scale)
    return Job(name, (first,) if init else (), (step,), partial(ship.ship, about, places.work, places.models))


def _searched(target: LatencyTarget, recipe: Recipe, places: RecipePlaces) -> Job:
    supernet, folder = SUPERNETS[target.scale], places.work / target.name / "search"
    width = recipe.search_steps // 3
    asked = {"budget": target.budget, "width_steps": width, "depth_steps": recipe.search_steps - width,
             "race_steps": recipe.race_steps, "supernet_weights": places.weights(supernet)}  # fmt: skip
    words: list[object] = ["search", "--scale", target.scale, "--latency", target.budget, "--device", target.device]
    words += [*_pictures(places), "--supernet", places.weights(supernet), "-o", folder]
    words += ["--width-steps", width, "--halving-steps", recipe.race_steps]
    words += ["--depth-steps", asked["depth_steps"], "--finetune-steps", 0]
    words += ["--threads", places.threads, "--compute", places.device]
    search = JobStep(f"search {recipe.search_steps:,} steps", _command(*words), folder / "history.json", asked, FOUND)
    train = _train(target.name, folder / "architecture.json", target.scale, recipe.steps,
                   folder / "weights.safetensors", _teacher(target.scale, recipe, places), recipe, places)  # fmt: skip
    about = ship.About(target.name, ship.SEARCHED, target.scale, target.device, target.budget)
    return _shipped(about, supernet, (search, train), places)


def _plain(target: LatencyTarget, name: str, steps: int, recipe: Recipe, places: RecipePlaces) -> Job:
    supernet = SUPERNETS[target.scale]
    arch = plain_network(target, recipe.supernet)
    text = f"wdsr-{len(arch.blocks)}x{arch.channels}"
    step = _train(name, text, target.scale, steps, places.weights(supernet), _teacher(target.scale, recipe, places),
                  recipe, places)  # fmt: skip
    about = ship.About(name, ship.SCALED if name in SCALED else ship.PLAIN, target.scale, target.device, target.budget)
    if name == target.plain:
        return _shipped(about, supernet, (step,), places)
    return Job(name, (supernet,), (step,), partial(ship.ship, about, places.work, places.models))


def _shipped(about: ship.About, supernet: str, steps: tuple[JobStep, ...], places: RecipePlaces) -> Job:
    """Return a job whose weights go to models/, as ONNX too."""
    onnx, weights = places.work / about.name / ship.ONNX, places.weights(about.name)
    words = ("export", weights, "-o", onnx, *ship.EXPORT)
    steps = (*steps, JobStep("export", _command(*words), onnx, source=weights))
    return Job(about.name, (supernet,), steps, partial(ship.ship, about, places.work, places.models, weights=True))


def plain_network(target: LatencyTarget, supernet: str = Recipe.supernet) -> Architecture:
    """Choose the plain network that the searched one of a budget has to beat.

    Args:
        target: The budget, and the speed model that it is on.
        supernet: Blocks x channels; the plain network is no deeper and no wider.

    Returns:
        The architecture.

    Raises:
        SrTvmError: There is no such speed model, or no plain network is within the budget.
    """
    within = by_name(supernet, target.scale)
    return plain(known.find(target.device), target.scale, target.budget, *input_size(target.scale), within=within)
