"""Several processes, each on its share of every batch: gradients are averaged, so all hold the same network.

Started by torchrun, which tells each process its rank in the environment. One flat reduction a step: these networks
have a hundred thousand parameters, too few for torch's wrapper to overlap anything with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch import distributed as dist

from sr_tvm.errors import SrTvmError


class ProcessGroup:
    """``size`` processes, of which this is ``rank``; one alone unless told otherwise."""

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size, self.device = rank, size, device or torch.device("cpu")

    @property
    def leads(self) -> bool:
        """Whether this process prints, scores and writes."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """The part of a batch of ``batch`` patches that is this process's.

        Raises:
            SrTvmError: the batch cannot be divided evenly.
        """
        if batch % self.size:
            raise SrTvmError(f"batch is {batch}; with {self.size} processes a multiple of {self.size} is needed")
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, tensors: Sequence[Tensor], extra: Sequence[float] = ()) -> list[float]:
        """Average ``tensors`` over all processes, in place; gives the averages of ``extra``.

        Every process gets the same bits: each number is summed once and sent to all.
        """
        if self.size == 1:
            return list(extra)
        told = torch.tensor(extra, dtype=torch.float32, device=self.device)
        flat = torch.cat([*(t.flatten() for t in tensors), told])
        dist.all_reduce(flat)
        flat /= self.size
        at = 0
        for tensor in tensors:
            tensor.copy_(flat[at : at + tensor.numel()].view_as(tensor))
            at += tensor.numel()
        return flat[at:].tolist()

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The leading process does this before the others, who then find what it has cached."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()


@contextmanager
def joined(device: torch.device) -> Iterator[ProcessGroup]:
    """The group that torchrun has started this process in, left in the end; without torchrun, this process alone.

    Several processes on CUDA take a GPU each, by their local rank; the group's ``device`` is theirs.

    Raises:
        SrTvmError: torchrun's variables are there but wrong.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup(device=device)
        return
    try:
        rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except (KeyError, ValueError) as error:
        raise SrTvmError(f"torchrun's environment is incomplete: {error}; start it with torchrun again") from None
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=size)
    try:
        yield ProcessGroup(rank, size, device)
    finally:
        dist.destroy_process_group()
