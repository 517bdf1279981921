"""The targets by name. A new one is a folder and an entry point of the group ``sr_tvm.targets``, or a line here."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from sr_tvm.errors import SrTvmError

if TYPE_CHECKING:  # the names must not cost the import of TVM
    from sr_tvm.targets.target import Target

GROUP = "sr_tvm.targets"
# name -> module and class
_TARGETS = {
    "cpu": "sr_tvm.targets.cpu.host:Cpu",
    "android-cpu": "sr_tvm.targets.cpu.android:AndroidCpu",
    "adreno": "sr_tvm.targets.opencl.adreno:Adreno",
    "mali": "sr_tvm.targets.opencl.mali:Mali",
    "hexagon": "sr_tvm.targets.hexagon.scalar:Hexagon",
    "hexagon-float": "sr_tvm.targets.hexagon.floats:HexagonFloat",
    "plain": "sr_tvm.targets.plain.host:Plain",
}


@cache
def _installed() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=GROUP)}


def names() -> tuple[str, ...]:
    """List the targets there are.

    Returns:
        Their names: this package's, then those of other installed packages.
    """
    return (*_TARGETS, *(name for name in _installed() if name not in _TARGETS))


def check(name: str) -> None:
    """Check that there is a target of this name.

    Args:
        name: As people type it.

    Raises:
        SrTvmError: There is none; the message lists the names there are.
    """
    if name not in names():
        raise SrTvmError(f"unknown target {name!r}; known are {', '.join(names())}")


def get(name: str) -> Target:
    """Make the target of this name, with its options as they are by default.

    Args:
        name: As people type it.

    Returns:
        The target.

    Raises:
        SrTvmError: There is none; the message lists the names there are.
    """
    check(name)
    return _class(_TARGETS.get(name) or _installed()[name])()


def spec(target: Target) -> dict[str, Any]:
    """Describe a target as JSON, from which :func:`from_spec` makes it in a child process.

    Args:
        target: The target.

    Returns:
        Its class, as module and name, and its options.
    """
    kind = type(target)
    return {"class": f"{kind.__module__}:{kind.__qualname__}", "options": target.options()}


def from_spec(value: dict[str, Any]) -> Target:
    """Make the target that :func:`spec` describes.

    It is not for what comes from outside: it imports the class that it is told.

    Args:
        value: The description.

    Returns:
        A target that is equal to the described one.
    """
    return _class(value["class"])(**value["options"])


def _class(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
