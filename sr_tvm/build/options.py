"""How a model is compiled, and what is known of it: two records that travel through the build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr_tvm.regions.value import FLOAT32


@dataclass(frozen=True)
class CompileOptions:
    """Choices of a build, whatever the model.

    Attributes:
        database: a folder of tuning records, which come before the shipped ones.
        use_shipped_log: whether the records that are shipped for the target are used.
        dtype: what streaming kernels compute in, or on a GPU keep numbers in, where the target can.
        host: the machine whose CPU calls the kernels, where the target has a choice; None for its default.
        mcpu: the processor, where the target has a choice; None for its default.
        verification: what the artifact tells of a verification of its kernels, as JSON; None where there was none.
    """

    database: str | Path | None = None
    use_shipped_log: bool = True
    dtype: str = FLOAT32
    host: str | None = None
    mcpu: str | None = None
    verification: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """An input and the output that it must give, both float32 of shape (N, C, H, W)."""

    given: np.ndarray
    wanted: np.ndarray

    def save(self, path: Path) -> None:
        """Write the example as an .npz file of two arrays, ``given`` and ``wanted``.

        Args:
            path: Of the file.
        """
        np.savez(path, given=self.given, wanted=self.wanted)


@dataclass(frozen=True)
class ModelFacts:
    """What an artifact tells of the model it was compiled from.

    Attributes:
        model: its file name; ``sha256`` that of its content.
        output_names: of its outputs, in order.
        architecture: as the exporter wrote it into the file; None for a foreign one.
        halo: pixels to each side that an output pixel depends on; None where it can't be tiled.
        example: what the model makes of a small picture, by other code than ours; None where nobody computed it.
    """

    model: str = "module"
    sha256: str = ""
    output_names: tuple[str, ...] = ()
    architecture: Mapping[str, Any] | None = None
    halo: int | None = None
    example: Example | None = None
