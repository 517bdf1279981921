"""Branches beside the 3x3 filters: nothing at first, linear, folded into plain filters, moved by the optimizers."""

import pytest
import torch
from torch.nn import functional

from sr_tvm.errors import SrTvmError
from sr_tvm.nets import branches
from sr_tvm.nets.branches import Edges, ProductBranch, SumBranch, branch
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold, load_weights, save_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.training.loop import CHECKPOINT, train
from sr_tvm.training.session import prepare
from sr_tvm.training.settings import BRANCHES, TrainingSettings, WeightsFile

NET = Architecture.uniform(2, 2, 6)
KINDS = [kind for kind in BRANCHES if kind != branches.NONE]


def branched(kind, seed=0):
    torch.manual_seed(seed)
    model = WDSR(NET)
    branch(model, kind)
    return model


def stir(model):
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".weight.1." in name:
                weight.add_(torch.randn_like(weight) * 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_they_begin_as_nothing_and_fold(kind):
    x = torch.rand(1, 3, 9, 7)
    plain, model = branched("none"), branched(kind)
    assert torch.equal(plain(x), model(x))
    stir(model)
    assert not torch.allclose(plain(x), model(x), atol=1e-3)
    folded = fold(model)
    assert torch.allclose(folded(x), model(x), atol=1e-6)
    assert {name for name, _ in folded.named_parameters()} == {name for name, _ in fold(plain).named_parameters()}


def test_a_sum_is_that_of_convolutions():
    torch.manual_seed(0)
    x, kernel, sum_ = torch.rand(1, 4, 8, 8), torch.randn(5, 4, 3, 3), SumBranch(5, 4)
    for part in sum_.parameters():
        part.data.normal_()
    parts = [(kernel, (1, 1)), (sum_.pixel, 0), (sum_.row, (0, 1)), (sum_.column, (1, 0))]
    wanted = sum(functional.conv2d(x, part, padding=padding) for part, padding in parts)
    assert torch.allclose(functional.conv2d(x, sum_(kernel), padding=1), wanted, atol=1e-5)


def test_edges_are_1x1s_behind_fixed_filters():
    torch.manual_seed(0)
    x, kernel, edges = torch.rand(1, 4, 8, 8), torch.randn(5, 4, 3, 3), Edges(5, 4)
    wanted = functional.conv2d(x, kernel, padding=1)
    for mix, fixed in zip(edges.mixes, edges.filters, strict=True):
        mix.data.normal_()
        assert fixed.square().sum() == pytest.approx(1)
        seen = functional.conv2d(x, fixed.expand(4, 1, 3, 3), padding=1, groups=4)
        wanted = wanted + functional.conv2d(seen, mix)
    assert torch.allclose(functional.conv2d(x, edges(kernel), padding=1), wanted, atol=1e-5)


def test_a_product_is_one_convolution_after_another():
    torch.manual_seed(0)
    x, kernel, product = torch.rand(1, 4, 8, 8), torch.randn(5, 4, 3, 3), ProductBranch(5, 4)
    product.back.data.normal_()
    wanted = functional.conv2d(x, kernel, padding=1)
    wanted = wanted + functional.conv2d(functional.conv2d(x, product.wide, padding=1), product.back)
    assert torch.allclose(functional.conv2d(x, product(kernel), padding=1), wanted, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_moves_them_and_goes_on_as_if_never_stopped(kind, folders, tmp_path):
    torch.manual_seed(3)
    save_weights(WDSR(NET), tmp_path / "start.safetensors")
    start = WeightsFile.of(tmp_path / "start.safetensors")
    settings = TrainingSettings(NET, steps=6, batch=2, patch=16, validate_every=3, branches=kind, init=start)

    def begin():
        return prepare(settings, [folders[0]], folders[1], "cpu", 1, tmp_path / "cache")[0]

    parts = begin()
    for _ in range(3):
        parts.advance()
    added = {n: w for n, w in parts.model.named_parameters() if ".weight.1." in n}
    assert added and all(weight.abs().max() > 0 for weight in added.values())
    assert all(f"momentum.{name}" in parts.gradient.optimizers.moments() for name in added)
    parts.save(tmp_path / "parts" / CHECKPOINT)
    for name in ("parts", "whole"):
        train(begin(), tmp_path / name, lambda now: None)
    whole, parts = (load_weights(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


def test_an_unknown_kind_is_refused():
    with pytest.raises(SrTvmError, match="field branches is 'more'; 'none', 'sum', 'edges' or 'product' is needed"):
        TrainingSettings(NET, branches="more")
