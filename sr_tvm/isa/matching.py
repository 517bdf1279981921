"""Find how often each loop of the machine code goes round, from the loops of the source that it was made from.

The compiler unrolls small loops, takes an iteration out of others, swaps none. What it did is found by trying: each
machine loop is one of the source's loops, all of it or what unrolling and peeling leave, and the floating-point
multiplications of one work-item have to come out as the source has them. Those whose product is not added to anything
may be missing: of a factor that is 0 or 1 the compiler makes a selection.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sr_tvm.isa.launch import SourceLoop
from sr_tvm.isa.machine import MachineKernel

TOLERANCE = 0.01
# Trials until it is given up; the ways are tried from the plainest on.
TRIALS = 100_000


@dataclass(frozen=True)
class Match:
    """Trip counts of the loops of machine code, in their order.

    Attributes:
        trips: How often each loop goes round, by itself.
        multiplies: Multiplications of one work-item by these counts.
        problem: Why there are none, or why they can't be trusted; "" where the multiplications are the source's.
    """

    trips: tuple[float, ...]
    multiplies: float = 0
    problem: str = ""


@dataclass(frozen=True)
class _Choice:
    """A machine loop taken as the source's loop number ``source``.

    It goes round ``trips`` times, each for ``factor`` iterations of the source. The less the penalty, the plainer.
    """

    source: int
    trips: float
    factor: int
    penalty: int


def match(kernel: MachineKernel, body: SourceLoop) -> Match:
    """Find how often a kernel's loops go round.

    Args:
        kernel: Its machine code.
        body: All that one work-item does by the source, as a loop of one iteration.

    Returns:
        Trip counts for the machine's loops, in their order. Where none gives the source's multiplications, ``problem``
        says so, and the counts are those that come closest, or there are none.
    """
    wanted = body.total("multiplies")
    least = min(body.total("macs"), wanted)
    parents = _parents(kernel.loops)
    own = _own(kernel, "multiplies")
    stored = _own(kernel, "stores")
    source = list(body.flat())[1:]
    inside = _ancestors(body)
    if not kernel.loops:
        return _verdict((), own[-1], least, wanted)
    if not source:
        return Match((), problem=f"the machine code has {len(kernel.loops)} loops and the source none")
    best: tuple[float, Match] | None = None
    closest: Match | None = None
    wanted_stores = body.total("stores")
    for choice in _ways(len(kernel.loops), source, parents, inside):
        penalty = sum(c.penalty for c in choice)
        if best is not None and penalty > best[0]:
            break  # they come the plainest first
        trips = tuple(c.trips for c in choice)
        found = _weighted(trips, parents, own)
        said = _verdict(trips, found, least, wanted)
        if said.problem:
            if closest is None or abs(found - wanted) < abs(closest.multiplies - wanted):
                closest = said
            continue
        gap = abs(_weighted(trips, parents, stored) - wanted_stores) / max(wanted_stores, 1)
        error = (_off(found, least, wanted) + abs(found - wanted) / 100) / (TOLERANCE * wanted) if wanted else 0.0
        strange = sum(_strange(choice, parents, own, source))
        score = penalty + 2 * min(gap, 4.0) + 4 * error + 3 * strange
        if best is None or score < best[0]:
            best = (score, said)
    found_one = best[1] if best else closest
    return found_one or Match((), problem="the machine code's loops are not nested as the source's are")


def _strange(
    choice: Sequence[_Choice], parents: Sequence[int], own: Sequence[float], source: Sequence[SourceLoop]
) -> Iterator[bool]:
    """Yield for each machine loop whether an iteration multiplies other amounts than the source's it stands for."""
    each = list(own[:-1])
    for at in reversed(range(len(each))):  # an inner loop comes after the one around it
        if parents[at] >= 0:
            each[parents[at]] += choice[at].trips * each[at]
    for made, one in zip(choice, each, strict=True):
        loop = source[made.source]
        least, most = (made.factor * loop.total(what) / max(loop.extent, 1) for what in ("macs", "multiplies"))
        yield _off(one, min(least, most), most) > TOLERANCE * max(one, most)


def _off(found: float, least: float, most: float) -> float:
    return max(least - found, found - most, 0.0)


def _verdict(trips: tuple[float, ...], found: float, least: float, wanted: float) -> Match:
    if _off(found, least, wanted) <= TOLERANCE * wanted or not wanted:
        return Match(trips, found)
    said = f"{found:.0f} multiplications of a work-item in the machine code, {wanted:.0f} in the source"
    return Match(trips, found, said)


