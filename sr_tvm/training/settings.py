"""What a training run is asked to do; a checkpoint remembers it, and a resumed run must be asked the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import COLOURS, SCALES, Architecture
from sr_tvm.system.files import sha256

if TYPE_CHECKING:
    from sr_tvm.quantize.network import IntegerNetwork

PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("muon", "adam")
LOSSES = ("l1", "charbonnier", "l2")
BRANCHES = ("none", "sum", "edges", "product")


@dataclass(frozen=True)
class WeightsFile:
    """A weights file that a run begins with or learns from; ``digest`` tells whether it is still the same."""

    path: Path
    digest: str

    @classmethod
    def of(cls, path: str | Path) -> WeightsFile:
        """
        Raises:
            SrTvmError: the file cannot be read.
        """
        try:
            return cls(Path(path), sha256(path)[:16])
        except OSError as error:
            raise SrTvmError(f"{path}: {(error.strerror or str(error)).lower()}; name a weights file") from None

    def __str__(self) -> str:
        return f"{self.path.name} (sha256 {self.digest})"


@dataclass(frozen=True)
class IntegerFile:
    """An int8 ONNX file whose network is trained in integers; ``digest`` tells whether it is still the same."""

    path: Path
    digest: str
    scale: int

    @classmethod
    def of(cls, path: str | Path) -> IntegerFile:
        """Read what must be known of it.

        Raises:
            SrTvmError: the file cannot be read, is not quantised, or does not enlarge RGB by 2, 3 or 4.
        """
        digest = WeightsFile.of(path).digest
        network = cls(Path(path), digest, 1).network()
        if network.shuffle not in SCALES or network.channels(network.picture.name) != COLOURS:
            raise SrTvmError(f"{path}: only networks that enlarge RGB by {', '.join(map(str, SCALES))} are trained")
        return cls(Path(path), digest, network.shuffle)

    def network(self) -> IntegerNetwork:
        """Read the network.

        Raises:
            SrTvmError: as :meth:`of`.
        """
        from sr_tvm.quantize.qdq_read import from_onnx, is_quantized

        if not is_quantized(self.path):
            raise SrTvmError(f"{self.path}: not quantised; make an int8 file of it by sr-tvm quantize")
        return from_onnx(self.path)

    def to_json(self) -> dict[str, Any]:
        return {"integers": self.path.name, "sha256": self.digest, "scale": self.scale}


@dataclass(frozen=True)
class TrainingSettings:
    """One run.

    ``architecture`` is that of a float network, or the file of one in integers: its weights are then trained as they
    are rounded (quantisation-aware training, Jacob et al. 2018, section 3).

    ``patch`` is in low-resolution pixels. ``lr`` is Adam's at the start of the cosine, which it reaches in ``warmup``
    steps; ``clip`` is the largest norm of the gradients, 0 for none. ``init`` is what the network begins as, sliced if
    it is larger. ``teacher`` is a network whose output, or with ``teacher_ensemble`` the mean of its output over all
    turns and mirrors of a picture, is aimed at beside the truth: ``teacher_share`` of the loss. ``precision`` is that
    of the blocks' convolutions, ``optimizer`` that of their filters.

    Patches are drawn (drawing.py) by their gradient's energy to the power of ``detail``, 0 for all places alike, times
    the weight of the picture's folder by its name in ``weights``, 1 if it is not there; ``shuffle`` puts the colours in
    any order. In the last ``late_share`` of the steps they are of ``late_patch`` pixels, unless it is 0, and so many
    fewer that a step takes as long. ``branches`` are of the blocks' 3x3 filters (nets/branches.py).
    ``loss`` is between pixels of 0..1.

    Raises:
        SrTvmError: a number is out of range.
    """

    architecture: Architecture | IntegerFile
    steps: int = 12000
    batch: int = 4
    patch: int = 32
    lr: float = 6e-3
    seed: int = 0
    ema: float = 0.999
    validate_every: int = 500
    warmup: int = 0
    clip: float = 0.5
    init: WeightsFile | None = None
    teacher: WeightsFile | None = None
    teacher_share: float = 0.5
    teacher_ensemble: bool = False
    precision: str = "float32"
    optimizer: str = "muon"
    detail: float = 0.0
    shuffle: bool = False
    weights: tuple[tuple[str, float], ...] = ()
    late_patch: int = 0
    late_share: float = 0.2
    branches: str = "none"
    loss: str = "l1"

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 1, 10**9),
            ("batch", 1, 4096),
            ("patch", 8, 1024),
            ("seed", 0, 2**32 - 1),
            ("validate_every", 1, 10**9),
            ("warmup", 0, 10**9),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SrTvmError(f"{name.replace('_', ' ')} is {value}; a whole number from {low} to {high} is allowed")
        if not (math.isfinite(self.lr) and 0 < self.lr <= 1):
            raise SrTvmError(f"lr is {self.lr}; a number above 0, at most 1, is allowed")
        if not 0 <= self.ema < 1:
            raise SrTvmError(f"ema is {self.ema}; a number from 0 to below 1 is allowed")
        if not 0 <= self.clip < math.inf:
            raise SrTvmError(f"clip is {self.clip}; a number from 0, which is for none, is allowed")
        if not 0 <= self.teacher_share <= 1:
            raise SrTvmError(f"teacher share is {self.teacher_share}; a number from 0 to 1 is allowed")
        if self.late_patch and not 8 <= self.late_patch <= 1024:
            raise SrTvmError(f"late patch is {self.late_patch}; 0, for none, or a number from 8 to 1024 is allowed")
        if not 0 <= self.late_share <= 1:
            raise SrTvmError(f"late share is {self.late_share}; a number from 0 to 1 is allowed")
        if not 0 <= self.detail <= 2:
            raise SrTvmError(f"detail is {self.detail}; a number from 0, for all places alike, to 2 is allowed")
        for folder, weight in self.weights:
            if not 0 <= weight < math.inf:
                raise SrTvmError(f"weight of {folder} is {weight}; a number from 0, which leaves it out, is allowed")
        words = {"precision": PRECISIONS, "optimizer": OPTIMIZERS, "branches": BRANCHES, "loss": LOSSES}
        for name, known in words.items():
            if getattr(self, name) not in known:
                raise SrTvmError(f"{name} is {getattr(self, name)!r}; {' or '.join(known)} is allowed")
        if isinstance(self.architecture, IntegerFile):
            for name, only in (("init", None), ("branches", "none"), ("precision", "float32"), ("optimizer", "adam")):
                if getattr(self, name) != only:
                    raise SrTvmError(f"{name} is {getattr(self, name)}; a network in integers allows only {only}")

    def to_json(self) -> dict[str, Any]:
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        files = {name: plain[name] and str(plain[name]) for name in ("init", "teacher")}
        files["weights"] = dict(self.weights)
        return plain | files | {"architecture": self.architecture.to_json()}

    @property
    def patches(self) -> set[int]:
        """The sizes of patches that the run comes to."""
        return {self.shape(step)[1] for step in (0, self.steps - 1)}

    def shape(self, step: int) -> tuple[int, int]:
        """How many patches of which size a step learns from."""
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
        """Of step 0, 1, ...: a cosine from ``lr`` towards zero at ``steps``, times a straight rise in the warmup."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))
