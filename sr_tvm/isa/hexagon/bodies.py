"""Loop bodies of a row function against the bound: what they take, multiply, stall on and spill."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sr_tvm.isa.hexagon.assembly import AssemblyFunction, Packet, PacketLoop, loops

LANES = 128  # bytes that a vrmpy multiplies, each by a weight
BOUND = 2 * LANES  # multiply-accumulates that two vrmpy, all that a packet may have, do


@dataclass(frozen=True)
class Body:
    """What one turn of a loop takes, that of loops inside it not counted.

    Attributes:
        depth: 1 for a loop that is in no other.
        trips: Turns for one of the loop around it; None where nobody knows.
        multiplications: ``vrmpy``, two of which a packet may have.
        vector: HVX instructions.
        loads, stores: Of whole vectors; ``spills`` are those of them that go to or come from the stack.
        stalls: Packets that wait for the one before, see :data:`~sr_tvm.isa.hexagon.assembly.STALL`.
    """

    depth: int
    trips: int | None
    packets: int
    multiplications: int
    vector: int
    loads: int
    stores: int
    spills: int
    stalls: int

    @property
    def macs_per_packet(self) -> float:
        """Multiply-accumulates, those included that fill vectors up; the bound is BOUND."""
        return self.multiplications * LANES / self.packets if self.packets else 0.0

    def to_json(self) -> dict[str, Any]:
        """Write the body as a JSON object.

        Returns:
            The fields, multiply-accumulates a packet, and the bound on them.
        """
        return {**asdict(self), "mac_per_packet": round(self.macs_per_packet, 2), "bound": BOUND}


@dataclass(frozen=True)
class Nest:
    """The loops of a row function around its multiplications, outer first, and the packets outside of all loops."""

    function: str
    bodies: tuple[Body, ...]
    outside: int

    @property
    def turn(self) -> tuple[int, int, int]:
        """Packets, multiplications and stalls of a whole turn of the outermost loop, inner loops as often as they run.

        A loop whose number of turns is not in the text counts once.
        """
        total, times = [0, 0, 0], 1
        for body in self.bodies:
            times *= body.trips or 1 if body.depth > 1 else 1
            for i, value in enumerate((body.packets, body.multiplications, body.stalls)):
                total[i] += times * value
        return total[0], total[1], total[2]

    def to_json(self) -> dict[str, Any]:
        """Write the nest as a JSON object.

        Returns:
            The function's name, what a whole turn of the outermost loop takes, and each loop's body.
        """
        packets, multiplications, stalls = self.turn
        whole = {"packets": packets, "vrmpy": multiplications, "stalls": stalls,
                 "mac_per_packet": round(multiplications * LANES / packets, 2) if packets else 0.0}  # fmt: skip
        return {"function": self.function, "turn": whole, "loops": [body.to_json() for body in self.bodies]}


def nest(function: AssemblyFunction, inner: int | None = None) -> Nest | None:
    """Find the nest of loops that multiplies most.

    Args:
        function: Of the assembly.
        inner: Turns of loops inside that do not tell how often they turn; None: not known.

    Returns:
        The loops, outer first; None where nothing is multiplied in a loop.
    """
    found = [loop for loop in loops(function) if _count(function.packets[loop.first : loop.last + 1])]
    if not found:
        return None
    outer = [loop for loop in found if not any(loop in other for other in found)]
    top = max(outer, key=lambda loop: _count(function.packets[loop.first : loop.last + 1]))
    chain = [top, *sorted((loop for loop in found if loop in top), key=lambda loop: loop.first - loop.last)]
    inside = {i for loop in outer for i in range(loop.first, loop.last + 1)}
    bodies = tuple(_body(function, loop, _inner(loop, found), _depth(loop, chain), inner) for loop in chain)
    return Nest(function.name, bodies, len(function.packets) - len(inside))


def _count(packets: list[Packet]) -> int:
    return sum(packet.multiplications for packet in packets)


def _inner(loop: PacketLoop, found: list[PacketLoop]) -> list[PacketLoop]:
    return [other for other in found if other in loop]


def _depth(loop: PacketLoop, chain: list[PacketLoop]) -> int:
    return 1 + sum(loop in other for other in chain)


def _body(
    function: AssemblyFunction, loop: PacketLoop, others: list[PacketLoop], depth: int, trips: int | None
) -> Body:
    inside = {i for other in others for i in range(other.first, other.last + 1)}
    places = [i for i in range(loop.first, loop.last + 1) if i not in inside]
    own = [function.packets[i] for i in places]
    instructions = [i for packet in own for i in packet.instructions]
    return Body(
        depth,
        trips if loop.trips is None and depth > 1 else loop.trips,
        len(own),
        _count(own),
        sum(i.is_vector for i in instructions),
        sum(i.loads for i in instructions),
        sum(i.stores for i in instructions),
        sum(i.spills for i in instructions),
        sum(_stalls(function, loop, place) for place in places),
    )


def _stalls(function: AssemblyFunction, loop: PacketLoop, place: int) -> bool:
    """Return whether a packet waits for the vector packet before it.

    Before the first of a loop comes the last, of the turn before.
    """
    packet = function.packets[place]
    around = [*range(place - 1, loop.first - 1, -1), *range(loop.last, place, -1)]
    before = next((function.packets[i] for i in around if function.packets[i].is_vector), None)
    return packet.is_vector and before is not None and packet.stalls_after(before)
