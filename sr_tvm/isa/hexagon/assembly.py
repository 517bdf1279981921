"""LLVM's assembly text for Hexagon: functions, their packets, and what vector registers instructions read and write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from sr_tvm.errors import SrTvmError

_FUNCTION = re.compile(r"^\s*\.type\s+([\w.$]+),\s*@function")
_LABEL = re.compile(r"^([\w.$]+):")
_VECTOR = re.compile(r"\bv(\d+)(?::(\d+))?\b")
_LOOP = re.compile(r"loop([01])\((?:##)?(\.L\w+),(?:##?(\d+)|\w+)\)")
_JUMP = re.compile(r"\bjump(?::n?t)?\s+(?:##)?(\.L\w+)")
# Instructions whose vector sources must be there early: multiplications, shifts and permutations; see STALL.
_EARLY = re.compile(
    r"\b(?:v\w*mpy\w*|vdmpy\w*|vasr\w*|vasl\w*|vlsr\w*|vrotr|vnormamt|vcl0|v(?:l)?align\w*|vpack\w*|vunpack\w*|"
    r"vshuff\w*|vdeal\w*|vdelta|vrdelta|vror|vlut\w*|vinsert|vsplat|vextract)\("
)
STALL = (
    "a packet stalls where a vector that it multiplies, shifts, permutes or stores unaligned was made by the vector "
    "packet before it; sums that are added to don't count (Qualcomm's HVX Programmer's Reference Manuals, V60 to V79, "
    "chapter on vector instructions: such operands are early sources)"
)


@dataclass(frozen=True)
class PacketInstruction:
    """One instruction of a packet, as text."""

    text: str

    @cached_property
    def _sides(self) -> tuple[str, str]:
        """What is written and what is read; a store writes no register."""
        head, equals, tail = self.text.partition("=")
        if not equals or head.lstrip().startswith("vmem") or head.lstrip().startswith("mem"):
            return "", self.text
        return head, tail

    @property
    def multiplies(self) -> bool:
        """Whether it is one of the two ``vrmpy`` that a packet may have."""
        return "vrmpy" in self.text

    @property
    def is_vector(self) -> bool:
        """Whether it is an instruction of HVX."""
        return bool(_VECTOR.search(self.text)) or "vmem" in self.text

    @property
    def loads(self) -> bool:
        """Whether it loads a whole vector from memory."""
        return "vmem" in self._sides[1] and bool(self._sides[0])

    @property
    def stores(self) -> bool:
        """Whether it stores a whole vector to memory."""
        return "vmem" in self.text and not self._sides[0]

    @property
    def spills(self) -> bool:
        """Whether it moves a vector to the stack or from there, by the stack's own registers."""
        return bool(re.search(r"vmemu?\(r(?:29|30)\b", self.text))

    @cached_property
    def writes(self) -> frozenset[int]:
        """Numbers of the vector registers that it writes."""
        return frozenset(_numbers(self._sides[0]))

    @cached_property
    def adds_to(self) -> frozenset[int]:
        """Numbers of the vector registers that it adds to, or combines in place: it writes and reads them."""
        return self.writes if self._sides[0].rstrip().endswith(("+", "-", "|", "&", "^")) else frozenset()

    @cached_property
    def reads(self) -> frozenset[int]:
        """Numbers of the vector registers that it reads, sums that it adds to among them."""
        return frozenset(_numbers(self._sides[1])) | self.adds_to

    @cached_property
    def early(self) -> frozenset[int]:
        """Numbers of the vector registers that must have been written more than a packet before, see STALL."""
        if self.stores:
            return frozenset(_numbers(self.text)) if "vmemu" in self.text else frozenset()
        return frozenset(_numbers(self._sides[1])) if _EARLY.search(self._sides[1]) else frozenset()


def _numbers(text: str) -> Iterator[int]:
    for match in _VECTOR.finditer(text):
        first = int(match[1])
        last = int(match[2]) if match[2] is not None else first
        yield from range(min(first, last), max(first, last) + 1)


