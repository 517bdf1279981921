"""What a training run is asked to do; a checkpoint remembers it, and a resumed run must be asked the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from sr_tvm.architecture import Architecture
from sr_tvm.errors import SrTvmError


@dataclass(frozen=True)
class Settings:
    """One run. ``patch`` is in low-resolution pixels, ``lr`` is Adam's at the start of the cosine.

    Raises:
        SrTvmError: a number is out of range.
    """

    architecture: Architecture
    steps: int = 12000
    batch: int = 16
    patch: int = 48
    lr: float = 2e-3
    seed: int = 0
    ema: float = 0.999
    validate_every: int = 500

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 1, 10**9),
            ("batch", 1, 4096),
            ("patch", 8, 1024),
            ("seed", 0, 2**32 - 1),
            ("validate_every", 1, 10**9),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SrTvmError(f"{name.replace('_', ' ')} is {value}; a whole number from {low} to {high} is allowed")
        if not (math.isfinite(self.lr) and 0 < self.lr <= 1):
            raise SrTvmError(f"lr is {self.lr}; a number above 0, at most 1, is allowed")
        if not 0 <= self.ema < 1:
            raise SrTvmError(f"ema is {self.ema}; a number from 0 to below 1 is allowed")

    def to_json(self) -> dict[str, Any]:
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {"architecture": self.architecture.to_json()}

    def learning_rate(self, step: int) -> float:
        """Of step 0, 1, ...: a cosine from ``lr`` towards zero at ``steps``."""
        return self.lr * 0.5 * (1 + math.cos(math.pi * step / self.steps))
