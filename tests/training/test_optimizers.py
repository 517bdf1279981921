"""Muon against PyTorch's, and who moves which weight."""

import pytest
import torch
from torch import nn

from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.training.muon import MOMENTUM, Muon, orthogonal
from sr_tvm.training.optimizers import FILTERS, Optimizers

CPU = torch.device("cpu")
IRREGULAR = Architecture(2, 5, (Block(9, 3), Block(30, 7), Block(30, 7)))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rows, columns", [(6, 40), (40, 6), (8, 8), (1, 5)])
def test_orthogonal_matrices_have_singular_values_of_about_one(rows, columns):
    made = orthogonal(random(3, rows, columns) * torch.tensor([1.0, 1e-3, 1e3]).view(3, 1, 1))
    values = torch.linalg.svdvals(made)
    assert made.shape == (3, rows, columns) and values.min() > 0.6 and values.max() < 1.3


def test_no_gradient_at_all_moves_nothing():
    weight = nn.Parameter(random(4, 3, 3, 3))
    weight.grad = torch.zeros_like(weight)
    before = weight.detach().clone()
    Muon([weight], 0.1).step()
    assert torch.equal(weight, before)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="younger than the oldest PyTorch that we take")
def test_steps_are_those_of_pytorchs_muon():
    """It knows matrices only, and computes in bfloat16: alike to a hundredth of a step."""
    shapes = [(6, 4, 3, 3), (30, 5, 1, 1), (6, 4, 3, 3)]
    ours = [nn.Parameter(random(*s, seed=i)) for i, s in enumerate(shapes)]
    theirs = [nn.Parameter(p.detach().flatten(1).clone()) for p in ours]
    a, b = Muon(ours, 0.1), torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0, momentum=MOMENTUM)
    for turn in range(3):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            p.grad = random(*p.shape, seed=10 * turn + i)
            q.grad = p.grad.flatten(1).clone()
        a.step()
        b.step()
    for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
        moved = (q - random(*shapes[i], seed=i).flatten(1)).abs().max()
        assert (p.flatten(1) - q).abs().max() < 0.03 * moved


def test_momentum_is_made_once(monkeypatch):
    weight = nn.Parameter(random(4, 3, 3, 3))
    optimizer, made, zeros_like = Muon([weight], 0.1), [], torch.zeros_like
    monkeypatch.setattr(torch, "zeros_like", lambda *a, **k: made.append(1) or zeros_like(*a, **k))
    for seed in range(3):
        weight.grad = random(4, 3, 3, 3, seed=seed)
        optimizer.step()
    assert len(made) == 1


def test_muon_has_the_filters_of_the_blocks_and_adam_the_rest():
    weights = dict(WDSR(IRREGULAR).named_parameters())
    both = Optimizers(weights, 1e-3, CPU)
    assert both.muon is not None
    assert sorted(tuple(p.shape) for p in both.muon.param_groups[0]["params"]) == sorted(
        tuple(weights[f"blocks.{i}.{layer}.parametrizations.weight.original1"].shape)
        for i in range(3)
        for layer in ("expand", "linear", "project")
    )
    assert len(both.adam.param_groups[0]["params"]) + 9 == len(weights)
    both.rate(2e-3)
    assert both.adam.param_groups[0]["lr"] == 2e-3 and both.muon.param_groups[0]["lr"] == FILTERS * 2e-3
    alone = Optimizers(weights, 1e-3, CPU, "adam")
    assert alone.muon is None and len(alone.adam.param_groups[0]["params"]) == len(weights)


@pytest.mark.parametrize("kind", ["muon", "adam"])
def test_a_run_taken_up_by_its_moments_goes_on_the_same(kind):
    def steps(model, optimizers, turns):
        for turn in turns:
            for i, p in enumerate(model.parameters()):
                p.grad = random(*p.shape, seed=100 * turn + i)
            optimizers.step()

    def begin():
        torch.manual_seed(0)
        model = WDSR(IRREGULAR)
        extra = nn.Parameter(torch.ones(3))
        optimizers = Optimizers(dict(model.named_parameters()), 1e-2, CPU, kind)
        optimizers.add({"extra": extra}, 1e-3)
        extra.grad = torch.ones(3)
        return model, optimizers, extra

    whole, optimizers, extra = begin()
    steps(whole, optimizers, range(2))
    moments = {k: v.clone() for k, v in optimizers.moments().items()}
    half = {k: v.clone() for k, v in whole.state_dict().items()}
    kept = extra.detach().clone()
    steps(whole, optimizers, range(2, 4))

    resumed, again, other = begin()
    resumed.load_state_dict(half)
    other.data.copy_(kept)
    again.remember(moments, 2)
    steps(resumed, again, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert torch.equal(extra, other)