@dataclass
class Packet:
    """Instructions that run together.

    Attributes:
        instructions: In the order of the text.
        ends: The hardware loops, 0 or 1, that end with the packet.
    """

    instructions: list[PacketInstruction] = field(default_factory=list)
    ends: tuple[int, ...] = ()

    @cached_property
    def writes(self) -> frozenset[int]:
        """Numbers of the vector registers that its instructions write."""
        return frozenset().union(*(i.writes for i in self.instructions))

    @cached_property
    def is_vector(self) -> bool:
        """Whether one of its instructions is of HVX."""
        return any(i.is_vector for i in self.instructions)

    @property
    def multiplications(self) -> int:
        """How many ``vrmpy`` it has, 2 at most."""
        return sum(i.multiplies for i in self.instructions)

    def stalls_after(self, before: Packet) -> bool:
        """Tell whether it waits for what the vector packet before it makes; see :data:`STALL`.

        Args:
            before: The last packet before it that has a vector instruction.

        Returns:
            Whether an early source of an instruction was written by ``before``.
        """
        return any(i.early & before.writes for i in self.instructions)


@dataclass
class AssemblyFunction:
    """A function's packets in order; ``labels`` are the packets that jumps go to."""

    name: str
    packets: list[Packet] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


def functions(text: str) -> dict[str, AssemblyFunction]:
    """Read the functions of an assembly file.

    Args:
        text: As LLVM writes it for Hexagon.

    Returns:
        The functions by name, in the order of the text.

    Raises:
        SrTvmError: It is not LLVM's text for Hexagon.
    """
    found: dict[str, AssemblyFunction] = {}
    named: set[str] = set()
    function: AssemblyFunction | None = None
    packet: Packet | None = None
    for line in text.splitlines():
        if (declared := _FUNCTION.match(line)) is not None:
            named.add(declared[1])
        elif (label := _LABEL.match(line)) is not None:
            if label[1] in named:
                function = found[label[1]] = AssemblyFunction(label[1])
            elif label[1].startswith(".Lfunc_end"):
                function = None
            elif function is not None:
                function.labels[label[1]] = len(function.packets)
        elif function is not None:
            word = line.strip()
            if word == "{":
                packet = Packet()
            elif word.startswith("}") and packet is not None:
                packet.ends = tuple(int(n) for n in re.findall(r":endloop(\d)", word))
                packet.ends = (0, 1) if ":endloop01" in word else packet.ends
                function.packets.append(packet)
                packet = None
            elif packet is not None and word and not word.startswith("."):
                packet.instructions.extend(PacketInstruction(part.strip()) for part in word.split(";"))
    if not found or not any(f.packets for f in found.values()):
        raise SrTvmError("no packets in what should be assembly for Hexagon")
    return found


@dataclass(frozen=True)
class PacketLoop:
    """Packets ``first`` to ``last`` that run again and again; ``trips`` as far as the text tells, else None."""

    first: int
    last: int
    trips: int | None

    def __contains__(self, other: object) -> bool:
        return isinstance(other, PacketLoop) and other != self and self.first <= other.first and other.last <= self.last


def loops(function: AssemblyFunction) -> list[PacketLoop]:
    """Find a function's loops: hardware loops, and jumps backwards.

    Args:
        function: Of the assembly.

    Returns:
        The loops, inner ones first.
    """
    found: dict[tuple[int, int], PacketLoop] = {}
    begun: dict[int, tuple[int, int | None]] = {}
    for place, packet in enumerate(function.packets):
        for instruction in packet.instructions:
            if (setup := _LOOP.search(instruction.text)) is not None and setup[2] in function.labels:
                begun[int(setup[1])] = function.labels[setup[2]], int(setup[3]) if setup[3] else None
            if (jump := _JUMP.search(instruction.text)) is not None:
                target = function.labels.get(jump[1], place + 1)
                if target <= place:
                    found.setdefault((target, place), PacketLoop(target, place, None))
        for number in packet.ends:
            if number in begun and begun[number][0] <= place:
                first, trips = begun[number]
                found[first, place] = PacketLoop(first, place, trips)
    return sorted(found.values(), key=lambda loop: (loop.last - loop.first, loop.first))
