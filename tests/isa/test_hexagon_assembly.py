"""Loops, stalls and spills in LLVM's text for Hexagon, read without a DSP."""

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.isa.hexagon.assembly import PacketInstruction, functions, loops
from sr_tvm.isa.hexagon.bodies import nest

TEXT = """
	.globl	outer
	.type	outer,@function
outer:
.Lfunc_begin0:
	{
		loop1(##.LBB0_1,r2)
		allocframe(#64)
	}
	.p2align	4
.LBB0_1:
	{
		v1 = vmem(r0+#0)
		vmemu(r29+#2) = v9
	}
	{
		loop0(.LBB0_2,#14)
		v9 = vmem(r30+#-1)
	}
.LBB0_2:
	{
		v0.w += vrmpy(v1.ub,r4.b)
		v2.w += vrmpy(v1.ub,r5.b)
		v3 = valign(v1,v4,#4)
	}
	{
		v0.w += vrmpy(v3.ub,r6.b)
		r5:4 = memd(r1+#8)
		v1.cur = vmem(r0+#1)
	}
	{
		r1 = add(r1,#8)
	} :endloop0
	{
		v5.h = vasr(v2.w,v0.w,r7):rnd:sat
		p0 = cmp.gtu(r6,#6); if (!p0.new) jump:nt .LBB0_4
	}
	{
		v6.ub = vsat(v5.h,v5.h)

	} :mem_noshuf :endloop1
.LBB0_4:
	{
		jumpr r31
	}
.Lfunc_end0:
	.size	outer, .Lfunc_end0-outer
"""


def test_a_nest_of_hardware_loops_is_counted():
    found = functions(TEXT)["outer"]
    assert [(loop.first, loop.last, loop.trips) for loop in loops(found)] == [(3, 5, 14), (1, 7, None)]
    counted = nest(found)
    outer, inner = counted.bodies
    assert (outer.depth, outer.packets, outer.multiplications, outer.spills) == (1, 4, 0, 2)
    assert (inner.depth, inner.trips, inner.packets, inner.multiplications, inner.loads) == (2, 14, 3, 3, 1)
    assert counted.turn[:2] == (4 + 14 * 3, 14 * 3)
    assert counted.outside == 2


def test_what_stalls_is_an_early_source_of_the_vector_packet_before():
    outer, inner = nest(functions(TEXT)["outer"]).bodies
    # v3 goes from the permutation to the next packet's product, and v1 over a scalar packet to the next turn's.
    assert inner.stalls == 2
    # The load before the loop is two packets away; vasr follows sums that were made two packets before, but the last
    # vector packet made one of them; vsat is no early reader.
    assert outer.stalls == 1


@pytest.mark.parametrize(
    "text, writes, reads, early",
    [
        ("v1:0.h += vmpy(v2.ub,r3.b)", {0, 1}, {0, 1, 2}, {2}),
        ("v13.w += vrmpy(v5.ub,r11.b)", {13}, {5, 13}, {5}),
        ("v2.ub = vsat(v4.h,v3.h)", {2}, {3, 4}, set()),
        ("v2.cur = vmem(r15+#3)", {2}, set(), set()),
        ("vmem(r0+#1) = v7", set(), {7}, set()),
        ("vmemu(r0+#1) = v7", set(), {7}, {7}),
        ("memw(r29+#144) = r7.new", set(), set(), set()),
        ("v3:2 = vcombine(v9,v8)", {2, 3}, {8, 9}, set()),
    ],
)
def test_registers_of_an_instruction(text, writes, reads, early):
    instruction = PacketInstruction(text)
    assert (set(instruction.writes), set(instruction.reads), set(instruction.early)) == (writes, reads, early)


def test_a_loop_that_does_not_tell_its_turns_takes_those_it_is_given():
    text = TEXT.replace("#14", "r9")
    assert nest(functions(text)["outer"], 5).bodies[1].trips == 5
    assert nest(functions(text)["outer"]).bodies[1].trips is None


def test_other_text_is_refused():
    with pytest.raises(SrTvmError, match="no packets"):
        functions("int main(void) { return 0; }\n")
