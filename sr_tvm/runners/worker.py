"""The process behind a session elsewhere than in ours: ``python -m sr_tvm.runners.worker``, started by child_session.

A call that hangs or aborts takes only this process with it. It answers one request at a time.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np

from sr_tvm.system import channel


class StationWorker:
    """A station at the place that the request "open" names: here, or behind RPC."""

    def __init__(self) -> None:
        self.station: Any = None

    def handle(self, request: dict[str, Any], arrays: list[np.ndarray]) -> channel.Answer:
        """Answer one request, opening or closing the station where it says so.

        Args:
            request: Its "operation" and fields; "deadline" is in seconds.
            arrays: The tensors that belong to it.

        Returns:
            The fields of the answer, and the tensors that belong to it.
        """
        if request["operation"] in ("open", "close"):
            self.station = None
            gc.collect()  # an RPC session ends with its last reference
            if request["operation"] == "open":
                self.station = _station(request["place"], request["deadline"])
            return {}, []
        place = self.station.place
        place.guard(request["deadline"])
        answer = self.station.answer(request, arrays)
        place.guard(None)
        return answer


def _station(told: dict[str, Any], deadline: float) -> Any:
    from sr_tvm.runners.place import LocalPlace, RpcPlace
    from sr_tvm.runners.station import Station

    if told["tracker"] is None:
        return Station(LocalPlace(told["threads"]))
    return Station(RpcPlace(told["tracker"], told["key"], deadline, told["lease"], told["threads"]))


def main() -> None:
    """Serve one session's requests on the standard streams, until they end."""
    # TVM imports PyTorch where it is installed, to share tensors: half of our start-up, for nothing.
    sys.modules["torch"] = None  # type: ignore[assignment]
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()  # its seconds belong to the start, not to a call's deadline
    from sr_tvm.runners import place, station  # noqa: F401  # as do theirs

    # TVM's errors leave cycles, which would keep what they refer to. What was imported is not looked through each time.
    gc.collect()
    gc.freeze()
    channel.serve(StationWorker().handle, gc.collect)


if __name__ == "__main__":
    main()
