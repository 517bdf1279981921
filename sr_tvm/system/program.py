"""A program that is run to its end: a compiler, a simulator. What is talked to while it runs is a Child."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sr_tvm.system.death import ChildDied, last_words


def run(
    command: Sequence[str | Path], what: str, seconds: float, *, environment: Mapping[str, str] | None = None,
    cwd: Path | None = None, hint: str = "it hangs, or needs longer",
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run a program to its end, with no input; what it prints is text. Its exit code is the caller's to judge.

    It stays in our process group: a terminal's Ctrl-C ends it with us, and whoever kills our group kills it.

    Args:
        command: The program and its arguments.
        what: The program in words, for messages.
        seconds: After which it is killed.
        environment: Set besides ours; None for nothing.
        cwd: The folder that it runs in; None for ours.
        hint: What to do where it is too slow.

    Returns:
        Its exit code, output and error output.

    Raises:
        ChildDied: It cannot be started, or was not done within so many ``seconds`` and was killed.
    """
    try:
        return subprocess.run(
            list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=seconds, env={**os.environ, **(environment or {})}, cwd=cwd, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        said = late.stderr or late.stdout or b""
        words = last_words(said if isinstance(said, str) else said.decode(errors="replace"))
        how = f"it did not finish within {seconds:.3g} s"
        raise ChildDied(what, how, words, verb="was killed", late=True, hint=hint) from None
    except OSError as error:
        raise ChildDied(what, f"{command[0]}: {error.strerror or error}", verb="does not start") from None
