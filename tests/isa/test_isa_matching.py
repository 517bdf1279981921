"""Trip counts of machine loops, on kernels of multiplications and stores only."""

import pytest
from msgspec.structs import replace

from sr_tvm.isa.launch import SourceLoop
from sr_tvm.isa.machine import Instruction, MachineKernel, outer_first
from sr_tvm.isa.matching import match

MAC = Instruction("mad.f32", "mac", multiplies=1)
STORE = Instruction("stl.u32", "store", memory="local", size=4)
BRANCH = Instruction("br", "flow")


def kernel(*parts) -> MachineKernel:
    """Instructions in order; a list is a loop, ended by its branch."""
    listed: list[Instruction] = []
    loops: list[tuple[int, int]] = []

    def add(part):
        if isinstance(part, list):
            first = len(listed)
            for inner in part:
                add(inner)
            listed.append(BRANCH)
            loops.append((first, len(listed) - 1))
        else:
            listed.append(part)

    for part in parts:
        add(part)
    return MachineKernel("k", "adreno-660", "", tuple(listed), tuple(outer_first(loops)))


def body(*loops: SourceLoop, **direct) -> SourceLoop:
    """The loops, with products that are all added to something."""
    return _added(SourceLoop(1, inner=loops, **direct))


def _added(loop: SourceLoop) -> SourceLoop:
    return replace(loop, macs=loop.multiplies, inner=tuple(map(_added, loop.inner)))


def test_a_loop_as_it_is():
    assert match(kernel([MAC, MAC]), body(SourceLoop(36, multiplies=2))).trips == (36,)


def test_an_iteration_taken_out():
    found = match(kernel(MAC, MAC, [MAC, MAC]), body(SourceLoop(36, multiplies=2)))
    assert (found.trips, found.problem) == ((35,), "")


def test_unrolled_by_two():
    found = match(kernel([MAC, MAC, MAC, MAC]), body(SourceLoop(36, multiplies=2)))
    assert (found.trips, found.problem) == ((18,), "")


def test_the_inner_loop_unrolled():
    source = body(SourceLoop(12, inner=(SourceLoop(3, multiplies=1),)))
    assert match(kernel([MAC, MAC, MAC]), source).trips == (12,)


def test_the_outer_loop_unrolled():
    source = body(SourceLoop(3, inner=(SourceLoop(50, multiplies=2),)))
    found = match(kernel([MAC, MAC], [MAC, MAC], [MAC, MAC]), source)
    assert (found.trips, found.problem) == ((50, 50, 50), "")


def test_nested_loops_keep_their_nesting():
    source = body(SourceLoop(5, multiplies=1, inner=(SourceLoop(7, multiplies=3),)))
    found = match(kernel([MAC, [MAC, MAC, MAC]]), source)
    assert (found.trips, found.multiplies) == ((5, 7), 110)


def test_an_iteration_of_an_outer_loop_taken_out():
    source = body(SourceLoop(9, inner=(SourceLoop(40, multiplies=1),)))
    found = match(kernel([MAC], [[MAC]]), source)
    assert (found.trips, found.multiplies) == ((40, 8, 40), 360)


def test_loops_that_copy_are_told_by_their_stores():
    source = body(SourceLoop(7, stores=1), SourceLoop(5), SourceLoop(36, multiplies=2))
    assert match(kernel([STORE], [MAC, MAC]), source).trips == (7, 36)
    source = body(SourceLoop(5), SourceLoop(7, stores=1), SourceLoop(36, multiplies=2))
    assert match(kernel([STORE], [MAC, MAC]), source).trips == (7, 36)


def test_a_kernel_that_only_copies():
    found = match(kernel([STORE, STORE]), body(SourceLoop(64, stores=2)))
    assert (found.trips, found.problem) == ((64,), "")


def test_a_product_that_starts_a_sum_counts():
    start = Instruction("mul.f", "float", multiplies=1)
    assert match(kernel(start, [MAC]), body(SourceLoop(100, multiplies=1))).trips == (99,)


def test_a_mask_may_become_a_selection():
    source = SourceLoop(1, inner=(SourceLoop(30, multiplies=10, macs=8),))
    assert match(kernel([MAC] * 8), source).trips == (30,)
    assert match(kernel([MAC] * 10), source).trips == (30,)
    assert match(kernel([MAC] * 7), source).problem


def test_what_does_not_come_out_is_said():
    found = match(kernel([MAC, MAC, MAC, MAC, MAC]), body(SourceLoop(11, multiplies=1)))
    assert "11 in the source" in found.problem
    assert "2 multiplications" in match(kernel(MAC, MAC), body(multiplies=3)).problem
    assert "the source none" in match(kernel([MAC]), body(multiplies=1)).problem


@pytest.mark.parametrize("extent", [1, 2, 3, 1000])
def test_every_extent(extent):
    assert match(kernel([MAC]), body(SourceLoop(extent, multiplies=1))).trips == (extent,)
