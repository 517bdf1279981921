"""The targets by name. A new target is one file and one line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from sr_tvm.errors import SrTvmError

if TYPE_CHECKING:  # the names must not cost the import of TVM
    from sr_tvm.targets.target import Target

# name -> module and class
_TARGETS = {
    "cpu": ("sr_tvm.targets.cpu.host", "Cpu"),
    "android-cpu": ("sr_tvm.targets.cpu.android", "AndroidCpu"),
    "adreno": ("sr_tvm.targets.opencl.adreno", "Adreno"),
    "mali": ("sr_tvm.targets.opencl.mali", "Mali"),
    "hexagon": ("sr_tvm.targets.hexagon.scalar", "Hexagon"),
}
NAMES = tuple(_TARGETS)


def check(name: str) -> None:
    """Raises SrTvmError listing the names there are unless ``name`` is one of them."""
    if name not in _TARGETS:
        raise SrTvmError(f"unknown target {name!r}; known are {', '.join(NAMES)}")


def get(name: str) -> Target:
    """The target called ``name``; raises SrTvmError listing the names there are."""
    check(name)
    module, cls = _TARGETS[name]
    return getattr(importlib.import_module(module), cls)()
