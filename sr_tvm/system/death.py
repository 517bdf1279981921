"""The death of a process and how it is told: one exception, one wording."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from sr_tvm.errors import SrTvmError, one_line

# Where the kernel counts the processes that it killed for want of memory: those of our cgroup, or of the machine.
OOM_COUNTS = ("/sys/fs/cgroup/memory.events", "/proc/vmstat")


class ChildDied(SrTvmError):
    """A child process ended that should not have; the message says of which, how, and its last line.

    Attributes:
        what: the process, in words, such as "the RPC client".
        how: "signal SIGSEGV", "exit code 1", or what was not done at its deadline.
        words: the last line that it wrote; "" where there is none.
        late: whether it was killed at a deadline.
    """

    def __init__(
        self, what: str, how: str, words: str = "", *, verb: str = "crashed", late: bool = False, hint: str = ""
    ) -> None:
        self.what, self.how, self.words, self.late = what, how, words, late
        super().__init__(f"{what} {verb}: {how}" + (f": {words}" if words else "") + (f"; {hint}" if hint else ""))


def how_ended(code: int) -> str:
    """Say how a process ended.

    Args:
        code: Its return code, as subprocess gives it: below 0 for a signal.

    Returns:
        Such as "signal SIGSEGV" or "exit code 1".
    """
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def last_words(text: str) -> str:
    """Find the line of what a process wrote that says why it ended.

    After a crash faulthandler lists frames and modules: what was said before that tells more, else where it was.

    Args:
        text: All that it wrote on standard error.

    Returns:
        The line; "" where there is none.
    """
    before, _, dump = text.partition("Fatal Python error")
    frames = (dump.partition("Current thread")[2] or dump).splitlines()
    return one_line(before) or next((line.strip() for line in frames if line.startswith("  File ")), "")


def killed_for_memory() -> int:
    """Count the processes that the kernel has killed so far for want of memory.

    Returns:
        Their number, in this control group or since the machine started; 0 where the kernel does not tell.
    """
    for path in OOM_COUNTS:
        with contextlib.suppress(OSError, ValueError):
            for line in Path(path).read_text(encoding="utf-8").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0
