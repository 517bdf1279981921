"""Ctrl-C and SIGTERM: what they do, in one place.

The command line has them raise KeyboardInterrupt and remembers it, since TVM turns one inside its callbacks into a
RuntimeError. A block that must not be cut short defers them, and a loop that saves its work looks for them between two
steps. Child processes never see Ctrl-C: who waits for one ends it (see sr_tvm.system.channel).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_came = False
_owner = 0
_unhush: Callable[[], None] | None = None


def came() -> bool:
    """Tell whether a signal came within :func:`remembered`: an error after that is its consequence, whatever it says.

    Returns:
        True once one came.
    """
    return _came


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """Have both signals raise KeyboardInterrupt in the main thread, and remember them, within the block.

    A signal that is ignored stays so.

    Yields:
        Nothing; ask :func:`came`.
    """
    global _came, _owner
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.getsignal(n) for n in _NUMBERS}
    _came, _owner = False, os.getpid()
    try:
        for number, handler in before.items():
            if handler not in (signal.SIG_IGN, None):  # nohup, or a handler that is not Python's to put back
                signal.signal(number, _stop)
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        if _unhush is not None:
            _unhush()
        _came = False


@contextlib.contextmanager
def noted(*numbers: int, most: int = sys.maxsize) -> Iterator[list[int]]:
    """Put signals into a list instead of interrupting, within the block.

    In another thread than the main one they don't come at all.

    Args:
        *numbers: Of the signals; both where none is given.
        most: Signals that are noted; the next one raises KeyboardInterrupt.

    Yields:
        The list of those that came.

    Raises:
        KeyboardInterrupt: From a signal beyond ``most``.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number: int, frame: Any) -> None:
        if len(came) >= most:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.signal(number, note) for number in numbers or _NUMBERS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Have Ctrl-C wait for the end of the block: inside TVM it would be taken for a failed callback, or lost.

    Yields:
        Nothing.

    Raises:
        KeyboardInterrupt: At the end of the block, if Ctrl-C came.
    """
    with noted(signal.SIGINT) as came:
        yield
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def between_steps() -> Iterator[Callable[[], bool]]:
    """Have both signals set a flag that is looked at between steps, so no half-done step is saved; twice is at once.

    Yields:
        A function that tells whether one came.
    """
    with noted(most=1) as came:
        yield lambda: bool(came)


def _stop(number: int, frame: Any) -> None:
    global _came
    if os.getpid() != _owner:  # a forked child: it ends as if this had not been here
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    current = signal.getsignal(signal.SIGINT)
    if number == signal.SIGTERM and callable(current) and current is not _stop:
        current(number, frame)  # a block that defers Ctrl-C defers this too
        return
    if not _came:
        _came = True
        _hush()
    raise KeyboardInterrupt


def _hush() -> None:
    """Silence TVM's destructors, which warn of what is cut short: their standard error goes nowhere, Python's stays."""
    global _unhush
    try:
        own = sys.__stderr__
        if own is None or sys.stderr is not own or own.fileno() != 2:
            return  # a progress bar's, which will put back the former itself
        own.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    except (OSError, ValueError):  # closed, or no real file
        return
    mine = open(kept, "w", encoding=own.encoding, errors=own.errors, buffering=1)  # noqa: SIM115  # closed in undo
    sys.stderr = mine

    def undo() -> None:
        global _unhush
        mine.flush()
        os.dup2(kept, 2)
        sys.stderr, _unhush = own, None
        mine.close()

    _unhush = undo
