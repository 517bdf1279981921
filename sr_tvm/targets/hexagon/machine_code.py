"""From TIR to Hexagon's assembly by the LLVM in TVM, each row function with the options that suit it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import tvm

from sr_tvm.errors import SrTvmError

# A loop that carries more values than LLVM's default of 16 is not rotated, and gets no hardware loop.
ROTATION = "-rotation-max-header-size:uint={}"
ROTATED: Final = 200
# From which end a block of instructions is scheduled: LLVM's enumeration MISched::Direction.
DIRECTION = "-misched-prera-direction:int={}"
DIRECTIONS = {"down": 1, "up": 2, "both": 3}

# LLVM's pass that makes aligned vector loads of unaligned ones. Ours are aligned, and with it functions of 12 and 16
# sums, whose registers are values of rotated loops, come out wrong from the second tile on.
ALWAYS = ("-hexagon-vector-combine:bool=false",)
# TVM would move a function's registers out of the scope that becomes LLVM's function, where they are memory that each
# call stores and loads.
KEEP_REGISTERS = {"tirx.disable_storage_rewrite": True}

Options = tuple[str, ...]
DEFAULT: Options = (*ALWAYS, ROTATION.format(ROTATED))
_TRASH = re.compile(r"^\s*\.(?:loc|cfi_\w+|file)\b|^\.Ltmp\d+:")
_SECTION = re.compile(r"^\s*\.(?:section\s+(\S+)|text\b)")


def options(direction: str, rotation: int) -> Options:
    """LLVM's options for a direction of DIRECTIONS, or "" for LLVM's own choice, and values that a loop may carry."""
    chosen = (*ALWAYS, ROTATION.format(rotation))
    return chosen if not direction else (*chosen, DIRECTION.format(DIRECTIONS[direction]))


def tvm_target(mcpu: str, llvm: Sequence[str] = DEFAULT) -> tvm.target.Target:
    """LLVM's Hexagon with vectors of 128 bytes."""
    version = mcpu.removeprefix("hexagon")
    config = {
        "kind": "llvm", "mtriple": "hexagon-unknown-linux-musl", "mcpu": mcpu,
        "mattr": [f"+hvx{version}", "+hvx-length128b"], "cl-opt": list(llvm), "num-cores": 1,
    }  # fmt: skip
    made = tvm.target.Target(config)
    return tvm.target.Target(made, host=made)


def assembly(mod: tvm.IRModule, mcpu: str, of: Mapping[str, Options]) -> str:
    """Compile a module to assembly text without notes for debuggers.

    ``of`` are options by the name of a private function: the module is compiled once for each different set, and of
    that only these functions are taken; all others are compiled with DEFAULT where a function has that, else with the
    first of the sets. LLVM propagates what callers pass into functions, so that each is taken from a module with the
    same callers.
    """
    sets = sorted(set(of.values()), key=lambda chosen: (chosen != DEFAULT, chosen)) or [DEFAULT]
    text = _compile(mod, mcpu, sets[0])
    for chosen in sets[1:]:
        other = _compile(mod, mcpu, chosen)
        for name in sorted(name for name, own in of.items() if own == chosen):
            text = _exchange(text, other, body_of(name))
    return text


def body_of(function: str) -> str:
    """The symbol of a private function's code: TVM puts it into one of its own."""
    return f"{function}_compute_"


def _compile(mod: tvm.IRModule, mcpu: str, llvm: Options) -> str:
    with tvm.transform.PassContext(opt_level=3, config=KEEP_REGISTERS):
        built = tvm.tirx.build(mod, target=tvm_target(mcpu, llvm), pipeline="s_tir")
    return _plain(built.inspect_source("s"))


def _plain(text: str) -> str:
    kept, debug = [], False
    for line in text.splitlines():
        if (section := _SECTION.match(line)) is not None:
            debug = (section[1] or "").startswith(".debug_")
        if not debug and not _TRASH.match(line):
            kept.append(line)
    return "\n".join(kept) + "\n"


def _exchange(text: str, other: str, symbol: str) -> str:
    """Put the code of a function in ``other`` in place of that in ``text``, under labels of its own."""
    first, last = _place(text, symbol)
    begin, end = _place(other, symbol)
    code = other[begin:end]
    # Labels are numbered by function within a file: both files number alike, but these need not have the same labels.
    prefix = re.search(r"\.Lfunc_begin(\d+):", text[first:last])
    assert prefix is not None
    code = re.sub(r"\.Lfunc_(begin|end)\d+", rf".Lfunc_\g<1>{prefix[1]}", code)
    code = re.sub(r"\.LBB\d+_", f".LBB{prefix[1]}_", code)
    return text[:first] + code + text[last:]


def _place(text: str, symbol: str) -> tuple[int, int]:
    begun = text.find(f"\n{symbol}:")
    end = re.compile(r"\n\.Lfunc_end\d+:").search(text, max(begun, 0))
    if begun < 0 or end is None:
        raise SrTvmError(f"LLVM has inlined {symbol}, or calls it otherwise: please report this network")
    return begun + 1, end.start() + 1
