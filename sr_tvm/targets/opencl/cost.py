"""What a stage costs on a GPU, counted without compiling it: for the decisions of what nobody tuned."""

from __future__ import annotations

from collections.abc import Iterable

from sr_tvm.regions.region import Region
from sr_tvm.targets.opencl.decisions import StageDecisions
from sr_tvm.targets.opencl.shares import LANES, splits_of
from sr_tvm.targets.opencl.steps import Apply, Join, Load, Step, Sum, plan_steps

WEIGHT, PIXEL, OVERHEAD = 1.05, 5.0, 60.0  # issue slots to load a vector of weights, or a pixel; of a work-item besides


def groups(channels: int) -> int:
    return -(-channels // LANES)


def registers(region: Region, narrow: int, pixels: int, splits: int) -> int:
    """The vectors that a work-item holds at the same time, at most."""
    steps = plan_steps(region, narrow)
    last = {step.value: i for i, step in enumerate(steps)}
    for i, step in enumerate(steps):
        for name in _reads(step):
            last[name] = i
    most = 0
    for i, step in enumerate(steps):
        live = sum(groups(region.by_name[s.value].channels) for s in steps[: i + 1] if last[s.value] >= i)
        beside = 0
        for product in step.convs if isinstance(step, Sum) else ():
            if product.hidden is not None:
                beside = max(beside, pixels)
            elif not product.registers:
                beside = max(beside, pixels + product.conv.weight.shape[3] - 1)
        most = max(most, live * pixels // splits + beside)
    return most


def idle(decided: StageDecisions, height: int, width: int) -> float:
    """Work-items that are launched for one that has pixels of its own."""
    wide, tall = decided.pixels * decided.group[0], decided.group[1]
    return (-(-width // wide) * wide / width) * (-(-height // tall) * tall / height)


def slots(region: Region, narrow: int, decided: StageDecisions) -> float:
    """Issue slots of a pixel, about."""
    splits = splits_of(region, decided.outputs)
    pixels, total = decided.pixels, OVERHEAD * splits
    for step in plan_steps(region, narrow):
        if isinstance(step, Load):
            total += PIXEL * pixels * groups(region.by_name[step.value].channels)
        for product in step.convs if isinstance(step, Sum) else ():
            conv, hidden = product.conv, product.hidden
            outputs, inputs, tall, wide = conv.weight.shape
            weights = tall * wide * inputs * groups(outputs)
            if hidden is not None:
                weights += groups(hidden.expand.channels) * hidden.expand.weight.shape[1]
            total += WEIGHT * weights
            if not product.registers:
                total += PIXEL * splits * tall * groups(inputs) * (pixels + wide - 1)
    return float(region.macs()) + total / pixels


def best(
    region: Region, narrow: int, size: tuple[int, int], limit: int, candidates: Iterable[StageDecisions]
) -> StageDecisions:
    """The cheapest that needs at most ``limit`` vectors of registers; where none does, the one that needs fewest."""

    def rank(decided: StageDecisions) -> tuple[int, float]:
        splits = splits_of(region, decided.outputs)
        needed = registers(region, narrow, decided.pixels, splits)
        return max(needed, limit), slots(region, narrow, decided) * idle(decided, *size)

    return min(candidates, key=rank)


def _reads(step: Step) -> tuple[str, ...]:
    match step:
        case Apply() | Join():
            return step.node.inputs
        case Sum():
            found = step.centers
            for product in step.convs:
                if product.registers:
                    found += (product.hidden.expand if product.hidden else product.conv).inputs
            return found
    return ()
