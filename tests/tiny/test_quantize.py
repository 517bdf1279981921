"""The definition of an integer network, by hand; calibration; and what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from quantize_nets import bytes_only, fsrcnn, pictures, wdsr

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import floating, reference
from sr_tvm.quantize.blends import blend
from sr_tvm.quantize.calibrate import Calibration, calibrate
from sr_tvm.quantize.network import (
    S16,
    U8,
    IntegerNetwork,
    Meaning,
    Narrow,
    QuantizedConvolution,
    QuantizedInput,
    QuantizedSum,
    Residual,
    halfwords,
    macs,
    sums,
)  # fmt: skip
from sr_tvm.quantize.plan import plan
from sr_tvm.regions.region import Pointwise, Region, Result


def meaning(channels: int, zero: int = 0) -> Meaning:
    return Meaning(np.full(channels, 1 / 255), np.full(channels, zero))


def one(weight: list[list[int]], bias: list[int], shift: int, multiplier=None, dtype: str = U8) -> IntegerNetwork:
    """A 1x1 convolution."""
    w = np.array(weight, np.int8)[:, :, None, None]
    m = None if multiplier is None else np.array(multiplier, np.int16)
    conv = QuantizedConvolution("y", ("x",), w, np.array(bias, np.int32), shift, m, dtype, meaning(len(bias)))
    return IntegerNetwork((QuantizedInput("x", meaning(w.shape[1])), conv), 1)


def pixels(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(len(values), 1, 1)


class TestDefinition:
    def test_halves_are_rounded_up(self):
        network = one([[1]], [0], 1, dtype=S16)
        assert [reference.run(network, pixels(v)).item() for v in (1, 2, 3)] == [1, 1, 2]
        assert reference.run(one([[-1]], [0], 1, dtype=S16), pixels(3)).item() == -1

    def test_bytes_saturate_at_both_ends(self):
        assert reference.run(one([[127]], [0], 0), pixels(255)).item() == 255
        assert reference.run(one([[-1]], [0], 0), pixels(9)).item() == 0

    def test_halfwords_saturate_before_the_multiplier(self):
        network = one([[127]], [1 << 20], 0, [16384], S16)
        assert reference.run(network, pixels(1)).item() == 16384  # half of 32767, rounded up

    def test_outside_of_the_picture_lies_the_zero_point(self):
        weight = np.zeros((1, 1, 3, 3), np.int8)
        weight[0, 0, 0, 1] = 1  # what is above
        conv = QuantizedConvolution("y", ("x",), weight, np.zeros(1, np.int32), 0, None, U8, meaning(1))
        network = IntegerNetwork((QuantizedInput("x", meaning(1, 77)), conv), 1)
        assert reference.run(network, np.array([[[1], [2]]], np.uint8)).ravel().tolist() == [77, 1]

    def test_a_residual_and_a_sum(self):
        nodes = one([[10]], [5], 0, dtype=S16).nodes
        residual = IntegerNetwork((*nodes, Residual("z", ("y", "x"), 64, 6, meaning(1))), 1)
        assert reference.run(residual, pixels(7)).item() == (75 + 7 * 64 + 32) >> 6
        twice = IntegerNetwork((*nodes, replace(nodes[1], name="v"), QuantizedSum("z", ("y", "v"), 2, meaning(1))), 1)
        assert reference.run(twice, pixels(7)).item() == (150 + 2) >> 2

    def test_a_sum_in_16_bits_and_the_bytes_of_it(self):
        nodes = one([[10]], [5], 0, dtype=S16).nodes
        both = (*nodes, replace(nodes[1], name="v"), QuantizedSum("z", ("y", "v"), 0, meaning(1), S16))
        whole = IntegerNetwork((*both, Narrow("n", ("z",), 6, meaning(1))), 1)
        assert reference.values(whole, pixels(7))["z"].item() == 150 and reference.run(whole, pixels(7)).item() == 2
        high = one([[127]], [1 << 20], 0, dtype=S16).nodes
        both = (*high, replace(high[1], name="v"), QuantizedSum("z", ("y", "v"), 0, meaning(1), S16))
        assert reference.run(IntegerNetwork(both, 1), pixels(1)).item() == 32767

    def test_the_shuffle_is_pytorchs(self):
        value = np.arange(12, dtype=np.uint8).reshape(12, 1, 1)
        assert reference.shuffled(value, 2)[1].tolist() == [[4, 5], [6, 7]]

    def test_sums_of_many_terms_are_exact(self):
        """Beyond 2 ** 24 a float32 is not."""
        rng = np.random.default_rng(0)
        weight = rng.integers(100, 128, (1, 900, 1, 1)).astype(np.int8)
        conv = QuantizedConvolution("y", ("x",), weight, np.ones(1, np.int32), 12, None, S16, meaning(1))
        x = rng.integers(200, 256, (900, 1, 1)).astype(np.uint8)
        wanted = int(weight.astype(int).ravel() @ x.astype(int).ravel()) + 1
        assert reference.accumulate(conv, x, np.zeros(900, np.int64)).item() == wanted > 1 << 24


class TestBends:
    """PReLU by hand."""

    @pytest.mark.parametrize(("slope", "wanted"), [(16384, [25, 30, 40]), (-32768, [40, 30, 40]), (0, [30, 30, 40])])
    def test_of_a_convolution(self, slope, wanted):
        """Byte - 20 in quarters, zero point 30."""
        node = QuantizedConvolution(
            "y", ("x",), np.full((1, 1, 1, 1), 4, np.int8), np.array([-80], np.int32), 0, None, U8, meaning(1, 30),
            np.array([slope], np.int16), 2,
        )  # fmt: skip
        network = IntegerNetwork((QuantizedInput("x", meaning(1)), node), 1)
        assert [reference.run(network, pixels(v)).item() for v in (10, 20, 30)] == wanted

    @pytest.mark.parametrize(("slope", "wanted"), [(0.5, [5, 10, 30]), (2.0, [-10, 10, 30]), (-1.0, [20, 10, 30])])
    def test_of_bytes(self, slope, wanted):
        """Bytes of zero point 20, of the result 10, twice as large; a slope over 1 takes the smaller."""
        made = blend("y", ("x",), np.full((1, 1), 2.0), np.array([slope / 2]) * 2, np.array([50.0]), meaning(1, 50))
        network = IntegerNetwork((QuantizedInput("x", meaning(1, 20)), made), 1)
        found = [reference.run(network, pixels(v)).item() - 40 for v in (15, 20, 30)]
        assert found == [10 + int(slope * -10), 10, 30], wanted

    def test_a_factor_no_multiplier_reaches_is_refused(self):
        with pytest.raises(SrTvmError, match="y: bytes would be multiplied by 70; up to 64 is possible"):
            blend("y", ("x",), np.full((1, 1), 70.0), None, np.zeros(1), meaning(1))


class TestBounds:
    def test_no_picture_leaves_them(self):
        rng = np.random.default_rng(3)
        network = one(rng.integers(-128, 128, (4, 9)).tolist(), [100, -5, 0, 7], 3, [9000, 20000, 1, 32767], S16)
        conv = network.nodes[1]
        low, high = sums(conv)
        extreme = np.where(conv.weight[:, :, 0, 0] > 0, 255, 0).astype(np.uint8)
        reached = [
            reference.accumulate(conv, x.reshape(9, 1, 1), np.zeros(9)).ravel()[o] for o, x in enumerate(extreme)
        ]
        assert reached == high.tolist() and (low < 0).all()
        least, most = halfwords(conv)
        for _ in range(50):
            made = reference.run(network, rng.integers(0, 256, (9, 1, 1)).astype(np.uint8))
            assert least <= made.min() and made.max() <= most

    def test_a_sum_that_may_overflow_is_refused(self):
        with pytest.raises(SrTvmError, match="y: a sum of its int8 products may leave 31 bits"):
            one([[127]], [(1 << 30) - 5], 3)


class TestCalibration:
    @pytest.fixture(scope="class")
    def region(self) -> Region:
        return wdsr([(20, 7)], channels=8)

    @pytest.mark.parametrize("how", [Calibration(), Calibration(multipliers=True), Calibration(adapt=False)])
    def test_the_integers_are_near_the_floats(self, region, how):
        network = calibrate(region, pictures(), how)
        x = pictures()[2]
        exact = reference.shuffled(floating.values(region, x.astype(np.float32) / 255)["y"] * 255, 2)
        inside = (exact > 0) & (exact < 255)
        error = (reference.run(network, x) - exact)[inside]
        assert np.sqrt(np.mean(error**2)) < 0.1 * exact[inside].std(), (np.sqrt(np.mean(error**2)), exact[inside].std())
        assert abs(error.mean()) < 0.02 * exact[inside].std()

    def test_values_of_the_residual_path_share_their_scales(self, region):
        network = calibrate(region, pictures())
        first, last = network.by_name["f0"].meaning, network.by_name["f1"].meaning
        assert np.array_equal(first.scale, last.scale) and np.array_equal(first.zero_point, last.zero_point)

    def test_a_residual_path_in_16_bits_loses_less(self):
        region, x = wdsr([(20, 7)] * 8, channels=8, seed=1), pictures()[2]
        for node in region.nodes:
            if node.name[0] == "s":
                node.weight[:] *= 0.03  # blocks that add little, as trained ones do
        exact, errors, forms = floating.values(region, x.astype(np.float32) / 255)["f8"], [], []
        for halfwords_ in (True, False):
            network = calibrate(region, pictures(), Calibration(halfwords=halfwords_))
            made = network.by_name["f8"].meaning.real(reference.values(network, x)["f8"])
            errors.append(np.square(made - exact).mean())
            forms.append({type(node) for node in network.nodes})
        assert Narrow in forms[0] and Residual not in forms[0] and Residual in forms[1] and Narrow not in forms[1]
        assert errors[0] < 0.9 * errors[1]

    def test_one_picture_is_enough_with_a_warning(self, region):
        told: list[str] = []
        network = calibrate(region, pictures(1), Calibration(adapt=False), warn=told.append)
        assert [line.split(":")[0] for line in told] == ["calibrated with 1 picture alone"]
        assert reference.run(network, pictures(1)[0]).std() > 10
        calibrate(region, pictures(4), Calibration(adapt=False), warn=told.append)
        assert len(told) == 1

    def test_no_pictures_are_refused(self, region):
        with pytest.raises(SrTvmError, match="no pictures to calibrate with"):
            calibrate(region, [])

    def test_pictures_of_one_colour_are_refused(self, region):
        with pytest.raises(SrTvmError, match="of a single colour each"):
            calibrate(region, [np.zeros((3, 8, 8), np.uint8)] * 5)

    def test_an_operator_without_integer_form_is_named(self, region):
        scale = Pointwise("scaled", ("f0",), "scale", (np.full(8, 0.1, "float32"),), 8)
        with pytest.raises(SrTvmError, match="scaled: 'scale' has no integer form"):
            plan(Region((*region.nodes[:3], scale), (Result("scaled", 2),)))

    @pytest.mark.parametrize("name", ["fsrcnn", "bytes"])
    def test_values_with_prelus_are_near_the_floats(self, name):
        region = fsrcnn() if name == "fsrcnn" else bytes_only()
        colours = region.sources[0].channels
        network = calibrate(region, [p[:colours] for p in pictures()], Calibration(adapt=False))
        x = pictures()[2][:colours]
        exact, made = floating.values(region, x.astype(np.float32) / 255), reference.values(network, x)
        for node in network.nodes[1:-1]:
            if node.dtype == U8:
                real = node.meaning.real(made[node.name])
                error = np.sqrt(np.mean((real - exact[node.name]) ** 2))
                assert error < 0.03 * exact[node.name].std(), (node.name, error, exact[node.name].std())

    def test_a_relu_on_a_residual_path_is_one(self):
        """Its bytes share their zero point with values below zero, so saturation is not enough."""
        region = wdsr([(8, 4)], channels=8)
        nodes = list(region.nodes)
        nodes.insert(3, Pointwise("positive", ("f0",), "relu", (), 8))
        moved = [replace(n, inputs=tuple("positive" if i == "f0" else i for i in n.inputs)) for n in nodes[4:]]
        network = calibrate(Region((*nodes[:4], *moved), region.results), pictures(), Calibration(adapt=False))
        node = network.by_name["positive"]
        assert node.meaning.zero_point[0] > 0
        made = reference.values(network, pictures()[0])["positive"]
        assert made.min() == node.meaning.zero_point[0] and made.max() > made.min() + 50


def test_zero_taps_are_not_multiplied_but_dead_outputs_count():
    weight = np.zeros((3, 2, 1, 3), np.int8)
    weight[0, 1, 0, 1] = 1  # one tap of three, for both inputs; output 2 is dead, and in the graph
    weight[1] = 1
    conv = QuantizedConvolution("y", ("x",), weight, np.zeros(3, np.int32), 0, None, U8, meaning(3))
    assert macs(conv) == (1 + 3 + 3) * 2
    assert macs(replace(conv, filled=(1, 1))) == (1 + 3) * 1
