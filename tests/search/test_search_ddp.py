"""Two processes, started by multiprocessing, on 127.0.0.1 with gloo: what they average."""

import socket

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.search.ddp import ProcessGroup
from sr_tvm.search.searcher import Searcher
from sr_tvm.search.settings import SearchSettings
from sr_tvm.speed import known
from sr_tvm.speed.differentiable import latency
from sr_tvm.training.data import Pair, Pairs


def pairs():
    rng = np.random.default_rng(0)
    made = []
    for i in range(3):
        low = rng.integers(0, 256, (30, 40, 3), np.uint8)
        made.append(Pair(f"{i}", f"{i}", np.repeat(np.repeat(low, 2, 0), 2, 1), low))
    return Pairs(made, 2)


def gradients(group):
    """Of the first step of a search of 4 patches: weights and indicators, and the loss."""
    torch.set_num_threads(1)
    settings = SearchSettings(Architecture.uniform(2, 2, 6), 6.0, 360, 640, batch=4, patch=16)
    searcher = Searcher(settings, pairs(), latency(known.find("galaxy-s21"), 360, 640, 2), group=group)
    loss = searcher.advance().loss
    return torch.cat([p.grad.flatten() for p in searcher.optimizers.weights.values()]), loss, searcher


def work(rank, port, folder):
    store = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    grads, loss, searcher = gradients(ProcessGroup(rank, 2))
    for _ in range(3):
        searcher.advance()
    # Also what only a later phase moves: it tells what all are worth.
    after = [p.detach() for p in searcher.network.parameters()] + list(searcher.noise.squares.values())
    torch.save((grads, loss, after), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_the_average_over_processes_is_the_gradient_of_the_whole_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(work, (port, tmp_path), nprocs=2, start_method="spawn")
    alone, loss, _ = gradients(ProcessGroup())
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert loss == pytest.approx(one[1], rel=1e-5)
    assert (alone - one[0]).abs().max() <= 1e-5 * alone.abs().max()
    assert torch.equal(one[0], other[0]) and one[1] == other[1]
    assert all(torch.equal(a, b) for a, b in zip(one[2], other[2], strict=True))


def test_shares():
    assert [ProcessGroup(rank, 3).share(6) for rank in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    with pytest.raises(SrTvmError, match="batch is 4; with 3 processes a multiple of 3"):
        ProcessGroup(0, 3).share(4)
