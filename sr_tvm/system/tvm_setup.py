"""The set-up that every process makes once before it uses TVM."""

from __future__ import annotations

import faulthandler
import sys
from typing import Any


def import_tvm() -> Any:
    """Import TVM and repair what its import breaks, in 3 s the first time.

    TVM replaces the handler of SIGSEGV, so a crash would end without a Python traceback: faulthandler is put back.

    Returns:
        The module ``tvm``.
    """
    import tvm

    try:
        faulthandler.enable()
    except (AttributeError, ValueError, OSError):  # standard error is no real file, as under some test runners
        faulthandler.enable(sys.__stderr__) if sys.__stderr__ else None
    return tvm
