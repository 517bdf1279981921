"""Disassembly as Mesa 26.1.6 printed it for recorded/dot.cl: 48 times 16 products, with weights in local memory."""

from pathlib import Path

import pytest

from sr_tvm.isa import adreno, mali
from sr_tvm.isa.count import count
from sr_tvm.isa.launch import Launch, SourceLoop
from sr_tvm.isa.machine import MachineKernel

RECORDED = Path(__file__).parent / "recorded"
DOT = Launch(
    "dot_local",
    groups=(64, 1, 1),
    local_size=(64, 1, 1),
    body=SourceLoop(
        1, stores=4, inner=(SourceLoop(3, stores=4), SourceLoop(48, inner=(SourceLoop(4, multiplies=4, macs=4),)))
    ),
    read={"global": 51 * 16, "local": 192 * 16},
    written={"global": 16, "local": 48},
)


def recorded(gpu: str) -> MachineKernel:
    read = adreno.parse if gpu.startswith("adreno") else mali.parse
    ((name, listed, loops, statistics),) = read((RECORDED / f"{gpu}.txt").read_text())
    return MachineKernel(name, gpu, "26.1.6", tuple(listed), tuple(loops), statistics)


@pytest.mark.parametrize("gpu", ["adreno-660", "adreno-750", "mali-g57"])
def test_the_loop_goes_round_as_the_source_says(gpu):
    found = count(recorded(gpu), DOT)
    assert not found.problem
    assert found.trips == (48.0,)
    assert found.macs == 768
    assert found.kinds["mac"] == 768
    # Each weight comes from local memory once, and each of the loop's vectors from global memory.
    assert found.loads["local"] == {"count": 192, "bytes": 192 * 16}
    assert found.loads["global"] == {"count": 51, "bytes": 51 * 16}
    assert found.stores["local"] == {"count": 3, "bytes": 48}
    assert found.stores["global"] == {"count": 1, "bytes": 16}
    assert found.slots == pytest.approx(sum(found.kinds.values()))


def test_a_preamble_is_paid_once_a_wave():
    kernel = recorded("adreno-750")
    preamble = sum(i.slots for i in kernel.instructions if i.preamble)
    assert preamble > 0 and kernel.instructions[0].op == "shps"
    rest = MachineKernel("dot_local", "adreno-750", "", tuple(i for i in kernel.instructions if not i.preamble), (),
                         kernel.statistics)  # fmt: skip
    shift = len(kernel.instructions) - len(rest.instructions)
    rest = MachineKernel(rest.name, rest.gpu, "", rest.instructions,
                         tuple((a - shift, b - shift) for a, b in kernel.loops), kernel.statistics)  # fmt: skip
    assert count(kernel, DOT).slots == pytest.approx(count(rest, DOT).slots + preamble / kernel.statistics.wave)


def test_the_recorded_statistics():
    facts = recorded("adreno-660").statistics
    assert (facts.registers, facts.max_waves, facts.wave, facts.spills) == (8, 16, 64, 0)
    assert recorded("mali-g57").statistics.registers == 18


@pytest.mark.parametrize(
    ("line", "kind", "slots", "multiplies"),
    [
        ("(ss)(rpt2)mad.f32 r12.x, (r)r11.x, r26.y, (r)r12.x", "mac", 3, 3),
        ("(nop2) mul.f r1.x, r2.x, c0.y", "float", 3, 1),
        ("(rpt4)nop", "nop", 5, 0),
        ("swz.u32u32 r27.z, r6.y, r6.y, r27.z", "mov", 2, 0),
        ("(rpt3)cov.u16s32 r6.w, (r)hr12.z", "mov", 4, 0),
        ("br p0.x, #l421", "flow", 1, 0),
        ("max.f r12.x, r12.x, (0.0)", "float", 1, 0),
        ("sad.s32 r7.z, c1.y, r16.x, r12.w", "int", 1, 0),
    ],
)
def test_issue_slots_of_adreno(line, kind, slots, multiplies):
    found = adreno.instruction(line)
    assert (found.kind, found.slots, found.multiplies) == (kind, slots, multiplies)


def test_halves_of_adreno():
    assert adreno.instruction("(rpt1)mad.f16 hr1.x, (r)hr2.x, hr3.x, (r)hr1.x").half
    assert not adreno.instruction("cmps.u.lt hr5.z, r1.y, c0.x").half
    assert not adreno.instruction("mad.f32 r1.x, r2.x, r3.x, r1.x").half


@pytest.mark.parametrize(
    ("line", "memory", "size"),
    [
        ("ldg.u32 r3.y, g[r1.y], 4", "global", 16),
        ("(sy)stl.u32 l[r0.w], r3.y, 4", "local", 16),
        ("ldl.u16 hr11.x, l[r9.w+368], 2", "local", 4),
        ("stp.u32 p[r0.w], r3.y, 1", "private", 4),
        ("(sy)isam.base0 (f32)(xyzw)r1.x, r2.x, s#0, t#0", "image", 16),
        ("ldc.4.k.imm c[a1.x], 0, 0", "constant", 64),
    ],
)
def test_memories_of_adreno(line, memory, size):
    found = adreno.instruction(line)
    assert (found.memory, found.size) == (memory, size)


def test_mali_lines_without_a_name_are_instructions():
    code = "}\n   FMA.v2f16 r1, r2, r3.h00, r1^\n   \n   STORE.i32.slot1.end @r1, r18^, offset:0\n"
    end = "MESA_SHADER_KERNEL shader: 3 instrs, 1 threads, 0 loops, 2:3 spills:fills, 24 registers used\n"
    ((_, listed, loops, facts),) = mali.parse(code + end)
    assert [i.kind for i in listed] == ["mac", "int", "store"]
    assert (listed[0].multiplies, facts.registers, facts.spills, facts.fills, loops) == (2, 24, 2, 3, [])
