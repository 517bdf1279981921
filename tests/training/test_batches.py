"""One batch, however it is made: cut on the CPU, ahead by a thread, or out of pictures that lie on the device."""

import pytest
import torch

from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold
from sr_tvm.records.architecture import Architecture
from sr_tvm.training.batches import Ahead, Cut, Resident, source
from sr_tvm.training.data import load_pairs
from sr_tvm.training.distillation import distill
from sr_tvm.training.settings import TrainingSettings

CPU = torch.device("cpu")


@pytest.mark.parametrize("scale, distilled", [(2, False), (3, False), (2, True)])
def test_every_source_gives_the_same(folders, tmp_path, scale, distilled):
    pairs = load_pairs([folders[0], folders[1]], scale, tmp_path)  # of different sizes
    if distilled:
        pairs = distill(pairs, fold(WDSR(Architecture.uniform(scale, 1, 4))), "digest", CPU, tmp_path)
    settings = TrainingSettings(Architecture.uniform(scale, 1, 4), batch=24, patch=8, seed=3)
    cut, others = Cut(pairs, settings, CPU), [Resident(pairs, settings, CPU), Ahead(Cut(pairs, settings, CPU))]
    ways = set()
    for step in (0, 1, 2, 7, 8, 7):
        ways |= set(pairs.draw(3, step, 24, 8)[:, 3].tolist())
        wanted = cut(step)
        assert len(wanted) == 2 + distilled
        for other in others:
            for mine, theirs in zip(wanted, other(step), strict=True):
                assert torch.equal(mine, theirs)
                assert theirs.is_contiguous(memory_format=torch.channels_last)
    assert ways == set(range(8))


def test_draws_reach_every_place(folders, tmp_path):
    pairs = load_pairs([folders[0]], 2, tmp_path)  # four of 32x40 low-resolution pixels
    drawn = pairs.draw(0, 0, 4000, 30)
    assert [set(column.tolist()) for column in drawn.T] == [set(range(n)) for n in (4, 3, 11, 8)]


def test_a_cpu_run_reads_from_the_cache_and_a_gpu_decides_by_its_memory(folders, tmp_path, monkeypatch):
    pairs = load_pairs([folders[0]], 2, tmp_path)
    settings = TrainingSettings(Architecture.uniform(2, 1, 4), batch=2, patch=16)
    assert isinstance(source(pairs, settings, CPU), Cut)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 10**9))
    assert isinstance(source(pairs, settings, torch.device("cuda")), Ahead)


def test_an_error_of_the_thread_is_told():
    def fails_later(step):
        if step:
            raise OSError("the disk is gone")
        return torch.zeros(1), torch.zeros(1)

    ahead = Ahead(fails_later)
    ahead(0)
    with pytest.raises(OSError, match="the disk is gone"):
        ahead(1)
