"""From TIR to a phone GPU's instructions, with Mesa's compilers; without them these skip."""

import pytest
from msgspec import structs

from sr_tvm.errors import SrTvmError
from sr_tvm.isa import system
from sr_tvm.isa.compiler import compile_source
from sr_tvm.isa.count import Count, count_sources

tvm = pytest.importorskip("tvm", reason="pip install 'sr-tvm[compile]'")

import fused_kernel  # noqa: E402

from sr_tvm.isa.modules import count_modules  # noqa: E402
from sr_tvm.isa.tir import launch_facts, lower  # noqa: E402
from sr_tvm.targets import registry  # noqa: E402


@pytest.fixture(scope="module")
def compilers() -> None:
    if why := system.missing():
        pytest.skip(why)


def stock() -> "tvm.IRModule":
    """The same two convolutions with TVM's schedules for GPUs."""
    from tvm import relax
    from tvm.s_tir import dlight

    rows, columns = 64, 128
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 24, rows, columns), "float32"))
    first = relax.Var("first", relax.TensorType((144, 24, 1, 1), "float32"))
    second = relax.Var("second", relax.TensorType((20, 144, 1, 1), "float32"))
    with builder.function("main", [x, first, second]):
        with builder.dataflow():
            wide = builder.emit(relax.op.nn.relu(relax.op.nn.conv2d(x, first)))
            out = builder.emit_output(relax.op.nn.conv2d(wide, second))
        builder.emit_func_output(out)
    target = registry.get("adreno")
    passes = [*target.legalize(), relax.transform.AnnotateTIROpPattern(), relax.transform.FuseOps(),
              relax.transform.FuseTIR(), relax.transform.DeadCodeElimination()]  # fmt: skip
    gpu = dlight.gpu
    rules = (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())
    with target.tvm_target():
        return dlight.ApplyDefaultSchedule(*rules)(tvm.transform.Sequential(passes)(builder.get()))


def useful(counts: list[Count]) -> float:
    """Multiply-accumulates that the convolutions ask for, for an issue slot."""
    return fused_kernel.MACS * fused_kernel.SIZE / sum(c.total_slots for c in counts)


def test_what_is_known_before_and_after_lowering():
    target = registry.get("adreno").tvm_target()
    _, (after,) = lower(fused_kernel.module(), target)
    before = launch_facts(fused_kernel.fused)
    for facts in (before, after):
        assert not facts.problem
        assert (facts.groups, facts.local_size, facts.items) == ((16, 1, 1), (256, 1, 1), 4096)
        assert facts.body.total("macs") == facts.body.total("multiplies") == 2 * fused_kernel.MACS
        assert facts.body.total("stores") == 4 * (7 + 10)
        assert facts.footprint == 16 * (11 * fused_kernel.SIZE + fused_kernel.VECTORS)
    assert after.name == "fused_kernel"
    assert [loop.extent for loop in after.body.inner] == [7, 36]


@pytest.mark.parametrize("gpu", ["adreno-660", "mali-g57"])
def test_the_fused_kernel_is_far_ahead_of_stock_schedules(compilers, gpu):
    target = registry.get("adreno").tvm_target()
    fused, plain = count_modules([fused_kernel.module(), stock()], target, gpu)
    assert [c.problem for c in fused + plain] == ["", "", ""]
    assert useful(fused) > 10 * useful(plain)
    assert fused[0].kinds["mac"] == 2 * fused_kernel.MACS
    assert fused[0].mac_per_slot == pytest.approx(useful(fused))
    assert fused[0].loads["local"]["bytes"] == 16 * fused_kernel.VECTORS
    if gpu.startswith("adreno"):
        assert fused[0].statistics.spills == fused[0].statistics.fills == 0
        assert fused[0].estimated_ms == max(fused[0].arithmetic_ms, fused[0].memory_ms)


def test_counts_grow_with_the_picture_and_not_for_a_work_item(compilers):
    text, (launch,) = lower(fused_kernel.module(), registry.get("adreno").tvm_target())
    twice = structs.replace(launch, groups=(32, 1, 1))
    (one, two) = count_sources([(text, [launch, twice])], "adreno-660")[0]
    assert two.slots == one.slots
    assert two.total_slots == 2 * one.total_slots


def test_a_kernel_that_does_not_build_is_told(compilers):
    with pytest.raises(SrTvmError, match="does not build for adreno-660.*undeclared identifier 'nowhere'"):
        compile_source("__kernel void broken(__global float* x) { x[0] = nowhere; }", "adreno-660")


def test_an_unknown_kernel_and_gpu_are_told(compilers):
    text, (launch,) = lower(fused_kernel.module(), registry.get("adreno").tvm_target())
    with pytest.raises(SrTvmError, match="has no kernel other; it has fused_kernel"):
        count_sources([(text, [structs.replace(launch, name="other")])], "adreno-660")
    with pytest.raises(SrTvmError, match="unknown GPU 'adreno-1'"):
        count_sources([(text, [launch])], "adreno-1")


def test_without_the_compilers_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv(system.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(SrTvmError, match="make system-deps"):
        compile_source("__kernel void nothing() {}", "adreno-660")
