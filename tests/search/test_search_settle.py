import random

import pytest
import torch

from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture
from sr_tvm.search.penalty import latency_of_architecture
from sr_tvm.search.selection import TOLERANCE, Bounds, Selection
from sr_tvm.search.settle import follow, settle
from sr_tvm.search.supernet import SuperNet
from sr_tvm.speed import known
from sr_tvm.speed.differentiable import latency


def net_and_noise(architecture, seed=0, spread=True):
    torch.manual_seed(seed)
    net = SuperNet(WDSR(architecture))
    with torch.no_grad():
        for parameter in net.indicators():
            if spread:
                parameter.uniform_(0, 1)
    named = {n: p for n, p in net.named_parameters() if not n.startswith("net.")}
    return net, {n: torch.rand_like(p) for n, p in named.items()}


def toy(channels, expand, linear, keep):
    """1 for the ends, a block is 4 + its widths."""
    return 1 + channels + (keep * (4 + expand + linear)).sum()


def bounds(budget, blocks=1):
    return Bounds(budget * (1 - TOLERANCE), budget, blocks)


@pytest.mark.parametrize("device, scale", [("galaxy-s21", 2), ("galaxy-s10-dsp", 2), ("galaxy-s10-dsp-x4", 4)])
@pytest.mark.parametrize("part", [0.1, 0.2, 0.4, 0.6, 0.9])
@pytest.mark.parametrize("spread", [True, False])
def test_within_three_percent_under_budgets_of_phones(device, scale, part, spread):
    """From wherever a search ended: also from a supernet of which nothing was dropped."""
    whole = Architecture.uniform(scale, 6, 16)
    predict = latency(known.find(device), 720 // scale, 1280 // scale, scale)
    # Above what three blocks take: between fewer, a DSP has gaps that no width fills.
    least = latency_of_architecture(predict, Architecture.uniform(scale, 3, 4))
    budget = least + part * (latency_of_architecture(predict, whole) - least)
    net, noise = net_and_noise(whole, spread=spread)
    found = settle(net, noise, predict, bounds(budget))
    assert budget * (1 - TOLERANCE) <= found <= budget
    assert latency_of_architecture(predict, net.architecture()) == pytest.approx(found, rel=1e-6)


def test_any_budget_between_the_smallest_and_the_largest():
    whole, generator = Architecture.uniform(2, 3, 8), random.Random(0)
    predict = latency(known.find("galaxy-s21"), 360, 640, 2)
    most = latency_of_architecture(predict, whole)
    for seed in range(12):
        budget = generator.uniform(4.0, most)
        net, noise = net_and_noise(whole, seed)
        assert bounds(budget).low <= settle(net, noise, predict, bounds(budget)) <= budget


def test_the_weakest_for_their_price_go_first_and_the_strongest_come_back():
    net, noise = net_and_noise(Architecture.uniform(2, 2, 8), spread=False)
    for value in noise.values():
        value.fill_(1.0)
    noise["expand.1.scores"][5] = 0.01
    net.linear[0].scores.data[2] = 0.6
    choice = Selection(net, noise, toy, 1)
    drops = choice.moves(grow=False)
    assert (drops[0].group, drops[0].index) == (2, 5)
    choice.toggle(drops[0])
    back = choice.moves(grow=True)
    assert [(m.group, m.index) for m in back] == [(2, 5)]


def test_too_many_dropped_at_once_come_back_until_the_lower_bound():
    net, noise = net_and_noise(Architecture.uniform(2, 3, 8), spread=False)
    with torch.no_grad():
        net.blocks.through.copy_(torch.tensor([0.4, 0.48, 0.45]))
        net.blocks.around.fill_(0.5)
    one = 4 + 48 + 6
    follow(net, {n: torch.ones_like(v) for n, v in noise.items()}, toy, Bounds(1 + 8 + 2 * one, 1 + 8 + 2.2 * one, 1))
    assert net.blocks.kept().tolist() == [False, True, True]


def test_a_block_that_returns_by_noise_goes_at_once():
    """It lies nearest the threshold; channels that were further from it stay."""
    net, noise = net_and_noise(Architecture.uniform(2, 3, 8), spread=False)
    with torch.no_grad():
        net.blocks.through.copy_(torch.tensor([1.0, 0.5, 1.0]))
        net.blocks.around.copy_(torch.tensor([0.0, 0.5, 0.0]))
    whole, ones = net.architecture(), {n: torch.ones_like(v) for n, v in noise.items()}
    now = 1 + 8 + 2 * (4 + 48 + whole.blocks[0].linear)
    follow(net, ones, toy, Bounds(0.97 * now, now, 1))
    assert net.blocks.kept().tolist() == [True, False, True]
    assert net.architecture().blocks == whole.blocks[:2] and net.architecture().channels == 8


def test_blocks_stay_where_only_widths_may_give_way():
    net, noise = net_and_noise(Architecture.uniform(2, 3, 8), spread=False)
    follow(net, {n: torch.ones_like(v) for n, v in noise.items()}, toy, Bounds(97, 100, 3))
    assert len(net.architecture().blocks) == 3
    assert float(toy(*(w.detach() for w in vars(net.widths()).values()))) <= 103


def test_nothing_is_brought_back_above_the_lower_bound():
    net, noise = net_and_noise(Architecture.uniform(2, 3, 8))
    before, now = net.architecture(), float(toy(*(w.detach().double() for w in vars(net.widths()).values())))
    follow(net, noise, toy, Bounds(now - 0.1, now + 50, 1))
    follow(net, noise, toy, Bounds(now - 8, now - 0.02 * now, 1))  # nor dropped less than 3 % above the upper
    assert net.architecture() == before


def test_a_block_at_least_is_kept():
    net, noise = net_and_noise(Architecture.uniform(2, 3, 8))
    net.blocks.settle(torch.tensor([False] * 3))
    follow(net, noise, toy, bounds(20, blocks=1))
    assert len(net.architecture().blocks) == 1
    net.blocks.settle(torch.tensor([False] * 3))
    settle(net, noise, toy, bounds(100, blocks=2))
    assert len(net.architecture().blocks) >= 2


def test_a_choice_of_too_few_steps_gets_as_near_as_it_can():
    """Latency in steps of 50: nothing lies within 3 % under 120."""

    def steps(channels, expand, linear, keep):
        return 50 * keep.sum() + 1e-9 * (channels + expand.sum() + linear.sum())

    net, noise = net_and_noise(Architecture.uniform(2, 4, 8), spread=False)
    assert settle(net, noise, steps, bounds(120)) == pytest.approx(100, abs=1e-3)