def _parents(loops: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each loop the index of the smallest around it; -1: none."""
    made = []
    for at, (first, last) in enumerate(loops):
        around = [(l2 - l1, i) for i, (l1, l2) in enumerate(loops) if l1 <= first and last <= l2 and i != at]
        made.append(min(around)[1] if around else -1)
    return made


def _own(kernel: MachineKernel, what: str) -> list[float]:
    """Return multiplications, or words stored, directly in each loop; the last is for what is in none."""
    made = [0.0] * (len(kernel.loops) + 1)
    for at, instruction in enumerate(kernel.instructions):
        if what == "multiplies":
            amount = float(instruction.multiplies)
        else:
            amount = instruction.size / 4 if instruction.kind == "store" and instruction.memory != "private" else 0.0
        if amount:
            made[innermost(kernel.loops, at)] += amount
    return made


def innermost(loops: Sequence[tuple[int, int]], at: int) -> int:
    """Find the smallest loop around an instruction.

    Args:
        loops: Ranges (first, last) of instructions.
        at: The instruction's place in the text, from 0.

    Returns:
        The loop's index; -1: it is in none.
    """
    around = [(last - first, i) for i, (first, last) in enumerate(loops) if first <= at <= last]
    return min(around)[1] if around else -1


def weights(trips: Sequence[float], parents: Sequence[int]) -> list[float]:
    """Compute how often each loop's body runs for a work-item, those around it included.

    Args:
        trips: How often each loop goes round, by itself.
        parents: For each loop the index of the smallest around it; -1: none.

    Returns:
        A number for each loop, and 1 for what is in no loop.
    """
    made = []
    for at, own in enumerate(trips):
        product, up = own, parents[at]
        while up >= 0:
            product, up = product * trips[up], parents[up]
        made.append(product)
    return [*made, 1.0]


def trip_weights(kernel: MachineKernel, trips: Sequence[float]) -> list[float]:
    """Compute how often each instruction runs for a work-item.

    Args:
        kernel: Its machine code.
        trips: How often each of its loops goes round, by itself.

    Returns:
        A number for each instruction, in the order of the text.
    """
    by_loop = weights(trips, _parents(kernel.loops))
    return [by_loop[innermost(kernel.loops, at)] for at in range(len(kernel.instructions))]


def _weighted(trips: Sequence[float], parents: Sequence[int], own: Sequence[float]) -> float:
    return sum(w * o for w, o in zip(weights(trips, parents), own, strict=True))


def _ancestors(body: SourceLoop) -> list[set[int]]:
    """Return for each loop within ``body``, in the order of the text, the numbers of those around it."""
    made: list[set[int]] = []

    def visit(loop: SourceLoop, around: set[int]) -> None:
        for inner in loop.inner:
            number = len(made)
            made.append(around)
            visit(inner, around | {number})

    visit(body, set())
    return made


def _variants(extent: int) -> Iterator[tuple[float, int, int]]:
    """Yield what may be left of a loop: all, all but one or two, halves and less by unrolling.

    Yields:
        Turns, how many iterations of the source a turn does, and the penalty.
    """
    seen = set()
    ways = [(extent, 1, 0), (extent - 1, 1, 2), (extent - 2, 1, 4), (extent + 1, 1, 4)]
    for factor in (2, 4, 8):
        ways += [(extent // factor, factor, 3), ((extent - 1) // factor, factor, 5)]
    for trips, factor, penalty in ways:
        if trips >= 1 and trips not in seen:
            seen.add(trips)
            yield float(trips), factor, penalty


def _ways(
    count: int, source: Sequence[SourceLoop], parents: Sequence[int], inside: Sequence[set[int]]
) -> Iterator[tuple[_Choice, ...]]:
    """Yield all ways to take the machine's loops for the source's, nested as they are, the text's order first."""
    every = [_Choice(i, t, f, p) for i, loop in enumerate(source) for t, f, p in _variants(loop.extent)]
    every.sort(key=lambda c: c.penalty)
    tried = itertools.count()

    def extend(made: tuple[_Choice, ...], left: int) -> Iterator[tuple[_Choice, ...]]:
        at = len(made)
        if at == count:
            if left == 0:
                yield made
            return
        if next(tried) > TRIALS:
            return
        for choice in every:
            penalty = choice.penalty + _disorder(made, choice)
            if penalty > left:
                continue
            if parents[at] >= 0 and made[parents[at]].source not in inside[choice.source]:
                continue
            yield from extend((*made, replace(choice, penalty=penalty)), left - penalty)

    for allowed in range(0, 5 + 2 * count):
        yield from extend((), allowed)
        if next(tried) >= TRIALS:
            return


def _disorder(made: tuple[_Choice, ...], choice: _Choice) -> int:
    """Return a penalty, for another order or a loop that is there twice, after one was taken out of it."""
    if not made or choice.source > made[-1].source:
        return 0
    return 1 if choice.source == made[-1].source else 3
