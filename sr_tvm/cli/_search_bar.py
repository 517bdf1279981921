"""The display of a search while it runs: the bar, and below it the network as it is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sr_tvm.records.architecture import Architecture
    from sr_tvm.search.settings import SearchSettings

TITLES = {"race": "halving"}  # of phases whose name in the files is another


def widths(architecture: Architecture) -> str:
    """Describe a network: channels, then expand/linear of each block; equal blocks in a row once, with their number.

    Args:
        architecture: Of the network.

    Returns:
        Such as "3 blocks of 24: 2x48/12 36/9".
    """
    words: list[str] = []
    counts: list[int] = []
    for block in architecture.blocks:
        word = f"{block.expand}/{block.linear}"
        if words and words[-1] == word:
            counts[-1] += 1
        else:
            words.append(word)
            counts.append(1)
    told = " ".join(w if n == 1 else f"{n}x{w}" for w, n in zip(words, counts, strict=True))
    return f"{len(architecture.blocks)} blocks of {architecture.channels}: {told or 'none'}"


class Quiet:
    """The display of the processes that do not lead: none."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *reason: Any) -> None:
        pass

    def report(self, now: Any) -> None:
        """Show nothing.

        Args:
            now: How far the search is.
        """
        pass


class SearchBar:
    """Steps, time left, phase, loss, latency and its target, the network; a line that stays for each history row.

    Args:
        settings: Of the search.
        unit: Of the latency.
    """

    def __init__(self, settings: SearchSettings, unit: str) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.text import Text

        from sr_tvm.bars import make

        self.settings, self.unit = settings, unit
        self.bar = make("{task.fields[told]}")
        self.task = self.bar.add_task("searching", total=settings.steps, told="")
        self.text = Text("", no_wrap=False)
        self.live = Live(Group(self.bar, self.text), console=Console(stderr=True), refresh_per_second=4)
        self.started: int | None = None
        self.psnr = ""

    def __enter__(self) -> SearchBar:
        self.live.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        self.text.plain = ""
        self.live.__exit__(*reason)

    def report(self, now: Any) -> None:
        """Show how far the search is.

        Args:
            now: Its step, phase, loss, latency and architecture; its PSNR where it was validated.
        """
        if self.started is None:  # of a resumed search, only the new steps tell its speed
            self.started = now.step
            self.bar.reset(self.task, completed=now.step)
        if now.psnr is not None:
            self.psnr = f"  {now.psnr:.2f} dB"
        aim = f" -> {now.target:.1f}" if now.target is not None else ""
        told = f"loss {now.loss:.4f}  {now.latency:.1f}{aim} {self.unit}{self.psnr}"
        shape, phase = widths(now.architecture), TITLES.get(now.phase, now.phase)
        if now.due:
            line = f"step {now.step}/{now.steps}  {phase}  {told}  {shape}"
            self.live.console.print(line, highlight=False, markup=False, soft_wrap=True)
        self.bar.update(self.task, description=phase, completed=now.step, told=told)
        self.text.plain = shape
