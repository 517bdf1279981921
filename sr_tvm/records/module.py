"""The `Module` record: built code that a runner can load, call and time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from sr_tvm.regions.value import GLOBAL
from sr_tvm.system.validation import Count, Record, read

Role = Literal["input", "constant", "scratch", "output", "inout"]


class Argument(Record, frozen=True):
    """One tensor argument of a module's entry.

    ``role``: "input" is read, under its name in the session; "constant" is read, from the module's own file; "scratch"
    is written before it is read; "output" is written; "inout" is an input that is written over. ``scope`` is the memory
    it lies in, as of a value.
    """

    name: str
    shape: tuple[Count, ...]
    dtype: str
    role: Role
    scope: str = GLOBAL


class Module(Record, frozen=True):
    """A library and how it is called.

    Attributes:
        key: What it was built from; equal keys are equal modules.
        library: The file; ``digest`` its hex SHA-256, by which it is loaded.
        machine: The architecture it was made for, as ``uname -m`` says it; ``device`` TVM's name of the device.
        target: The name of the target, for messages.
        kind: "function" has an entry ``main`` that takes all its ``arguments`` as tensors; "vm" is an artifact's
            library for TVM's virtual machine, which takes its inputs in order.
        constants: An .npz file with the constants by name; "" where there are none.
    """

    key: str
    library: str
    digest: str
    machine: str
    device: str
    target: str
    kind: Literal["function", "vm"] = "function"
    arguments: tuple[Argument, ...] = ()
    constants: str = ""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Module:
        """Read what :meth:`to_json` gave.

        Args:
            value: A JSON object, not yet checked.

        Returns:
            The module.

        Raises:
            SrTvmError: It is no such thing; the message names the field.
        """
        return read(cls, value, "the description of a module")

    @property
    def name(self) -> str:
        """The library's file name."""
        return Path(self.library).name
