"""A `Program` as the tables of C that `sr_program.h` declares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.records.program import Program
from sr_tvm.records.size import Size
from sr_tvm.records.tensor import Tensor, term

MAX_RANK, MAX_ARGUMENTS, MAX_BUFFERS, MAX_SCALE = 6, 32, 64, 8  # as the headers have them
STEPS = (1, 2, 4, 8, 16)  # the least tile is a multiple of each
_CODES = {"i": 0, "u": 1, "f": 2}  # DLPack's kinds by numpy's
_NAMES = ("SR_PLAIN", "SR_HEIGHT", "SR_WIDTH")


@dataclass(frozen=True)
class PictureNames:
    """The names of height and width in a program that enlarges pictures of any size, its channels and factor."""

    height: str
    width: str
    channels: int
    scale: int


def picture_of(program: Program, where: str) -> PictureNames:
    """Check that a program enlarges pictures of any size by a whole factor.

    Args:
        program: Of a CPU's artifact.
        where: It comes from, for messages.

    Returns:
        What its sizes are called, its channels and its factor.

    Raises:
        SrTvmError: It does something else; the message begins with ``where``.
    """
    right = "one input 1xCxHxW of any height and width, and one output the same enlarged by a whole factor"
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise SrTvmError(f"{where}: has not {right}")
    given, made = program.inputs[0], program.outputs[0]
    text = f"{where}: maps {given.shape} to {made.shape}; {right} can be packaged"
    if len(given.shape) != 4 or len(made.shape) != 4 or given.dtype != "float32" or made.dtype != "float32":
        raise SrTvmError(text)
    _, channels, height, width = given.shape
    if not (isinstance(height, str) and isinstance(width, str) and height != width):
        hint = "compile a model of symbolic height and width without --input-shape"
        raise SrTvmError(f"{where}: takes pictures of one size only ({given.shape}); {hint}")
    (down, h), (along, w) = (term(d) if isinstance(d, str) else (0, "") for d in made.shape[2:])
    good = given.shape[0] == made.shape[0] == 1 and channels == made.shape[1] and channels in (1, 3)
    if not good or (h, w) != (height, width) or down != along or not 1 <= down <= MAX_SCALE:
        raise SrTvmError(text)
    assert isinstance(channels, int)
    return PictureNames(height, width, channels, down)


class ProgramTables:
    """The rows of the tables of one program: ``values``, ``buffers`` and ``calls``.

    A call is the kernel's symbol and the numbers of its arguments among ``values``.

    Raises:
        SrTvmError: The program is too large for the runtime's fixed limits, or has a size by another name.
    """

    def __init__(self, program: Program, picture: PictureNames, where: str) -> None:
        self.program, self.picture, self.where = program, picture, where
        placed = [("SR_INPUT", 0, t) for t in program.inputs]
        placed += [("SR_OUTPUT", 0, t) for t in program.outputs]
        placed += [("SR_WEIGHTS", s.place, s.tensor) for s in program.constants]
        placed += [("SR_BUFFER", s.place, s.tensor) for s in program.scratch]
        if program.step not in STEPS:
            raise SrTvmError(f"{where}: its kernels make {program.step} rows at a time; {STEPS} can be packaged")
        self.values = [self._value(*row) for row in placed]
        number = {tensor.name: i for i, (_, _, tensor) in enumerate(placed)}
        if len(program.buffers) > MAX_BUFFERS:
            raise SrTvmError(f"{where}: needs {len(program.buffers)} buffers; at most {MAX_BUFFERS} can be packaged")
        self.buffers = [self.size(size) for size in program.buffers]
        self.calls = []
        for call in program.calls:
            if len(call.arguments) > MAX_ARGUMENTS:
                raise SrTvmError(f"{where}: kernel {call.kernel} takes more than {MAX_ARGUMENTS} tensors")
            self.calls.append((program.kernels[call.kernel].symbol, [number[name] for name in call.arguments]))

    def _value(self, place: str, at: int, tensor: Tensor) -> str:
        if len(tensor.shape) > MAX_RANK:
            raise SrTvmError(f"{self.where}: {tensor.name!r} has more than {MAX_RANK} dimensions")
        kind = np.dtype(tensor.dtype)
        dims = []
        for d in tensor.shape:
            factor, name = term(d) if isinstance(d, str) else (d, "")
            dims.append(f"{{{factor}, {self._name(name)}}}")
        code, bits = _CODES[kind.kind], 8 * kind.itemsize
        return f"{{{place}, {len(dims)}, {at}, {{{code}, {bits}, 1}}, {{{', '.join(dims)}}}}}"

    def _name(self, name: str) -> str:
        known = {"": _NAMES[0], self.picture.height: _NAMES[1], self.picture.width: _NAMES[2]}
        if name not in known:
            raise SrTvmError(f"{self.where}: a size depends on {name!r}, which is no side of the picture")
        return known[name]

    def size(self, size: Size) -> list[tuple[int, int, int]]:
        """List the terms of a size.

        Args:
            size: In bytes, a sum of products of height and width.

        Returns:
            (factor, how often height multiplies it, how often width does) of each term.

        Raises:
            SrTvmError: It depends on something else.
        """
        for name in size.names:
            self._name(name)
        return [(n, names.count(self.picture.height), names.count(self.picture.width)) for names, n in size.terms]
