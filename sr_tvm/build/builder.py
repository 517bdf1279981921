"""Builds candidates of tuning tasks here, in child processes: modules for whatever device they are then timed on."""

from __future__ import annotations

import contextlib
import queue
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sr_tvm.errors import SrTvmError
from sr_tvm.records.module import Module
from sr_tvm.system.child import Child

DEADLINE_SECONDS = 60.0  # a network of many kernels is compiled
KEPT = 128  # modules on disk: children are not built again, nor what they are compared with


@dataclass(frozen=True)
class Candidate:
    """One way to do a task: ``request`` is its JSON form, as the builder's process reads it; equal keys, equal code."""

    key: str
    request: Mapping[str, Any]


class Buildable(Protocol):
    """A task whose candidates can be built."""

    @property
    def key(self) -> str:
        """What tells the task from others: equal keys, equal tasks."""

    def build_request(self) -> Mapping[str, Any]:
        """Describe the task for the builder's process.

        Returns:
            A JSON object.
        """
        ...


class Builder(Protocol):
    """What makes a loadable module of a candidate."""

    def build(self, task: Buildable, candidate: Candidate) -> Module:
        """Make the module of a candidate; several threads may call this at a time.

        Args:
            task: That the candidate belongs to.
            candidate: The way to do it.

        Returns:
            The module, as files on this machine.

        Raises:
            SrTvmError: The candidate can't be built.
        """

    def close(self) -> None:
        """End what the builder has started, and remove its files."""


class NoBuilder:
    """A :class:`Builder` for a runner that only looks at a module's key."""

    def build(self, task: Buildable, candidate: Candidate) -> Module:
        """Make a module that is nothing but a key.

        Args:
            task: That the candidate belongs to; not looked at.
            candidate: Whose key the module has.

        Returns:
            A module without files.
        """
        return Module(candidate.key, "", "", "", "", "")

    def close(self) -> None:
        """Do nothing, as there is nothing to end."""
        pass


class ChildBuilder:
    """A :class:`Builder` with up to ``workers`` child processes.

    One that crashes, or is not done within ``deadline`` seconds, is an error of its candidate. Files lie in a folder
    that goes with the builder. ``built`` counts the modules that were not there yet.

    Raises:
        SrTvmError: ``workers`` is below 1.
    """

    def __init__(self, workers: int = 1, deadline: float = DEADLINE_SECONDS) -> None:
        if workers < 1:
            raise SrTvmError(f"workers is {workers}; 1 or more is allowed")
        self.deadline = deadline
        self.built = 0  # modules that were not in the cache
        self._folder = tempfile.TemporaryDirectory(prefix="sr-tvm-build-")
        self._modules: OrderedDict[tuple[str, str], Module] = OrderedDict()
        self._lock = threading.Lock()
        self._free: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._workers = [_Worker() for _ in range(workers)]
        for worker in self._workers:
            self._free.put(worker)

    def __enter__(self) -> ChildBuilder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def build(self, task: Buildable, candidate: Candidate) -> Module:
        """Build a candidate, or find it built; its key alone decides that, before anything is lowered or packed.

        Args:
            task: That the candidate belongs to.
            candidate: The way to do it.

        Returns:
            The module; its files stay until 128 others have been built or asked for since.

        Raises:
            SrTvmError: The candidate can't be built, the process crashed, or it took too long.
        """
        key = (task.key, candidate.key)
        with self._lock:
            found = self._modules.get(key)
            if found is not None:
                self._modules.move_to_end(key)
                return found
        with self._worker() as worker:
            answer = worker.build(task, candidate, self._folder.name, self.deadline)
        module = Module.from_json(answer)
        with self._lock:
            self.built += 1
            self._modules[key] = module
            while len(self._modules) > KEPT:
                _, old = self._modules.popitem(last=False)
                for path in filter(None, (old.library, old.constants)):
                    Path(path).unlink(missing_ok=True)
        return module

    @contextlib.contextmanager
    def _worker(self) -> Iterator[_Worker]:
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End the processes and remove the files."""
        for worker in self._workers:
            worker.close()
        self._folder.cleanup()


class _Worker:
    """One child process, started when it is needed, and the task it was told last."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self.task: str | None = None

    def build(self, task: Buildable, candidate: Candidate, folder: str, deadline: float) -> dict[str, Any]:
        if self.child is None or not self.child.alive:
            self.close()
            self.child, self.task = Child("sr_tvm.build.worker", "the process that builds candidates"), None
        until = time.monotonic() + deadline
        if self.task != task.key:
            self._ask({"operation": "task", "task": task.key, **task.build_request()}, until)
            self.task = task.key
        request = {"operation": "build", "folder": folder, "key": candidate.key, "candidate": dict(candidate.request)}
        return self._ask(request, until)["module"]

    def _ask(self, request: dict[str, Any], until: float) -> dict[str, Any]:
        assert self.child is not None
        return self.child.ask(request, seconds=max(1e-3, until - time.monotonic()))[0]

    def close(self) -> None:
        if self.child is not None:
            self.child.kill()
        self.child = None
