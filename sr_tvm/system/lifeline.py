"""A child process that ends when its parent does, even when the parent is killed with kill -9."""

from __future__ import annotations

import os
import signal
import threading
import time

PERIOD = 0.5


def die_with_parent(parent: int) -> None:
    """Watch for another parent than ``parent`` and then kill this process's whole group.

    Not prctl(PR_SET_PDEATHSIG): that fires when the *thread* that made us ends, which may be long before its process.
    The caller must have put this process into a group of its own.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PERIOD)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()
