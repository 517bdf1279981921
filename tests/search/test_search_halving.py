"""Successive halving for the depth: who may enter, who wins, and that a search with it can be stopped anywhere."""

import json

import pytest
import torch

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture
from sr_tvm.search import loop
from sr_tvm.search.halving import SuccessiveHalving, of_depth
from sr_tvm.search.penalty import latency_of_architecture
from sr_tvm.search.selection import Bounds
from sr_tvm.search.session import prepare
from sr_tvm.search.supernet import SuperNet
from sr_tvm.speed import known
from sr_tvm.speed.differentiable import latency
from sr_tvm.training.checkpoint import peek
from sr_tvm.training.loop import CHECKPOINT

PREDICT = latency(known.find("galaxy-s21"), 360, 640, 2)


@pytest.fixture
def begin(folders, tmp_path, small):
    def make(**changed):
        settings = small(**dict(race_steps=8) | changed)
        return prepare(settings, known.find("galaxy-s21"), [folders[0]], threads=1, cache=tmp_path / "cache")

    return make


def worth(net):
    return {n: torch.ones_like(p) for n, p in net.named_parameters() if not n.startswith("net.")}


def test_of_each_depth_there_is_the_network_that_fills_the_budget():
    torch.manual_seed(0)
    net = SuperNet(WDSR(Architecture.uniform(2, 6, 12)))
    told, bounds = worth(net), Bounds.under(12.0, 1)
    told["blocks.through"] = torch.tensor([5.0, 1, 1, 5, 5, 5])
    before = net.architecture()
    found = [of_depth(net, told, PREDICT, bounds, blocks) for blocks in range(1, 7)]
    assert found[0] is None  # all of one block takes less
    made = [n for n in found if n is not None]
    assert [len(n.blocks) for n in made] == [2, 3, 4, 5, 6]
    assert all(0.97 * 12 <= latency_of_architecture(PREDICT, n.architecture) <= 12 for n in made)
    assert sum(b.expand for b in made[0].architecture.blocks) > sum(b.expand for b in made[-1].architecture.blocks)
    # The weakest went first, and the supernet is as it was.
    for ours, whose in zip(made[2].blocks, (0, 3, 4, 5), strict=True):
        assert set(ours.project.bias.tolist()) <= set(net.net.blocks[whose].project.bias.tolist())
    assert net.architecture() == before


def test_nobody_enters_with_more_blocks_than_are_left():
    net = SuperNet(WDSR(Architecture.uniform(2, 3, 12)))
    net.blocks.settle(torch.tensor([True, False, True]))
    assert of_depth(net, worth(net), PREDICT, Bounds.under(9.0, 1), 3) is None
    assert of_depth(net, worth(net), PREDICT, Bounds.under(9.0, 1), 2) is not None


def networks(*depths):
    made = []
    for depth in depths:
        torch.manual_seed(depth)
        made.append(WDSR(Architecture.uniform(2, depth, 4)))
    return made


def test_the_half_that_learns_worse_drops_out():
    """Of five: one that cannot learn, as nothing of it is on, and one that is right already."""
    low, high = torch.rand(2, 3, 12, 12), torch.rand(2, 3, 24, 24)
    five = networks(1, 2, 3, 4, 5)
    halving = SuccessiveHalving(five, 60, "float32", 0.5)
    with torch.no_grad():
        five[2].tail.bias += 10  # far off
    left = []
    while not halving.over:
        if halving.advance(low, high):
            left.append(len(halving.left))
    assert left == [3, 2, 1] and halving.done <= 60 and halving.ticks == 4 + 6 + 10
    assert set(halving.told) == {1, 2, 3, 4, 5} and halving.told[3] == max(halving.told.values())
    assert halving.told[len(halving.leader.network.blocks)] == min(
        halving.told[len(c.network.blocks)] for c in halving.left
    )


def test_a_loss_that_is_no_number_is_the_worst():
    low, high = torch.rand(1, 3, 12, 12), torch.rand(1, 3, 24, 24)
    two = networks(1, 2)
    with torch.no_grad():
        two[0].tail.bias[0] = torch.nan
    halving = SuccessiveHalving(two, 4, "float32", 0.0)
    while not halving.over:
        halving.advance(low, high)
    assert len(halving.leader.network.blocks) == 2


def test_the_winner_is_what_the_search_ends_with(begin, tmp_path):
    seen = []
    searcher = begin()
    assert [(p.name, p.begin, p.steps) for p in searcher.settings.phases] == [
        ("supernet", 0, 3), ("width", 3, 6), ("race", 9, 8), ("depth", 17, 9), ("finetune", 26, 5)
    ]  # fmt: skip
    assert [searcher.settings.searched(i) for i in (0, 3, 6, 9, 17, 20, 26, 31)] == [0, 0, 3, 6, 6, 9, 15, 15]
    assert loop.search(searcher, tmp_path / "run", seen.append).inside
    assert len(searcher.architecture.blocks) == searcher.depth
    halved = [now for now in seen if now.phase == "race"]
    assert halved and all(now.target is None for now in halved) and halved[-1].step == 17
    assert [now.step for now in seen] == sorted({now.step for now in seen}) and seen[-1].step == 31
    (row,) = [r for r in json.loads((tmp_path / "run/history.json").read_text())["rows"] if r["phase"] == "race"]
    assert row["step"] == 17 and len(row["blocks"]) == searcher.depth
    assert row["loss"] == row["depths"][str(searcher.depth)]


def test_one_depth_alone_is_not_halved(begin, tmp_path):
    """And what is no number is not written."""
    searcher = begin(supernet_steps=0, budget=12.4, race_steps=8)
    assert loop.search(searcher, tmp_path / "run", lambda now: None).inside
    assert searcher.depth == 3
    (row,) = [r for r in json.loads((tmp_path / "run/history.json").read_text())["rows"] if r["phase"] == "race"]
    assert row["depths"] == {} and 0 < row["loss"] < 1


def test_a_halving_that_nobody_ends_is_told(begin, monkeypatch):
    searcher = begin(supernet_steps=0)
    while searcher.phase.name != "race":
        searcher.advance()
    monkeypatch.setattr("sr_tvm.search.halving.functional.l1_loss", lambda x, y: (x * torch.nan).mean())
    with pytest.raises(SrTvmError, match="no network of the halving has a finite loss"):
        for _ in range(9):
            searcher.advance()


def test_blocks_go_one_after_another(begin):
    searcher = begin(width_steps=20, depth_steps=40, race_steps=3, supernet_steps=0, budget=5.0)
    while searcher.phase.name != "depth":
        searcher.advance()
    searcher.depth, counts = 1, []
    while searcher.phase.name == "depth" and len(counts) < 39:
        counts.append(len(searcher.advance().architecture.blocks))
    assert counts[0] == 3 and counts[-1] == 1 and counts == sorted(counts, reverse=True) and 2 in counts


@pytest.mark.parametrize("stop", [9, 12, 17, 19])
def test_a_resumed_search_equals_an_uninterrupted_one(begin, tmp_path, monkeypatch, stop):
    """Within the halving it begins with the halving again."""

    def report(now):
        if now.step > stop:
            raise KeyboardInterrupt

    loop.search(begin(), tmp_path / "whole", lambda now: None)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        loop.search(begin(), tmp_path / "parts", report)
    assert peek(tmp_path / "parts" / CHECKPOINT)["step"] == {12: 9}.get(stop, stop)
    loop.search(begin(), tmp_path / "parts", lambda now: None)
    for name in ("weights.safetensors", "history.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
