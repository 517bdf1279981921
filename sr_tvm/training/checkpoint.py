"""Checkpoints: one safetensors file with every tensor of a run, its counters and settings as JSON in the metadata.

One file, written atomically, so that weights, optimizer and counters are always of the same step. Data, never code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.weights import write_blob
from sr_tvm.system.validation import Count, Record, read_file

SCHEMA, VERSION = "sr-tvm/training-checkpoint", 3  # 1 drew other patches, 2 had other optimizers
HINT = "delete it to start again, or name another output"


class Told(Record, frozen=True, forbid_unknown_fields=False):
    """What the metadata tell: ``step`` steps are done; what the run was asked to do, and its counters."""

    step: Count
    run: dict[str, Any]
    state: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on.

    Attributes:
        step: How many steps are done.
        tensors: Weights, averaged weights and the optimizers' moments, by name; float32.
        run: What the run was asked to do, as JSON.
        state: Its counters, as JSON.
    """

    step: int
    tensors: dict[str, Tensor]
    run: dict[str, Any]
    state: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write the checkpoint, atomically.

        Args:
            path: The file, which is replaced where it exists.

        Raises:
            SrTvmError: A tensor is no longer of finite numbers (what was there before stays), or the place cannot be
                written.
        """
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.tensors.items()}
        for key, value in tensors.items():
            if not torch.isfinite(value).all():
                raise SrTvmError(
                    f"{path}: not written, as tensor {key!r} is not of finite numbers by step {self.step}; "
                    f"start again with a smaller --lr than {self.run.get('lr')}"
                )
        told = {"schema": SCHEMA, "version": VERSION, "step": self.step, "run": self.run, "state": self.state}
        write_blob(path, save(tensors, metadata={"format": "pt", "training": json.dumps(told, allow_nan=False)}))

    @classmethod
    def read(cls, path: Path, shapes: dict[str, tuple[int, ...]]) -> Checkpoint:
        """Read a checkpoint; see :func:`peek` for its settings alone.

        Args:
            path: The file, which may come from anyone.
            shapes: Of all its tensors, by name.

        Returns:
            The checkpoint, its tensors on the CPU.

        Raises:
            SrTvmError: It is damaged, of another version, or its tensors are not finite float32 of ``shapes``.
        """
        told = peek(path)
        try:
            with safe_open(path, framework="pt") as handle:
                found = {k: tuple(handle.get_slice(k).get_shape()) for k in handle.keys()}  # noqa: SIM118
                if found != shapes:
                    wrong = min(k for k in found.keys() | shapes.keys() if found.get(k) != shapes.get(k))
                    raise SrTvmError(f"{path}: tensor {wrong[:80]!r} does not fit the network; {HINT}")
                tensors = {k: handle.get_tensor(k) for k in shapes}
        except (SafetensorError, OSError) as error:
            raise SrTvmError(f"{path}: a damaged checkpoint ({str(error)[:120]}); {HINT}") from None
        for key, value in tensors.items():
            if value.dtype != torch.float32 or not torch.isfinite(value).all():
                raise SrTvmError(f"{path}: tensor {key!r} is not of finite float32 numbers; {HINT}")
        return cls(told["step"], tensors, told["run"], told["state"])


def peek(path: Path) -> dict[str, Any]:
    """Read the JSON of a checkpoint.

    Args:
        path: The file, which may come from anyone.

    Returns:
        ``step``, ``run`` and ``state``, beside schema and version.

    Raises:
        SrTvmError: It is not a checkpoint of this version, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            told = json.loads((handle.metadata() or {}).get("training", "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise SrTvmError(f"{path}: a damaged checkpoint ({str(error)[:120]}); {HINT}") from None
    if not isinstance(told, dict) or (told.get("schema"), told.get("version")) != (SCHEMA, VERSION):
        raise SrTvmError(f"{path}: not a {SCHEMA} version {VERSION}; {HINT}")
    try:
        read_file(Told, told, str(path))
    except SrTvmError as error:
        raise SrTvmError(f"{error}: a damaged checkpoint; {HINT}") from None
    return told
