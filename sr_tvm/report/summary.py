"""The record of a run, summary.json: what its steps found, as far as it came. The page is made of it.

Parts that are records of other rooms (architecture, pass report, measurement, trials) are in their JSON form.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from sr_tvm.system.validation import MOST, Amount, Count, Finite, Record

Above0 = Annotated[float, Meta(gt=0, le=MOST, description="a finite number above 0")]
Facts = dict[str, str | bool | int | float]


class RunModel(Record, frozen=True):
    """The network. ``macs`` are multiply-accumulates at the input that was run; ``sha256`` is of the weights file."""

    name: str
    params: Count
    macs: Count | None = None
    sha256: str = ""


class ParityRow(Record, frozen=True):
    """Outputs of one step compared with PyTorch's: the largest difference, and what is allowed."""

    name: str
    max_abs_err: Amount
    tolerance: Amount
    ok: bool


class Tuning(Record, frozen=True):
    """What the tuner found: times of all kernels alone, and of the whole network once it was measured so."""

    trials: Count
    seed: int
    kernels_default_ms: Amount | None = None
    kernels_best_ms: Amount | None = None
    default_ms: Amount | None = None
    tuned_ms: Amount | None = None
    history: list[dict[str, Any]] = []
    note: str = ""


class Built(Record, frozen=True):
    """The artifact: its folder in the run's, and how many of its kernels are tuned."""

    folder: str
    kernels: Count
    tuned_kernels: Count


class SpeedRow(Record, frozen=True):
    """One network in ms, measured and as a model fitted to the others predicts it; ``this`` is the run's own."""

    name: str
    measured: Above0
    predicted: Amount
    this: bool = False


class Speed(Record, frozen=True):
    """The speed model against what was measured. ``model`` is its file in the run's folder."""

    rows: list[SpeedRow]
    method: list[str] = []
    median_error: Amount | None = None
    model: str = ""


class TargetRow(Record, frozen=True):
    """What a picture takes on a target, in words; ``time`` is "" where ``how`` says what is missing.

    ``seconds`` is how long it took to find out.
    """

    target: str
    time: str
    how: str
    seconds: Amount | None = None


class EveryTarget(Record, frozen=True):
    """The network on every target."""

    note: str
    rows: list[TargetRow]


class Compare(Record, frozen=True):
    """A photograph, and two enlargements of the small one: files in the run's folder, PSNR-Y in dB.

    ``crop`` is x, y, width and height, in pixels, of what is shown close up.
    """

    truth: str
    bicubic: str
    ours: str
    psnr_bicubic: Finite
    psnr_ours: Finite
    crop: tuple[int, int, int, int]
    caption: str = ""
    crop_note: str = ""


class Enlarged(Record, frozen=True):
    """A picture enlarged: a file in the run's folder."""

    file: str
    caption: str = ""


class Pictures(Record, frozen=True):
    """What the network makes of a photograph."""

    compare: Compare | None = None
    enlarged: Enlarged | None = None


class Step(Record, frozen=True):
    """A step that is done, in seconds of wall time."""

    name: str
    seconds: Amount


class Summary(Record, frozen=True, omit_defaults=True):
    """A run as far as it came: a part that it has not made is empty or None, and not in the file."""

    title: str = "A run of sr-tvm"
    lead: str = ""
    complete: bool = False
    machine: Facts = {}
    versions: dict[str, str] = {}
    steps: list[Step] = []
    model: RunModel | None = None
    architecture: dict[str, Any] | None = None
    parity: list[ParityRow] = []
    passes: dict[str, Any] | None = None
    tuning: Tuning | None = None
    artifact: Built | None = None
    measurement: dict[str, Any] | None = None
    per_operator: list[dict[str, Any]] = []
    per_operator_note: str = ""
    speed: Speed | None = None
    every_target: EveryTarget | None = None
    pictures: Pictures | None = None
    method: list[str] = []
