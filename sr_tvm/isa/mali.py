"""Read what Mesa's Valhall compiler prints (BIFROST_MESA_DEBUG=shaders,shaderdb): Mali G57, G310, G610."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

from sr_tvm.isa.machine import Instruction, Loops, Statistics, outer_first

_NAME = re.compile(r"^impl __wrapped_(\w+) \{")
_END = re.compile(r"^(?:SHADER-DB: )?MESA_SHADER_KERNEL shader: (.*)")
# Mesa's disassembler leaves the line of an instruction empty that it has no name for (arithmetic shifts right).
_LINE = re.compile(r"^   ([A-Z]|\s*$)")
UNNAMED = "(unnamed)"
_OFFSET = re.compile(r"offset:(-\d+)")
# The compiler's own form comes first, in blocks, with the same names: only what follows the last block was encoded.
_NOT_YET = re.compile(r"^(block\d+ \{|\}|shader:)")
_LOADS = ("LOAD", "LD_", "LEA_", "TEX", "ATOM")
_STORES = ("STORE", "ST_")
_MOVES = ("MOV", "MKVEC", "SWZ")
_FLOW = ("BRANCH", "NOP", "BARRIER", "JUMP")
_FLOAT = re.compile(r"^(F[A-Z]|V2F|FREXP|.*\.f(16|32)|.*\.v2f16)")


def parse(text: str) -> Iterator[tuple[str, list[Instruction], Loops, Statistics]]:
    """Read the machine code that Mesa's Valhall compiler prints.

    Args:
        text: All that Mesa's compiler printed; other lines in between are passed over.

    Yields:
        Of each kernel, in the order of compilation: its name in the OpenCL C, its instructions, its loops as ranges
        (first, last) of them with outer ones first, and the compiler's statistics.
    """
    name = ""
    listed: list[Instruction] = []
    loops: Loops = []
    high: set[int] = set()
    for line in text.splitlines():
        if found := _NAME.match(line):
            name = found[1]
        elif _NOT_YET.match(line):
            listed, loops, high = [], [], set()
        elif end := _END.match(line):
            yield name, listed, outer_first(loops), _statistics(end[1], listed)
            listed, loops, high = [], [], set()
        elif _LINE.match(line):
            made = instruction(line.strip(), high)
            _follow(line.strip(), high)
            back = _OFFSET.search(line) if made.op.startswith("BRANCH") else None
            if back:  # in instructions, from the next one
                loops.append((max(0, len(listed) + 1 + int(back[1])), len(listed)))
            listed.append(made)


def _statistics(text: str, listed: list[Instruction]) -> Statistics:
    registers = re.search(r"(\d+) registers used", text)
    spilling = re.search(r"(\d+):(\d+) spills:fills", text)
    threads = re.search(r"(\d+) threads", text)
    return Statistics(
        registers=int(registers[1]) if registers else 0,
        max_waves=None if not threads else int(threads[1]),
        spills=int(spilling[1]) if spilling else 0,
        fills=int(spilling[2]) if spilling else 0,
    )


def _follow(line: str, high: set[int]) -> None:
    """Keep ``high`` to the registers that hold the upper half of an address in local memory."""
    _, _, operands = line.partition(" ")
    target, _, read = operands.partition(", ")
    written = [int(r) for r in re.findall(r"r(\d+)", target)] if not line.startswith(_STORES) else []
    copied = re.match(r"r(\d+)\^?$", read.strip()) if line.startswith("MOV") else None
    is_high = "workgroup_local_pointer.w1" in read or (copied is not None and int(copied[1]) in high)
    for register in written:
        (high.add if is_high else high.discard)(register)


def instruction(line: str, high: Container[int] = ()) -> Instruction:
    """Read one line of the disassembly, such as ``FMA.v2f16 r1, r2, r3.h00, r1^``.

    Args:
        line: Without the blanks around it; "" for an instruction that the disassembler has no name for.
        high: Numbers of the registers with the upper half of an address in local memory, which tells its loads from
            others.

    Returns:
        The instruction, with its kind, multiplications and bytes for a work-item; each takes one issue slot.
    """
    op, _, operands = line.partition(" ")
    if not op:
        return Instruction(UNNAMED, "int")
    two = ".v2f16" in op
    if op.startswith(_FLOW):
        return Instruction(op, "nop" if op.startswith("NOP") and ".end" not in op else "flow")
    if op.startswith(_LOADS) or op.startswith(_STORES):
        kind = "store" if op.startswith(_STORES) else "load"
        return Instruction(op, kind, memory=_memory(op, operands, high), size=_size(op))
    if op.startswith(_MOVES):
        return Instruction(op, "mov", half=two)
    if op.startswith("FMA."):
        return Instruction(op, "mac", multiplies=2 if two else 1, half=two)
    return Instruction(op, "float" if _FLOAT.match(op) else "int", half=two)


def _memory(op: str, operands: str, high: Container[int]) -> str:
    if op.startswith(("TEX", "LD_TEX", "ST_TEX", "LEA_TEX", "LD_ATTR", "LEA_ATTR", "ST_CVT", "LD_CVT")):
        return "image"
    if op.startswith("LD_BUFFER"):
        return "constant"
    if "thread_local_pointer" in operands:
        return "private"
    base = re.search(r", r(\d+)", operands)
    inside = "workgroup_local_pointer" in operands or (base is not None and int(base[1]) + 1 in high)
    return "local" if inside else "global"


def _size(op: str) -> int:
    width = re.search(r"\.i(8|16|24|32|48|64|96|128)\b", op)
    return int(width[1]) // 8 if width else 0
