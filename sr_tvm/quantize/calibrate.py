"""From a float region and pictures to an integer network: post-training quantization, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import floating, reference
from sr_tvm.quantize.blends import blend
from sr_tvm.quantize.network import (
    MOST_FRACTION,
    S16,
    U8,
    Blend,
    IntegerNetwork,
    Meaning,
    Narrow,
    Node,
    QuantizedConvolution,
    QuantizedInput,
    QuantizedSum,
    Residual,
    sums,
)
from sr_tvm.quantize.plain import BYTE_REACH, SPARE_BITS, factors, own_shifts
from sr_tvm.quantize.plan import QuantizationPlan, QuantizationStep, plan, zero_bytes
from sr_tvm.quantize.ranges import Range, best_range, joined
from sr_tvm.quantize.rounding import rounded
from sr_tvm.regions.region import Region

FRACTION_BITS = 6  # of s16 below a unit of the u8 that it is added to; 2 ** 6 is the largest power in an int8
LARGEST = 127  # of a weight
SHIFTS = range(20)
SAMPLES = 40_000  # pixels of each value that ranges are chosen from
FINER = 4  # than the bytes it is made of, that a byte between convolutions may be: more tells nothing
HEADROOM = 0.8  # of 16 bits, that what occurs may take before a PReLU
LEAST = 1e-8  # of the largest weight of an output
FEW = 4  # pictures, below which a network is told to know little of the world


@dataclass(frozen=True)
class Calibration:
    """How numbers are chosen.

    Attributes:
        multipliers: Whether sums whose scale is given (those of a residual path, and the result's) get a multiplier,
            which keeps their weights at full precision where a power of two would not.
        adapt: Whether weights are rounded such that their errors make up for one another on the pictures.
        halfwords: Whether sums of a residual path stay in 16 bits; else each is rounded to a byte.
    """

    multipliers: bool = False
    adapt: bool = True
    halfwords: bool = True


def calibrate(
    region: Region,
    pictures: Sequence[np.ndarray],
    how: Calibration | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    warn: Callable[[str], None] = lambda line: None,
) -> IntegerNetwork:
    """Quantize a float region of a whole network on pictures: post-training quantization.

    Args:
        region: The network, with one source, whose numbers are 0...1, and one result.
        pictures: (C, H, W) uint8 each, C as the source has; 24 different photographs are a good number.
        how: How numbers are chosen; None for the defaults.
        progress: Is told how many operators are done, and of how many.
        warn: Is told, as a line for people, what the result may suffer from.

    Returns:
        The network in integers, with the region's pixel shuffle.

    Raises:
        SrTvmError: There are no pictures, all are of a single colour each, or an operator has no integer form.
    """
    if not pictures:
        raise SrTvmError("no pictures to calibrate with")
    if all(int(p.min()) == int(p.max()) for p in pictures):
        raise SrTvmError("the pictures to calibrate with are of a single colour each; photographs are needed")
    if len(pictures) < FEW:
        warn(
            f"calibrated with {len(pictures)} picture{'s' if len(pictures) > 1 else ''} alone: what is not in there "
            "may come out worse; 24 different photographs are better"
        )
    return _Calibrator(region, pictures, how or Calibration()).network(progress)


@dataclass(frozen=True, eq=False)
class _Scales:
    """How the sums of a convolution become its value: a unit of the weights by output, shift, multiplier, meaning."""

    unit: np.ndarray
    shift: int
    multiplier: np.ndarray | None
    meaning: Meaning
    fraction: int = 0


@dataclass(frozen=True, eq=False)
class _Bend:
    """A PReLU as the larger of a halfword and its product with a slope of at most 1, which int16 / 32768 holds.

    Attributes:
        turn: (O,) what the convolution's weights are multiplied by: where the steeper side is that below zero, the
            halfword is that side, and the slope the inverse.
        slope: (O,) int16.
        negative: (O,) whether the value is stored as its negative: else the smaller would have to be taken.
    """

    turn: np.ndarray
    slope: np.ndarray
    negative: np.ndarray

    @classmethod
    def of(cls, slope: np.ndarray) -> _Bend:
        steep = np.abs(slope) > 1
        inverse = 1 / np.where(steep, slope, 1)
        bent = np.round(np.where(steep, inverse, slope) * 32768)
        turn = np.where(steep, -np.abs(slope), 1.0)
        return cls(turn, np.clip(bent, -32768, 32767).astype(np.int16), slope > 1)


def _turned(meaning: Meaning, negative: np.ndarray, step: QuantizationStep, whole: QuantizationPlan) -> Meaning:
    """Return a value's meaning where some channels are stored as their negative: those who read it turn them back.

    Raises:
        SrTvmError: The value is the result or on a residual path, where nothing turns channels back.
    """
    if not negative.any():
        return meaning
    if step.value == whole.result.value or any(step.value in trunk for trunk in whole.trunks):
        raise SrTvmError(f"{step.value}: a PReLU of slope over 1 has no integer form as a residual or the result")
    return Meaning(np.where(negative, -meaning.scale, meaning.scale), meaning.zero_point)


def _apart(node: QuantizedConvolution) -> QuantizedConvolution:
    """Return the convolution, its sums shifted by output first where multipliers are too far apart for 16 bits."""
    if node.multiplier is None:
        return node
    reach = BYTE_REACH if node.dtype == U8 and node.slope is None else 32767
    before = own_shifts(factors(node), node.shift, np.abs(sums(node)).max(0), reach)
    if before is None:
        return node
    return replace(node, before=before, multiplier=(node.multiplier << before.astype(np.int16)).astype(np.int16))


class _Calibrator:
    def __init__(self, region: Region, pictures: Sequence[np.ndarray], how: Calibration) -> None:
        self.region, self.pictures, self.how = region, pictures, how
        self.plan: QuantizationPlan = plan(region, self.how.halfwords)
        self.floats = [floating.values(region, p.astype(np.float32) / np.float32(255)) for p in pictures]
        self.stored: list[dict[str, np.ndarray]] = [{} for _ in pictures]
        self.nodes: dict[str, Node] = {}
        rng = np.random.default_rng(0)
        each = -(-SAMPLES // len(pictures))
        self.places = [rng.integers(0, p[0].size, min(each, p[0].size)) for p in pictures]
        self.ranges: dict[str, Range] = {}
        for trunk in self.plan.trunks:
            whole = joined([self._range(name) for name in sorted(trunk)])
            self.ranges |= dict.fromkeys(trunk, whole)

    def network(self, progress: Callable[[int, int], None]) -> IntegerNetwork:
        """Return the network, made node by node; each node sees what those before it really make of the pictures."""
        for done, step in enumerate(self.plan.steps):
            progress(done, len(self.plan.steps))
            for node in self._nodes(step):
                self.nodes[node.name] = node
                network = IntegerNetwork(tuple(self.nodes.values()), self.plan.result.shuffle)
                for picture, stored in zip(self.pictures, self.stored, strict=True):
                    made = picture if isinstance(node, QuantizedInput) else reference.compute(network, node, stored)
                    stored[node.name] = made
        progress(len(self.plan.steps), len(self.plan.steps))
        return network

    # Ranges

    def _range(self, name: str, positive: bool = False) -> Range:
        """Return the range of a float value at random places, which are the same for every value."""
        rows = [f[name].reshape(len(f[name]), -1)[:, at].T for f, at in zip(self.floats, self.places, strict=True)]
        return best_range(np.concatenate(rows), positive)

    def _meaning(self, step: QuantizationStep) -> Meaning:
        """Return what the bytes of a step's value stand for."""
        channels = self.region.by_name[step.value].channels
        if step.value == self.plan.result.value:
            return Meaning(np.full(channels, 1 / 255), np.zeros(channels, np.int64))
        found = self.ranges.get(step.value) or self._range(step.value, step.relu)
        if step.kind == "convolution" and step.slope is not None and (negative := step.slope > 1).any():
            found = Range(np.where(negative, -found.high, found.low), np.where(negative, -found.low, found.high))
        return found.meaning()

    def _slope(self, step: QuantizationStep) -> np.ndarray | None:
        """Return the slope (C,) of a step's PReLU, 0 of a ReLU whose bytes may mean less than 0; None: bytes do it."""
        if step.relu and self._meaning(step).zero_point.any():
            return np.zeros(self.region.by_name[step.value].channels)
        return step.slope

    # Nodes

    def _nodes(self, step: QuantizationStep) -> tuple[Node, ...]:
        """Return the node of a step; of a wide one, the halfwords and the bytes that are made of them."""
        if not step.wide:
            return (self._node(step),)
        name, meaning = halfword_name(step.value), self._meaning(step)
        first: Node
        if step.kind == "residual":
            branch, trunk = step.inputs
            small = Meaning(meaning.scale / (1 << FRACTION_BITS), np.zeros(len(meaning.scale), np.int64))
            first = QuantizedSum(name, (branch, halfword_name(trunk)), 0, small, S16)
        else:
            first = self._convolution(step)
        return first, Narrow(step.value, (name,), FRACTION_BITS, meaning)

    def _node(self, step: QuantizationStep) -> Node:
        match step.kind:
            case "picture":
                zero = np.clip(np.round(zero_bytes(self.region, step.value)), 0, 255).astype(np.int64)
                return QuantizedInput(step.value, Meaning(np.full(len(zero), 1 / 255), zero))
            case "residual":
                one, two = step.inputs
                return Residual(step.value, (one, two), 1 << FRACTION_BITS, FRACTION_BITS, self._meaning(step))
            case "sum":
                one, two = step.inputs
                return QuantizedSum(step.value, (one, two), FRACTION_BITS, self._meaning(step))
            case "blend":
                return self._blend(step)
        return self._convolution(step)

    def _blend(self, step: QuantizationStep) -> Blend:
        """Return the blend of a step: bytes from bytes of any scales, so each channel has the scale of its range."""
        meaning, sources = self._meaning(step), [self.nodes[name].meaning for name in step.inputs]
        slope = np.zeros(len(meaning.scale)) if step.relu else step.slope
        if step.value != self.plan.result.value and step.value not in self.ranges:
            finest = np.max([np.abs(source.scale) for source in sources], 0) / FINER
            meaning = Meaning(np.maximum(meaning.scale, finest), meaning.zero_point)
        ratios = np.array([source.scale / meaning.scale for source in sources])
        return blend(step.value, step.inputs, ratios, slope, meaning.zero_point.astype(np.float64), meaning)

    def _convolution(self, step: QuantizationStep) -> QuantizedConvolution:
        assert step.conv is not None
        source = self.nodes[step.inputs[0]]
        bent = self._slope(step)
        bend = None if bent is None else _Bend.of(bent)
        turn = np.ones(len(step.conv.weight)) if bend is None else bend.turn
        weight = step.conv.weight.astype(np.float64) * source.meaning.scale[None, :, None, None]
        weight *= turn[:, None, None, None]
        scales = self._scales(step, weight, turn)
        scaled = weight / scales.unit[:, None, None, None]
        if self.how.adapt:
            inputs = [stored[source.name] for stored in self.stored]
            quantized = rounded(scaled, inputs, source.meaning.zero_point, LARGEST)
        else:
            quantized = np.clip(np.round(scaled), -LARGEST, LARGEST).astype(np.int8)
        factor = np.ones(len(weight)) if scales.multiplier is None else scales.multiplier / 32768.0
        offset = self._offset(step, scales.meaning) / factor * 2.0**scales.shift
        dtype = S16 if step.kind == "halfword" or step.wide else U8
        name = halfword_name(step.value) if step.wide else step.value
        meaning, slope = scales.meaning, None
        if bend is not None:
            meaning, slope = _turned(meaning, bend.negative, step, self.plan), bend.slope

        def made(bias: np.ndarray) -> QuantizedConvolution:
            whole = np.round(bias).astype(np.int32)
            return QuantizedConvolution(
                name, (source.name,), quantized, whole, scales.shift, scales.multiplier, dtype, meaning, slope,
                scales.fraction,
            )  # fmt: skip

        return _apart(made(self._bias(made(np.zeros(len(weight))), step.conv.name, scales.unit / turn) + offset))

    def _bias(self, unbiased: QuantizedConvolution, name: str, unit: np.ndarray) -> np.ndarray:
        """Return what sums lack on average over the pictures, (O,): bias, zero points, what rounding has moved."""
        zero = self.nodes[unbiased.inputs[0]].meaning.zero_point
        short, pixels = np.zeros(len(unit)), 0
        for floats, stored in zip(self.floats, self.stored, strict=True):
            wanted = floats[name].reshape(len(unit), -1) / unit[:, None]
            total = reference.accumulate(unbiased, stored[unbiased.inputs[0]], zero).reshape(len(unit), -1)
            short += (wanted - total).sum(1)
            pixels += total.shape[1]
        return short / pixels

    def _offset(self, step: QuantizationStep, meaning: Meaning) -> np.ndarray:
        """Return the zero point (O,) that is added before a step's value is stored, in units of the value.

        A residual's u8 brings its own, times the factor. A sum's comes with the first of its inputs.
        """
        if self._slope(step) is not None:
            return np.zeros(len(meaning.scale))
        if step.wide:
            return (self._meaning(step).zero_point << FRACTION_BITS).astype(np.float64)
        if step.kind != "halfword":
            return meaning.zero_point.astype(np.float64)
        after = self._after(step)
        if after.kind != "sum" or after.inputs[0] != step.value:
            return np.zeros(len(meaning.scale))
        return (self._meaning(after).zero_point << FRACTION_BITS).astype(np.float64)

    def _after(self, step: QuantizationStep) -> QuantizationStep:
        return next(other for other in self.plan.steps if step.value in other.inputs)

    # Scales

    def _scales(self, step: QuantizationStep, weight: np.ndarray, turn: np.ndarray) -> _Scales:
        finest = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1), LEAST) / LARGEST
        if step.kind == "halfword" or step.wide:
            scale = self._meaning(step if step.wide else self._after(step)).scale / (1 << FRACTION_BITS)
            small = Meaning(scale, np.zeros(len(scale), np.int64))
            return self._given(small, finest, 0)
        meaning = self._meaning(step)
        fraction = 0 if self._slope(step) is None else self._fraction(step, meaning, turn)
        if step.value == self.plan.result.value or step.value in self.ranges:
            small = Meaning(meaning.scale / 2.0**fraction, meaning.zero_point)
            given = self._given(small, finest, 0 if fraction else SPARE_BITS)
            return replace(given, meaning=meaning, fraction=fraction)
        return self._free(step, meaning, finest, int(np.prod(weight.shape[1:])), fraction)

    def _fraction(self, step: QuantizationStep, meaning: Meaning, turn: np.ndarray) -> int:
        """Return the bits below a byte of halfwords before a PReLU, where they reach farther than bytes after it."""
        assert step.conv is not None
        most = np.max([np.abs(f[step.conv.name]).reshape(len(turn), -1).max(1) for f in self.floats], 0)
        reach = float((most * np.abs(turn) / meaning.scale).max())
        return int(np.clip(np.floor(np.log2(HEADROOM * 32767 / max(reach, 1.0))), 0, MOST_FRACTION))

    def _given(self, meaning: Meaning, finest: np.ndarray, spare: int) -> _Scales:
        """Return scales for a value of given scale: weights as coarse as a power of two makes them, or a multiplier."""
        shift = max(0, int(np.floor(np.log2(meaning.scale / finest).min() + 1e-9)))
        if not self.how.multipliers:
            return _Scales(meaning.scale / 2.0**shift, shift, None, meaning)
        shift = max(0, shift - spare)
        multiplier = np.clip(np.round(finest * 2.0**shift / meaning.scale * 32768), 1, 32767)
        unit = meaning.scale * multiplier / 32768 / 2.0**shift
        return _Scales(unit, shift, multiplier.astype(np.int16), meaning)

    def _free(
        self, step: QuantizationStep, meaning: Meaning, finest: np.ndarray, terms: int, fraction: int = 0
    ) -> _Scales:  # fmt: skip
        """Return scales for a value whose readers take them over: they grow until a shift is enough, at least noise."""
        energy, importance = terms * 128.0**2, self._importance(step)

        def grown(shift: int) -> np.ndarray:
            return np.maximum(finest, meaning.scale / 2.0**shift)

        def noise(shift: int) -> float:
            return float((grown(shift) ** 2 * (energy + 4.0**shift)) @ importance)

        shift = min(SHIFTS[fraction:], key=noise)
        whole = Meaning(grown(shift) * 2.0**shift, meaning.zero_point)
        return _Scales(grown(shift), shift - fraction, None, whole, fraction)

    def _importance(self, step: QuantizationStep) -> np.ndarray:
        """Return how much the square of an error of each channel counts for those that read a step's value, (C,)."""
        readers = [s.conv.weight for s in self.plan.steps if s.conv is not None and step.value in s.inputs]
        if not readers:
            return np.ones(self.region.by_name[step.value].channels)
        return np.sum([np.square(weight.astype(np.float64)).sum((0, 2, 3)) for weight in readers], 0)


def halfword_name(value: str) -> str:
    """Name the 16-bit form of a value of a residual path.

    Args:
        value: Name of the value, which is that of its bytes.

    Returns:
        The name of its halfwords.
    """
    return f"{value}_halfword"
