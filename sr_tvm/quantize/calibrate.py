"""From a float region and pictures to an integer network: post-training quantization, operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import floating, reference
from sr_tvm.quantize.network import (
    S16,
    U8,
    Convolution,
    IntegerNetwork,
    Meaning,
    Node,
    Picture,
    Residual,
    Sum,
    divided,
    multiplied,
)
from sr_tvm.quantize.plan import Plan, Step, plan, zero_bytes
from sr_tvm.quantize.ranges import Range, best_range, joined
from sr_tvm.quantize.rounding import rounded
from sr_tvm.regions.region import Region

FRACTION_BITS = 6  # of s16 below a unit of the u8 that it is added to; 2 ** 6 is the largest power in an int8
LARGEST = 127  # of a weight
SAMPLES = 40_000  # pixels of each value that ranges are chosen from
LEAST = 1e-8  # of a range


@dataclass(frozen=True)
class Calibration:
    """How numbers are chosen.

    Attributes:
        multipliers: whether sums that are no ReLU's input and no project's get a multiplier, which keeps their weights
            at full precision where a power of two would not.
        correct: whether biases make up for the mean error that rounding gives on the pictures.
        adapt: whether weights are rounded such that their errors make up for one another on the pictures.
    """

    multipliers: bool = False
    correct: bool = True
    adapt: bool = True


def calibrate(region: Region, pictures: Sequence[np.ndarray], how: Calibration | None = None) -> IntegerNetwork:
    """Quantize a float region of a whole network on ``pictures``, (C, H, W) uint8 each.

    Raises:
        SrTvmError: no picture, pictures that are all of one colour, or an operator without integer form.
    """
    if not pictures:
        raise SrTvmError("there is no picture to calibrate with; a dozen photographs do")
    if all(int(p.min()) == int(p.max()) for p in pictures):
        raise SrTvmError("the pictures to calibrate with are of a single colour each; a dozen photographs do")
    return _Calibrator(region, pictures, how or Calibration()).network()


class _Calibrator:
    def __init__(self, region: Region, pictures: Sequence[np.ndarray], how: Calibration) -> None:
        self.region, self.pictures, self.how = region, pictures, how
        self.plan: Plan = plan(region)
        self.floats = [floating.values(region, p.astype(np.float32) / np.float32(255)) for p in pictures]
        self.stored: list[dict[str, np.ndarray]] = [{} for _ in pictures]
        self.nodes: dict[str, Node] = {}
        rng = np.random.default_rng(0)
        each = -(-SAMPLES // len(pictures))
        self.places = [rng.integers(0, p[0].size, min(each, p[0].size)) for p in pictures]
        shared = {name: trunk for trunk in self.plan.trunks for name in trunk}
        self.ranges = {name: joined([self._range(n) for n in trunk]) for name, trunk in shared.items()}

    def network(self) -> IntegerNetwork:
        for step in self.plan.steps:
            node = self._node(step)
            self.nodes[node.name] = node
            network = IntegerNetwork(tuple(self.nodes.values()), self.plan.result.shuffle)
            for picture, stored in zip(self.pictures, self.stored, strict=True):
                stored[node.name] = picture if isinstance(node, Picture) else reference.compute(network, node, stored)
        return IntegerNetwork(tuple(self.nodes.values()), self.plan.result.shuffle)

    def _samples(self, name: str) -> np.ndarray:
        """(pixels, C) of the float value at random places, the same for every value."""
        rows = [f[name].reshape(len(f[name]), -1)[:, at].T for f, at in zip(self.floats, self.places, strict=True)]
        return np.concatenate(rows)

    def _range(self, name: str, positive: bool = False) -> Range:
        return best_range(self._samples(name), positive)

    def _meaning(self, step: Step) -> Meaning:
        """Of a u8 value."""
        channels = self.region.by_name[step.value].channels
        if step.value == self.plan.result.value:
            return Meaning(np.full(channels, 1 / 255), np.zeros(channels, np.int64))
        return (self.ranges.get(step.value) or self._range(step.value, step.relu)).meaning()

    def _node(self, step: Step) -> Node:
        match step.kind:
            case "picture":
                zero = np.round(zero_bytes(self.region, step.value)).astype(np.int64)
                return Picture(step.value, Meaning(np.full(len(zero), 1 / 255), np.clip(zero, 0, 255)))
            case "residual":
                return Residual(step.value, step.inputs, 1 << FRACTION_BITS, FRACTION_BITS, self._meaning(step))  # type: ignore[arg-type]
            case "sum":
                return Sum(step.value, step.inputs, FRACTION_BITS, self._meaning(step))  # type: ignore[arg-type]
        return self._convolution(step)

    def _convolution(self, step: Step) -> Convolution:
        assert step.conv is not None
        source = self.nodes[step.inputs[0]]
        weight = step.conv.weight.astype(np.float64) * source.meaning.scale[None, :, None, None]
        most = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1), LEAST)
        bias = step.conv.bias.astype(np.float64)
        if isinstance(source, Picture):  # what rounding its zero point has moved
            exact = zero_bytes(self.region, source.name)
            bias = bias + weight.sum((2, 3)) @ (source.meaning.zero_point - exact)
        if step.kind == "halfword":
            (reader,) = self.region.readers[step.value]
            after = next(s for s in self.plan.steps if s.value == reader.name)
            unit = self._meaning(after)
            first = after.inputs[0] == step.value
            meaning = Meaning(unit.scale / (1 << FRACTION_BITS), np.zeros(len(most), np.int64))
            # A residual's u8 brings its zero point times the factor, which is the sum's: nothing is left to add.
            offset = unit.zero_point << FRACTION_BITS if after.kind == "sum" and first else np.zeros(len(most), np.int64)
            free = False
        else:
            meaning = self._meaning(step)
            offset, free = meaning.zero_point, step.value != self.plan.result.value and step.value not in self.ranges
        step_size, shift, multiplier, meaning = self._scales(weight, most, meaning, free, self._importance(step))
        quantized = self._weights(step, weight, step_size)
        total = bias / step_size - quantized.astype(np.float64).sum((2, 3)) @ source.meaning.zero_point
        factor = np.ones(len(most)) if multiplier is None else multiplier / 32768.0
        total = total + offset / factor * 2.0**shift
        dtype = S16 if step.kind == "halfword" else U8
        limit = 2.0**31 - 1
        made = Convolution(
            step.value, (source.name,), quantized, np.clip(np.round(total), -limit, limit).astype(np.int32), shift,
            multiplier, dtype, meaning,
        )  # fmt: skip
        return self._corrected(made, step, step_size) if self.how.correct else made

    def _scales(
        self, weight: np.ndarray, most: np.ndarray, meaning: Meaning, free: bool, importance: np.ndarray
    ) -> tuple[np.ndarray, int, np.ndarray | None, Meaning]:
        """What a unit of the weights is by output, how sums become the value, and the value's meaning.

        Where the value's scale is ``free``, it is made such that a shift is enough, at the least expected noise.
        """
        finest = most / LARGEST
        if not free and self.how.multipliers:
            shift = max(0, int(np.floor(np.log2(meaning.scale / finest).min() + 1e-9)))
            multiplier = np.round(finest * 2.0**shift / meaning.scale * 32768)
            # The largest is at most 32767 / 32768 of a whole: its weights' unit is that much larger.
            multiplier = np.clip(multiplier, 1, 32767)
            return meaning.scale * multiplier / 32768 / 2.0**shift, shift, multiplier.astype(np.int16), meaning
        if not free:
            shift = max(0, int(np.floor(np.log2(meaning.scale / finest).min() + 1e-9)))
            return meaning.scale / 2.0**shift, shift, None, meaning
        energy = float(np.prod(weight.shape[1:])) * 128.0**2
        best: tuple[float, int, np.ndarray] | None = None
        for shift in range(0, 20):
            step = np.maximum(finest, meaning.scale / 2.0**shift)
            noise = step**2 * energy + (step * 2.0**shift) ** 2
            total = float(noise @ importance)
            if best is None or total < best[0]:
                best = total, shift, step
        assert best is not None
        _, shift, step = best
        ratio = step * 2.0**shift / meaning.scale
        # The zero point is where 0 lies in a range that only grew.
        return step, shift, None, Meaning(step * 2.0**shift, np.round(meaning.zero_point / ratio + 127.5 * (1 - 1 / ratio) * (meaning.zero_point > 0)).astype(np.int64))

    def _importance(self, step: Step) -> np.ndarray:
        """How much the square of an error of each channel counts for those that read the value."""
        readers = [s.conv.weight for s in self.plan.steps if s.conv is not None and step.value in s.inputs]
        if not readers:
            return np.ones(self.region.by_name[step.value].channels)
        return np.sum([np.square(weight.astype(np.float64)).sum((0, 2, 3)) for weight in readers], 0)

    def _weights(self, step: Step, weight: np.ndarray, unit: np.ndarray) -> np.ndarray:
        scaled = weight / unit[:, None, None, None]
        if not self.how.adapt:
            return np.clip(np.round(scaled), -LARGEST, LARGEST).astype(np.int8)
        source = self.nodes[step.inputs[0]]
        inputs = [stored[source.name] for stored in self.stored]
        return rounded(scaled, inputs, source.meaning.zero_point, LARGEST)

    def _corrected(self, made: Convolution, step: Step, unit: np.ndarray) -> Convolution:
        """Add to the bias what the sums are short of, on average over the pictures."""
        zero = self.nodes[made.inputs[0]].meaning.zero_point
        short = np.zeros(len(made.bias))
        pixels = 0
        assert step.conv is not None
        for floats, stored in zip(self.floats, self.stored, strict=True):
            wanted = floats[step.conv.name].reshape(len(short), -1) / unit[:, None]
            total = reference.accumulate(made, stored[made.inputs[0]], zero).reshape(len(short), -1)
            short += (wanted - total).sum(1)
            pixels += total.shape[1]
        factor = np.ones(len(short)) if made.multiplier is None else made.multiplier / 32768.0
        offset = self._offset(made, step) / factor * 2.0**made.shift
        bias = np.round(made.bias + short / pixels + offset).astype(np.int32)
        return Convolution(
            made.name, made.inputs, made.weight, bias, made.shift, made.multiplier, made.dtype, made.meaning
        )

    def _offset(self, made: Convolution, step: Step) -> np.ndarray:
        if made.dtype == U8:
            return made.meaning.zero_point.astype(np.float64)
        (reader,) = self.region.readers[step.value]
        after = next(s for s in self.plan.steps if s.value == reader.name)
        if after.kind != "sum" or after.inputs[0] != step.value:
            return np.zeros(len(made.bias))
        return (self._meaning(after).zero_point << FRACTION_BITS).astype(np.float64)
