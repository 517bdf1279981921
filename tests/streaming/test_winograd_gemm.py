"""Wide convolutions as Winograd's products: what PyTorch computes, at any size and by any plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
import torch
import tvm
import tvm_ffi
from harness import HOST, QUICK, check, module_of, random_inputs, run_kernels
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qemu import PHONE, check_emulated, needs_qemu
from region_nets import SIDES, Builder
from region_reference import evaluate

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.codegen.winograd import POINTS, TAPS, matrices
from sr_tvm.regions.region import Region, Result
from sr_tvm.runners.threads import run_with_threads
from sr_tvm.targets.cpu.gemm.lowering import ACTIVATIONS, choose, winograd_gemm, worth
from sr_tvm.targets.cpu.gemm.writer import GemmLayer, GemmPlan

L2 = 1 << 20
AVX512, AVX2, NEON = (16, 32), (8, 16), (4, 32)


@dataclass(frozen=True)
class Winograd:
    """As a lowering, for the shared harness."""

    lanes: int = 16
    registers: int = 32
    plan: GemmPlan | None = None
    name: str = "winograd-gemm"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        kernel = winograd_gemm(region, shape, name, self.lanes, self.registers, L2, self.plan)
        assert kernel is not None
        return [kernel]


def layer(inputs: int, outputs: int, activation: str | None = "relu", seed: int = 0) -> Region:
    build = Builder(np.random.default_rng(seed))
    value = build.conv((build.source(inputs),), outputs, (TAPS, TAPS))
    return build.region((Result(build.pointwise(value, activation) if activation else value),))


@st.composite
def plans(draw: st.DrawFn, height: int) -> GemmPlan:
    m = draw(st.sampled_from((2, 4)))
    down = -(-height // m)
    rows = draw(st.sampled_from([r for r in range(1, down + 1) if down % r == 0]))
    lanes, vectors, tiles = draw(st.sampled_from((4, 8, 16))), draw(st.integers(1, 4)), draw(st.integers(1, 7))
    return GemmPlan(m, lanes, vectors, tiles, rows, draw(st.booleans()), draw(st.sampled_from((1, 2, 4))))


@settings(max_examples=16, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_any_layer_by_any_plan(data: st.DataObject) -> None:
    width = st.sampled_from((1, 3, 8, 13, 16, 17, 33))
    region = layer(data.draw(width), data.draw(width), data.draw(st.sampled_from((None, *ACTIVATIONS))))
    size = (data.draw(st.integers(1, 2)), data.draw(st.sampled_from(SIDES)), data.draw(st.sampled_from(SIDES)))
    check(Winograd(plan=data.draw(plans(size[1]))), region, size, size, QUICK)


@pytest.mark.parametrize("vectors", [AVX512, AVX2, NEON])
@pytest.mark.parametrize("size", [(1, 14, 14), (1, 33, 61), (2, 5, 30)])
def test_chosen_plans_at_full_speed(vectors: tuple[int, int], size: tuple[int, int, int]) -> None:
    check(Winograd(*vectors), layer(70, 40), size, size, HOST)


def test_wide_layers_stay_within_the_error() -> None:
    region, size = layer(512, 64, None), (1, 14, 14)
    inputs = random_inputs(region, size)
    got = run_kernels(Winograd().lower(region, size, "f"), inputs)[region.results[0].value, 1]
    (want,) = evaluate(region, inputs, torch.float64).values()
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("size", [(1, 14, 14), (1, 64, 64)], ids=["split", "bands"])
def test_threads_do_not_change_the_result(size: tuple[int, int, int]) -> None:
    region = layer(64, 96)
    inputs, kernels = random_inputs(region, size), Winograd().lower(region, size, "f")
    found = [
        run_with_threads(threads, lambda: run_kernels(kernels, inputs)[region.results[0].value, 1])
        for threads in (1, 2)
    ]
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("m", POINTS)
def test_matrices_are_those_of_a_convolution(m: int) -> None:
    a, g, b = matrices(m)
    x, taps = [Fraction(3 * i + 1, 7) for i in range(m + 2)], [Fraction(2), Fraction(-5), Fraction(1, 3)]

    def times(rows: tuple[tuple[Fraction, ...], ...], v: list[Fraction]) -> list[Fraction]:
        return [sum((r * e for r, e in zip(row, v, strict=True)), Fraction(0)) for row in rows]

    y = times(a, [p * q for p, q in zip(times(g, taps), times(b, x), strict=True)])
    assert y == [sum(taps[k] * x[i + k] for k in range(TAPS)) for i in range(m)]


def test_what_it_is_not_for() -> None:
    build = Builder(np.random.default_rng(0))
    source = build.source(8)
    small = build.region((Result(build.conv((source,), 8, (1, 1))),))
    build = Builder(np.random.default_rng(0))
    grouped = build.region((Result(build.conv((build.source(8),), 8, (3, 3), groups=2)),))
    build = Builder(np.random.default_rng(0))
    shuffled = build.region((Result(build.conv((build.source(8),), 8, (3, 3)), 2),))
    build = Builder(np.random.default_rng(0))
    inner = build.conv((build.source(8),), 8, (3, 3))
    both = build.region((Result(inner), Result(build.pointwise(inner, "relu"))))
    for region in (small, grouped, shuffled, both):
        assert winograd_gemm(region, (1, 8, 8), "f") is None
        assert not worth(region, (1, 8, 8), 1)
    for shape in ((None, 8, 8), (1, None, 8), (1, 8, None)):
        assert winograd_gemm(layer(8, 8), shape, "f") is None


def test_worth_it_for_wide_layers_only() -> None:
    assert worth(layer(64, 64), (1, 224, 224), L2)
    assert worth(layer(512, 512), (1, 14, 14), L2)
    assert not worth(layer(24, 24), (1, 360, 640), L2)
    assert not worth(layer(3, 64), (1, 224, 224), L2)
    assert not worth(layer(512, 512), (1, 2, 2), L2)


def test_plans_of_vgg() -> None:
    def plan(inputs: int, outputs: int, side: int) -> GemmPlan:
        return choose(GemmLayer(1, inputs, outputs, side, side), *AVX512, L2)

    bands = GemmPlan(4, 16, 2, 14, 1, split=False)
    assert plan(64, 64, 224) == plan(128, 128, 112) == plan(256, 256, 56) == bands
    assert plan(512, 512, 28) == GemmPlan(4, 16, 4, 7, 7, split=True)
    assert plan(512, 512, 14) == replace(bands, rows=4, split=True)
    assert plan(64, 64, 640) == bands, "a row of tiles over L2 is still better than the whole picture's V in memory"


def test_plans_for_few_registers_do_not_spill() -> None:
    for inputs, side in ((64, 224), (512, 28), (512, 14)):
        plan = choose(GemmLayer(1, inputs, inputs, side, side), *AVX2, L2)
        assert plan.vectors * plan.tiles + plan.vectors + 1 < AVX2[1] and plan.unroll == 2


def test_equal_layers_have_equal_functions() -> None:
    first, second = (Winograd().lower(layer(32, 48, seed=s), (1, 16, 16), "f")[0] for s in (0, 1))
    assert tvm_ffi.structural_equal(first.functions["f"], second.functions["f"])
    assert not np.array_equal(first.constants[0].numbers, second.constants[0].numbers)


def test_it_compiles_for_a_phone() -> None:
    code = tvm.compile(module_of(Winograd(*NEON).lower(layer(24, 24), (1, 12, 12), "f")), target=PHONE)
    assert "fmla" in code.mod.inspect_source("asm")


@needs_qemu
def test_it_is_right_on_a_phone() -> None:
    check_emulated(Winograd(*NEON), layer(20, 13), [(1, 9, 18)], (1, 9, 18))
