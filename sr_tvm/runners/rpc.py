"""A device behind a TVM RPC tracker: a phone, or a server on this machine."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from sr_tvm.records.timer import WALL
from sr_tvm.runners import tracker_client
from sr_tvm.runners.base import Session
from sr_tvm.runners.child_session import ChildRunner
from sr_tvm.runtimes.opencl import backend

# How long a server may stay busy before we say so.
BUSY_SECONDS = 5.0
# What of a server's description of itself goes into a measurement's conditions.
SERVER_FACTS = ("tvm", "tvm_ffi", "machine", "cpu", "governor", backend.KIND)


class RpcRunner(ChildRunner):
    """Runs modules on servers of kind ``key`` behind ``tracker`` ("HOST:PORT").

    Calls are made by a child process, since TVM's client waits for ever on a server that went silent: one that has not
    finished within ``deadline`` seconds is killed. Close the runner, or use it in a ``with`` block.

    Raises:
        SrTvmError: from any method: the tracker or the server does not answer in time, no server has the key, all are
            busy, the library is for another architecture, TVM's versions differ, or the run failed over there.
    """

    clock = WALL  # the server's own
    what = "the RPC client"
    leases = True  # a server has no other limit for a session that is frozen

    def __init__(self, tracker: str, key: str, deadline: float = 60.0, threads: int = 1) -> None:
        tracker_client.parse_address(tracker)
        super().__init__(threads, deadline)
        self.tracker, self.key, self.name = tracker, key, key

    @property
    def capacity(self) -> int:  # type: ignore[override]
        """The servers of this kind that the tracker knows, busy or not."""
        return sum(server.key == self.key for server in tracker_client.servers(self.tracker))

    @property
    @override
    def where(self) -> str:
        return f"{self.key} at tracker {self.tracker}"

    @override
    def place(self, lease: float) -> dict[str, Any]:
        return {"tracker": self.tracker, "key": self.key, "threads": self.threads, "lease": lease}

    @override
    def wait_until_free(self) -> None:
        tracker_client.wait_for_free(self.tracker, self.key, BUSY_SECONDS)

    @override
    def measured_on(self, session: Session) -> str:
        return self.key

    @override
    def conditions(self, session: Session) -> dict[str, Any]:
        # Only what a server may tell, and never over what we know ourselves.
        info = session.info()
        facts = {name: value for name in SERVER_FACTS if isinstance(value := info.get(name), str)}
        return {**facts, "method": "rpc time_evaluator"}
