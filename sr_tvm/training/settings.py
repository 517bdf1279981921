"""What a training run is asked to do; a checkpoint remembers it, and a resumed run must be asked the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, structs
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import COLOURS, SCALES, Architecture
from sr_tvm.system.files import sha256
from sr_tvm.system.validation import MOST, Amount, CheckedRecord, RecordError, one_of

if TYPE_CHECKING:
    from sr_tvm.quantize.network import IntegerNetwork

PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("muon", "adam")
LOSSES = ("l1", "charbonnier", "l2")
BRANCHES = ("none", "sum", "edges", "product")

Steps = Annotated[int, Meta(ge=0, le=10**9)]
Interval = Annotated[int, Meta(ge=1, le=10**9)]
Batch = Annotated[int, Meta(ge=1, le=4096)]
Patch = Annotated[int, Meta(ge=8, le=1024)]
LatePatch = Annotated[int, Meta(ge=0, le=1024, description="0, for none, or a whole number from 8 to 1024")]
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Rate = Annotated[float, Meta(gt=0, le=1)]
Average = Annotated[float, Meta(ge=0, lt=1)]
Clip = Annotated[float, Meta(ge=0, le=MOST, description="a number from 0, which is for none,")]
Share = Annotated[float, Meta(ge=0, le=1)]
Detail = Annotated[float, Meta(ge=0, le=2, description="a number from 0, for all places alike, to 2")]
Precision = Annotated[str, one_of(PRECISIONS)]


@dataclass(frozen=True)
class WeightsFile:
    """A weights file that a run begins with or learns from.

    Attributes:
        path: Of the file.
        digest: The first 16 hexadecimal digits of its SHA-256: whether it is still the same.
    """

    path: Path
    digest: str

    @classmethod
    def of(cls, path: str | Path) -> WeightsFile:
        """Name a weights file by its path and its content.

        Args:
            path: Of the file, which is not read as weights yet.

        Returns:
            The file with its digest.

        Raises:
            SrTvmError: The file cannot be read.
        """
        try:
            return cls(Path(path), sha256(path)[:16])
        except OSError as error:
            raise SrTvmError(f"{path}: {(error.strerror or str(error)).lower()}; name a weights file") from None

    def __str__(self) -> str:
        return f"{self.path.name} (sha256 {self.digest})"


@dataclass(frozen=True)
class IntegerFile:
    """An int8 ONNX file whose network is trained in integers.

    Attributes:
        path: Of the file.
        digest: The first 16 hexadecimal digits of its SHA-256: whether it is still the same.
        scale: By how much the network enlarges.
    """

    path: Path
    digest: str
    scale: int

    @classmethod
    def of(cls, path: str | Path) -> IntegerFile:
        """Read what must be known of an int8 ONNX file.

        Args:
            path: Of the file.

        Returns:
            The file with its digest and scale.

        Raises:
            SrTvmError: The file cannot be read, is not quantised, or does not enlarge RGB by 2, 3 or 4.
        """
        digest = WeightsFile.of(path).digest
        network = cls(Path(path), digest, 1).network()
        if network.shuffle not in SCALES or network.channels(network.picture.name) != COLOURS:
            raise SrTvmError(f"{path}: only networks that enlarge RGB by {', '.join(map(str, SCALES))} are trained")
        return cls(Path(path), digest, network.shuffle)

    def network(self) -> IntegerNetwork:
        """Read the network.

        Returns:
            The network in integers.

        Raises:
            SrTvmError: The file cannot be read, or is not quantised.
        """
        from sr_tvm.quantize.qdq_read import from_onnx, is_quantized

        if not is_quantized(self.path):
            raise SrTvmError(f"{self.path}: not quantised; make an int8 file of it by sr-tvm quantize")
        return from_onnx(self.path)

    def to_json(self) -> dict[str, Any]:
        """Give the file in the JSON form that a checkpoint remembers.

        Returns:
            Its name, its digest and the scale; no folder, so that the file may move.
        """
        return {"integers": self.path.name, "sha256": self.digest, "scale": self.scale}


class TrainingSettings(CheckedRecord, frozen=True):
    """One run.

    Attributes:
        architecture: That of a float network; or the file of one in integers, whose weights are then trained as they
            are rounded (quantisation-aware training, Jacob et al. 2018, section 3).
        steps: In all.
        batch: Patches in a step.
        patch: Side of a patch, in low-resolution pixels.
        lr: Adam's learning rate at the start of the cosine.
        seed: Of weights and patches.
        ema: Decay, for each step, of the averaged weights, which are the result.
        validate_every: So many steps.
        warmup: Steps in which the rate rises to the cosine; 0 for none.
        clip: The largest norm of the gradients together; 0 for none.
        init: What the network begins as, sliced if it is larger; None for random weights.
        teacher: A network whose output is aimed at beside the truth (distillation); None for none.
        teacher_share: The share of the loss that is to the teacher's output.
        teacher_ensemble: Aim at the mean of the teacher's output over all turns and mirrors of a picture.
        precision: Of the blocks' convolutions.
        optimizer: Of the blocks' filters.
        detail: Patches are drawn (drawing.py) by their gradient's energy to this power; 0 for all places alike.
        shuffle: Put the colours of patches in any order.
        weights: (name of a folder, weight): how often its pictures are drawn; 1 for a folder that is not named.
        late_patch: Side of patches in the last steps, which are so many fewer that a step takes as long; 0 for none.
        late_share: Which share of the steps these last ones are.
        branches: Of the blocks' 3x3 filters (nets/branches.py).
        loss: Between pixels of 0..1.

    Raises:
        SrTvmError: A number is out of range.
    """

    architecture: Architecture | IntegerFile
    steps: Interval = 12000
    batch: Batch = 4
    patch: Patch = 32
    lr: Rate = 6e-3
    seed: Seed = 0
    ema: Average = 0.999
    validate_every: Interval = 500
    warmup: Steps = 0
    clip: Clip = 0.5
    init: WeightsFile | None = None
    teacher: WeightsFile | None = None
    teacher_share: Share = 0.5
    teacher_ensemble: bool = False
    precision: Precision = "float32"
    optimizer: Annotated[str, one_of(OPTIMIZERS)] = "muon"
    detail: Detail = 0.0
    shuffle: bool = False
    weights: tuple[tuple[str, Amount], ...] = ()
    late_patch: LatePatch = 0
    late_share: Share = 0.2
    branches: Annotated[str, one_of(BRANCHES)] = "none"
    loss: Annotated[str, one_of(LOSSES)] = "l1"

    @override
    def check(self) -> None:
        if 0 < self.late_patch < 8:
            raise RecordError(f"late patch is {self.late_patch}; 0, for none, or a number from 8 to 1024 is needed")
        if isinstance(self.architecture, IntegerFile):
            for name, only in (("init", None), ("branches", "none"), ("precision", "float32"), ("optimizer", "adam")):
                if getattr(self, name) != only:
                    raise RecordError(f"{name} is {getattr(self, name)}; a network in integers allows only {only}")

    def to_json(self) -> dict[str, Any]:
        """Give the settings in the JSON form that a checkpoint remembers.

        Returns:
            All fields; files by their names and digests.
        """
        plain = structs.asdict(self)
        files = {name: plain[name] and str(plain[name]) for name in ("init", "teacher")}
        files["weights"] = dict(self.weights)
        return plain | files | {"architecture": self.architecture.to_json()}

    @property
    def patches(self) -> set[int]:
        """The sides of patches, in low-resolution pixels, that the run comes to."""
        return {self.shape(step)[1] for step in (0, self.steps - 1)}

    def shape(self, step: int) -> tuple[int, int]:
        """Give the size of a step's batch.

        Args:
            step: From 0.

        Returns:
            How many patches it has, and their side in low-resolution pixels.
        """
        if not self.late_patch or step < self.steps * (1 - self.late_share):
            return self.batch, self.patch
        return max(1, self.batch * self.patch**2 // self.late_patch**2), self.late_patch

    @property
    def pixels(self) -> int:
        """How many low-resolution pixels all steps learn from."""
        late = sum(self.shape(step)[1] != self.patch for step in range(self.steps)) if self.late_patch else 0
        size, patch = self.shape(self.steps - 1)
        return (self.steps - late) * self.batch * self.patch**2 + late * size * patch**2

    def learning_rate(self, step: int) -> float:
        """Give Adam's rate: a cosine from ``lr`` towards zero at ``steps``, times a straight rise in the warmup.

        Args:
            step: From 0.

        Returns:
            The rate, above 0.
        """
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))
