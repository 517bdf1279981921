"""The tuning of a quantised model by ``sr-tvm tune``: kinds of kernels, in a simulator's packets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sr_tvm.errors import SrTvmError

if TYPE_CHECKING:
    from sr_tvm.frontend.model import OnnxModel
    from sr_tvm.targets.target import Target
    from sr_tvm.tuning.options import TuneOptions
    from sr_tvm.tuning.tune import TuningResult

FIRST_SECONDS = 900.0  # the first program of all compiles a C library


def run(
    model: OnnxModel, target: Target, input_shape: str | None, folder: Path, options: TuneOptions, deadline: float
) -> TuningResult:
    """Tune the kernels of a quantised model in the simulator, showing a progress bar.

    Args:
        model: The model.
        target: Whose integer kernels are tuned.
        input_shape: NxCxHxW that they are measured at; None for the usual size.
        folder: Of the records and the history.
        options: Of the search.
        deadline: Seconds that a simulation may take.

    Returns:
        The packets before and after, kind by kind.

    Raises:
        SrTvmError: There is no simulator, the target has no integer kernels, or the shape is none.
    """
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()
    from sr_tvm.build.builder import ChildBuilder
    from sr_tvm.cli._tune_bar import progress_bar
    from sr_tvm.runners.hexagon_sim import HexagonSimRunner
    from sr_tvm.tuning.bench import DeviceBench
    from sr_tvm.tuning.integer_task import SIZE, find_kinds
    from sr_tvm.tuning.tune import tune

    size = SIZE if input_shape is None else _size(input_shape)
    tasks = find_kinds(model, target, size)
    builder = ChildBuilder(1, max(deadline, FIRST_SECONDS))
    with DeviceBench(builder, HexagonSimRunner(deadline)) as bench, progress_bar(options.trials, "packets") as tick:
        return tune(None, target, folder, options, bench=bench, regions=tasks, progress=tick)


def _size(text: str) -> tuple[int, int, int]:
    from sr_tvm.frontend.input_shapes import parse_open_shape

    shapes = list(parse_open_shape(text).values())
    if len(shapes) != 1 or len(shapes[0]) != 4 or not all(isinstance(n, int) for n in shapes[0]):
        raise SrTvmError(f"--input-shape {text}: the size to measure kernels at is four numbers, say 1x3x36x640")
    n, _, height, width = (int(n) for n in shapes[0])
    return n, height, width
