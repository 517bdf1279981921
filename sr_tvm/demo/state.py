"""The state of a demo run: its settings, what its steps hand on, and what is told of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from msgspec.structs import replace

from sr_tvm.report import run_folder
from sr_tvm.report.summary import ParityRow, Summary

if TYPE_CHECKING:
    import tvm

    from sr_tvm.frontend.model import OnnxModel
    from sr_tvm.nets.wdsr import WDSR
    from sr_tvm.records.artifact import Artifact
    from sr_tvm.records.measurement import Measurement
    from sr_tvm.runners.base import Runner
    from sr_tvm.targets.target import Target


class Teller(Protocol):
    """What shows progress; the command line's prints with rich."""

    def step(self, number: int, of: int, title: str) -> None:
        """Announce a step.

        Args:
            number: Counted from 1.
            of: How many steps there are.
            title: Of the step.
        """

    def say(self, line: str) -> None:
        """Show a line on what a step has found.

        Args:
            line: Plain text.
        """

    def bar(self, what: str) -> contextlib.AbstractContextManager[Callable[[int, int, str], None]]:
        """Show a progress bar while the context lasts.

        Args:
            what: Its title.

        Returns:
            A context manager of a function that is called with (done, of how many, a word on how it stands).
        """


@dataclass(repr=False, eq=False)
class Made:
    """What the steps hand on. A field is there once its step has run; read before, it is an AttributeError.

    ``x`` (1, 3, H, W) is the input that every step runs, ``y`` PyTorch's output for it. ``plain`` is the artifact with
    default schedules, ``artifact`` the one with what tuning found. ``device`` is there while its server runs.
    """

    module: WDSR = field(init=False)
    x: np.ndarray = field(init=False)
    y: np.ndarray = field(init=False)
    onnx: Path = field(init=False)
    model: OnnxModel = field(init=False)
    relax: tvm.IRModule = field(init=False)
    target: Target = field(init=False)
    plain: Artifact = field(init=False)
    artifact: Artifact = field(init=False)
    device: Runner = field(init=False)
    measured: Measurement = field(init=False)


@dataclass
class DemoRun:
    """A run: its settings, what is handed from step to step, and the summary so far."""

    folder: Path
    trials: int
    seed: int
    weights: Path
    tell: Teller
    summary: Summary = field(default_factory=Summary)
    made: Made = field(default_factory=Made)

    def note(self, **fields: Any) -> None:
        """Put fields into the summary, and write it.

        Args:
            **fields: Of :class:`~sr_tvm.report.summary.Summary`, by name.

        Raises:
            SrTvmError: The folder cannot be written.
        """
        self.summary = replace(self.summary, **fields)
        run_folder.save(self.folder, self.summary)

    def parity(self, found: Any) -> None:
        """Tell and keep a comparison with PyTorch.

        Args:
            found: A :class:`~sr_tvm.frontend.parity.Parity` or what has its fields.

        Raises:
            SrTvmError: The outputs differ by more than is allowed.
        """
        allowed = found.tolerance * max(1.0, found.peak)  # what ``ok`` means
        row = ParityRow(found.name, found.max_abs_err, allowed, found.ok)
        self.tell.say(f"{found.name}: largest difference {found.max_abs_err:.1e}, {allowed:.1e} is allowed")
        self.note(parity=[*self.summary.parity, row])
        found.require()
