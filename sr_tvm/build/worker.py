"""The process that builds candidates: ``python -m sr_tvm.build.worker``, started by builder.py.

It may crash, hang or be killed: nothing of worth lives here.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from sr_tvm.system import channel


class BuildWorker:
    """A builder's process: the task at hand, and the candidates that come for it."""

    def __init__(self) -> None:
        self.task: Any = None

    def handle(self, request: dict[str, Any], _arrays: list[np.ndarray]) -> channel.Answer:
        """Take up a task, or build a candidate of the last one.

        Args:
            request: A JSON object, as builder.py sends it; ``operation`` is "task" or "build".

        Returns:
            An empty answer to a task, the module's JSON form to a candidate; no arrays.
        """
        from sr_tvm.build import candidates

        if request["operation"] == "task":
            self.task = None  # its memory goes before that of the next
            self.task = candidates.TASKS[request["kind"]](request)
            return {}, []
        module = self.task.build(request["candidate"], request["key"], request["folder"])
        return {"module": module.to_json()}, []


def main() -> None:
    """Serve requests of the process that started this one, until that is gone."""
    # TVM imports PyTorch where it is installed, to share tensors: half of our start-up, for nothing.
    sys.modules["torch"] = None  # type: ignore[assignment]
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()
    from sr_tvm.build import candidates  # noqa: F401  # its import belongs to the start

    channel.serve(BuildWorker().handle)


if __name__ == "__main__":
    main()
