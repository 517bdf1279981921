"""When each stage runs, how many rows its line buffer keeps, and where in the workspace all lies. Free of TVM."""

from __future__ import annotations

from dataclasses import dataclass

from sr_tvm.regions.delays import timetable
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.stages import RowStage


@dataclass(frozen=True)
class LineBuffer:
    """The last rows of one value in the workspace; row y of the picture is in slot y modulo ``rows``.

    Attributes:
        base: offset of the first slot, in elements.
        rows: slots.
        floats: elements of one row, all channels of it.
    """

    base: int
    rows: int
    floats: int  # of one row


@dataclass(frozen=True)
class RowPlan:
    """When the stages of a kernel run and where its line buffers lie; offsets are in elements of the workspace.

    Attributes:
        delay: steps each stage runs behind the first load.
        reach: steps a stage makes above and below the rows of the results that are asked for.
        line_buffers: by value.
        halo: pixels a result depends on to the left and right; even with two phases.
        zero: offset of a row of zeros, for what lies above and below the picture.
        scratch: offset of the tiles.
    """

    delay: tuple[int, ...]
    reach: tuple[int, ...]
    line_buffers: dict[str, LineBuffer]
    halo: int
    zero: int
    scratch: int


def plan_stages(stages: tuple[RowStage, ...], layout: RowLayout) -> RowPlan:
    """Plan when each stage runs and how many rows its line buffer keeps.

    Delays follow from producers to readers, the rows and pixels that are needed around a result from readers to
    producers. A line buffer keeps the rows that are alive at once.

    Args:
        stages: Producers first.
        layout: Of the rows: those of a step, phases, and the elements of a channel of a strip.

    Returns:
        The timetable, and the places of line buffers, zeros and scratch.
    """
    step = layout.rows
    maker = {stage.value: i for i, stage in enumerate(stages) if stage.result is None}
    delay, live = timetable([{maker[v]: halo for v, halo in stage.reads.items()} for stage in stages], step)
    reach = [0] * len(stages)
    columns = [0] * len(stages)
    for i in reversed(range(len(stages))):
        for value, halo in stages[i].reads.items():
            j = maker[value]
            reach[j] = max(reach[j], reach[i] + -(-halo // step))
            columns[j] = max(columns[j], columns[i] + _column_halo(stages[i], value))
    line_buffers: dict[str, LineBuffer] = {}
    top = 0
    for stage in stages:
        if stage.result is not None:
            continue
        line_buffer = line_buffers[stage.value] = LineBuffer(
            top, live[maker[stage.value]], stage.channels * layout.channel
        )
        top += line_buffer.rows * line_buffer.floats
    zero = top
    top += max((line_buffer.floats for line_buffer in line_buffers.values()), default=0)
    halo = -(-max(columns) // layout.phases) * layout.phases
    return RowPlan(tuple(delay), tuple(reach), line_buffers, halo, zero, top)


def _column_halo(stage: RowStage, value: str) -> int:
    terms = stage.layers[0].terms if stage.layers else ()
    return max((t.weight.shape[3] // 2 for t in terms if value in t.inputs), default=0)
