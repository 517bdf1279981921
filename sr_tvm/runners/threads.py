"""Threads for TVM: each count gets a thread of its own to work in.

TVM keeps one pool per calling thread, sized when that thread first runs a parallel kernel, and it can only shrink
afterwards. So a LocalRunner works in a thread whose pool was made with exactly its number; that thread is
kept for the life of the process, since TVM never frees a pool. Binding to cores is switched off: TVM would pin the
thread to CPU 0, and two runs at once would share it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import tvm

from sr_tvm.errors import SrTvmError

Result = TypeVar("Result")
_executors: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()
# Threads don't survive a fork: a child makes its own.
os.register_at_fork(after_in_child=_executors.clear)


def _name(threads: int) -> str:
    return f"sr-tvm-{threads}-threads"


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    old = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_pool(threads: int) -> int:
    """Make the calling thread's TVM pool, if this is its first use.

    Args:
        threads: That it is to have; TVM starts no more than it allows itself on this machine.

    Returns:
        The number of threads that it has in fact.
    """
    with _environment({"TVM_NUM_THREADS": str(threads), "TVM_BIND_THREADS": "0"}):
        return int(tvm.runtime.num_threads())


def run_with_threads(threads: int, work: Callable[[], Result]) -> Result:
    """Run work where TVM's kernels use a number of threads, and wait for it.

    Args:
        threads: That kernels use.
        work: What is called, in a thread that is kept for this number.

    Returns:
        What ``work`` returned.

    Raises:
        SrTvmError: TVM will not use that many on this machine.
    """
    if threading.current_thread().name.startswith(_name(threads)):  # a call from within: waiting would never end
        return work()
    with _lock:
        if threads not in _executors:
            executor = ThreadPoolExecutor(1, thread_name_prefix=_name(threads))
            got = executor.submit(start_pool, threads).result()
            if got != threads:
                raise SrTvmError(f"{threads} threads were asked for; TVM uses {got} on this machine")
            _executors[threads] = executor
    return _executors[threads].submit(work).result()
