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
    """The processes of one search: ``size`` of them, of which this is ``rank``; one alone unless told otherwise.

    ``device`` is where this process computes, the CPU if None.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size, self.device = rank, size, device or torch.device("cpu")

    @property
    def leads(self) -> bool:
        """Whether this process prints, scores and writes."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """Compute which patches of a batch are this process's.

        Args:
            batch: Patches of a step, of all processes together.

        Returns:
            The slice of the batch, as long in every process.

        Raises:
            SrTvmError: The batch cannot be divided evenly.
        """
        if batch % self.size:
            raise SrTvmError(f"batch is {batch}; with {self.size} processes a multiple of {self.size} is needed")
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, tensors: Sequence[Tensor], extra: Sequence[float] = ()) -> list[float]:
        """Average ``tensors`` over all processes, in place.

        Every process gets the same bits: each number is summed once and sent to all.

        Args:
            tensors: Of any shapes, the same in every process, in the same order; overwritten by their averages.
            extra: Plain numbers to average on the way, in float32.

        Returns:
            The averages of ``extra``, in its order.
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
        """Wait until every process has called this; alone, return at once."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Let the leading process run the body before the others do, who then find what it has cached.

        Yields:
            Nothing; the body runs once in each process.
        """
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()


@contextmanager
def joined(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the group that torchrun has started this process in, and leave it in the end; without torchrun, stay alone.

    Several processes on CUDA take a GPU each, by their local rank.

    Args:
        device: Of a process that is alone; of several, only its type counts: CUDA speaks by NCCL, all else by Gloo.

    Yields:
        The group, whose ``device`` is this process's.

    Raises:
        SrTvmError: Torchrun's variables are there but wrong.
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
