"""Read what Mesa's ir3 compiler prints (IR3_SHADER_DEBUG=cs): Adreno 6xx and 7xx."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sr_tvm.isa.machine import Instruction, Loops, Statistics, outer_first

_NAME = re.compile(r"^impl __wrapped_(\w+) \{")
_LABEL = re.compile(r"^(l\d+):$")
_TARGET = re.compile(r"#(l\d+)\b")
_FLAGS = re.compile(r"^(\([a-z]+\d*\))+")
_COUNTS = re.compile(r"(\d+) ([^,]+)")
_MEMORY = (
    ("ldg", "global"), ("stg", "global"), ("atomic.g", "global"),
    ("ldl", "local"), ("stl", "local"), ("atomic", "local"),
    ("ldp", "private"), ("stp", "private"),
    ("ldc", "constant"), ("stc", "constant"),
    ("isam", "image"), ("sam", "image"), ("ldib", "image"), ("stib", "image"),
    ("resinfo", "image"), ("gather", "image"),
)  # fmt: skip
_FLOW = ("br", "jump", "end", "getone", "getlast", "shp", "pred", "bar", "fence", "ball", "bany", "ret", "call")
_MOVES = ("mov", "cov", "swz", "gat", "sct", "movmsk", "movs")
# Several moves under one name take a slot each, without a written repeat.
_MANY = {"swz": 2, "gat": 4, "sct": 4}
_BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}


@dataclass
class _Kernel:
    name: str
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    branches: list[tuple[int, str]] = field(default_factory=list)
    stats: dict[str, int] = field(default_factory=dict)
    ended: bool = False


def parse(text: str) -> Iterator[tuple[str, list[Instruction], Loops, Statistics]]:
    """Read the machine code that ir3 prints.

    Args:
        text: All that Mesa's compiler printed; other lines in between are passed over.

    Yields:
        Of each kernel, in the order of compilation: its name in the OpenCL C, its instructions, its loops as ranges
        (first, last) of them with outer ones first, and the compiler's statistics.
    """
    name, kernel = "", None
    for raw in text.splitlines():
        line = raw.removeprefix("MESA: info: ")
        if found := _NAME.match(line):
            name = found[1]
        elif line.startswith("Native code"):
            if kernel:
                yield _finished(kernel)
            kernel = _Kernel(name)
        elif kernel is not None:
            _read(kernel, line.strip())
    if kernel:
        yield _finished(kernel)


def _read(kernel: _Kernel, line: str) -> None:
    if line.startswith("; CL prog"):
        kernel.stats.update({key.strip(): int(n) for n, key in _COUNTS.findall(line.partition(": ")[2])})
    elif not line or line[0] in ";@#" or kernel.ended or kernel.stats:
        return
    elif label := _LABEL.match(line):
        kernel.labels[label[1]] = len(kernel.instructions)
    else:
        made = instruction(line)
        if target := _TARGET.search(line):
            kernel.branches.append((len(kernel.instructions), target[1]))
        kernel.instructions.append(made)
        if made.op == "shpe":  # all before it was the preamble
            kernel.instructions = [replace(i, preamble=True) for i in kernel.instructions]
        kernel.ended = made.op == "end"  # what follows only fills a cache line


def _finished(kernel: _Kernel) -> tuple[str, list[Instruction], Loops, Statistics]:
    loops = [(kernel.labels[label], at) for at, label in kernel.branches if kernel.labels.get(label, at + 1) <= at]
    stats, listed = kernel.stats, kernel.instructions
    wave = None if "double_threadsize" not in stats else 128 if stats["double_threadsize"] else 64
    statistics = Statistics(
        registers=stats.get("full", 0),
        half_registers=stats.get("half"),
        max_waves=stats.get("max_waves"),
        wave=wave,
        spills=sum(i.op.startswith("stp") for i in listed),
        fills=sum(i.op.startswith("ldp") for i in listed),
    )
    return kernel.name, listed, outer_first(loops), statistics


def instruction(line: str) -> Instruction:
    """Read one line of the disassembly, such as ``(ss)(rpt2)mad.f32 r1.x, (r)r2.x, r3.x, (r)r1.x``.

    Args:
        line: Without the blanks around it.

    Returns:
        The instruction, with its kind, issue slots, multiplications and bytes for a work-item.
    """
    flags = _FLAGS.match(line)
    body = line[flags.end() :].strip() if flags else line
    flag_text = flags[0] if flags else ""
    repeats = sum(int(n) for n in re.findall(r"\(rpt(\d+)\)", flag_text))
    stall = sum(int(n) for n in re.findall(r"\(nop(\d+)\)", flag_text))
    op, _, operands = body.partition(" ")
    stem = op.split(".")[0]
    work = _MANY.get(stem, 1) + repeats
    if op == "nop":
        return Instruction(op, "nop", 0, work)
    memory = next((where for prefix, where in _MEMORY if op.startswith(prefix)), "")
    if memory:
        kind = "store" if stem.startswith("st") else "load"
        return Instruction(op, kind, work, stall, memory=memory, size=_size(op, operands))
    half = bool(re.search(r"\bhr\d", operands)) and not re.search(r"(?<![a-z])[rc]\d", operands)
    if op.startswith(_FLOW):
        return Instruction(op, "flow", work, stall)
    if op.startswith(_MOVES):
        return Instruction(op, "mov", work, stall, half=half)
    if op.startswith(("mad.f", "fma.f")):
        return Instruction(op, "mac", work, stall, work, half)
    multiplies = work if op.startswith("mul.f") else 0
    kind = "float" if ".f" in op or stem in ("rcp", "rsq", "log2", "exp2", "sqrt", "sin", "cos") else "int"
    return Instruction(op, kind, work, stall, multiplies, half)


def _size(op: str, operands: str) -> int:
    if preloaded := re.match(r"ldc\.(\d+)\.k", op):  # vectors of 16 bytes, into the constant file
        return 16 * int(preloaded[1])
    width = re.search(r"\.[fusb](8|16|32|64)\b", op) or re.search(r"\([fus](8|16|32)\)", operands)
    each = _BYTES[width[1]] if width else 4
    if lanes := re.search(r"\(([xyzw]{1,4})\)", operands):
        return each * len(lanes[1])
    count = re.search(r", (\d+)$", operands)
    return each * (max(1, int(count[1])) if count else 1)
