"""Slices of larger networks: what is kept, where it goes, and what cannot be cut; networks of another scale."""

import pytest
import torch

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.training.slicing import adopt, slice_weights


def network(architecture, seed=0):
    torch.manual_seed(seed)
    return fold(WDSR(architecture))


@pytest.fixture
def picture():
    return torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(1))


def test_the_same_architecture_is_the_network_itself(picture):
    big = WDSR(Architecture.uniform(3, 2, 6))
    with torch.no_grad():
        assert torch.allclose(slice_weights(big, big.architecture)(picture), big(picture), atol=1e-6)


def test_what_does_nothing_is_what_goes(picture):
    """A network hidden in a wider and deeper one, in shuffled places among dead channels, is found again."""
    small = Architecture(2, 4, (Block(6, 3), Block(5, 2)))
    big = network(Architecture(2, 7, (Block(9, 5),) * 4), seed=3)
    inner = network(small, seed=4)
    shuffled = torch.Generator().manual_seed(5)

    def places(count, of):
        return torch.randperm(of, generator=shuffled)[:count]

    residual = places(4, 7)
    with torch.no_grad():
        for parameter in big.parameters():
            parameter.zero_()
        # A block that does something, but no more than a trace: a dead one could be told by zeros alone.
        for block in big.blocks:
            block.project.bias[residual] = 1e-4
        put(big.head, inner.head, residual, None)
        put(big.tail, inner.tail, None, residual)
        put(big.skip, inner.skip, None, None)
        for at, block in zip((1, 3), inner.blocks, strict=True):
            expand, linear = places(block.expand.out_channels, 9), places(block.linear.out_channels, 5)
            put(big.blocks[at].expand, block.expand, expand, residual)
            put(big.blocks[at].linear, block.linear, linear, expand)
            put(big.blocks[at].project, block.project, residual, linear)
        found = slice_weights(big, small)
        assert found.architecture == small and not found.training
        assert torch.allclose(found(picture), inner(picture), atol=1e-6)


def put(to, of, out, read):
    out = torch.arange(to.out_channels) if out is None else out
    read = torch.arange(to.in_channels) if read is None else read
    to.weight[out[:, None], read] = of.weight
    to.bias[out] = of.bias


def test_a_block_goes_where_it_fits():
    """Wide blocks of the slice can only come from wide ones, whatever those are worth."""
    big = network(Architecture(2, 4, (Block(4, 2), Block(8, 3), Block(4, 2), Block(8, 3))))
    with torch.no_grad():
        for parameter in big.blocks[3].parameters():
            parameter.zero_()
    found = slice_weights(big, Architecture(2, 4, (Block(4, 2), Block(8, 2))))
    assert torch.equal(found.blocks[1].expand.weight, big.blocks[1].expand.weight)
    found = slice_weights(big, Architecture(2, 4, (Block(8, 3), Block(5, 2))))
    assert torch.equal(found.blocks[0].expand.weight, big.blocks[1].expand.weight)
    assert not found.blocks[1].expand.weight.any()


def test_the_same_slice_every_time_and_no_random_numbers_used():
    big = network(Architecture.uniform(2, 3, 6))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = slice_weights(big, Architecture.uniform(2, 2, 4)).state_dict()
    torch.manual_seed(9)
    again = slice_weights(big, Architecture.uniform(2, 2, 4)).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    torch.manual_seed(0)
    slice_weights(big, Architecture(2, 5, ()))
    # The new networks' throw-away weights are drawn; the caller, a seeded run, must not notice.
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("before, after", [(2, 4), (2, 3), (4, 2), (3, 4)])
def test_another_scale_begins_as_the_old_pixels_at_their_places(before, after, picture):
    big = network(Architecture.uniform(before, 2, 6))
    with torch.no_grad():
        here = slice_weights(big, Architecture.uniform(after, 2, 6))(picture)
        there = big(picture)
    nearest = (torch.arange(here.shape[2]) * before // after, torch.arange(here.shape[3]) * before // after)
    assert torch.allclose(here, there[:, :, nearest[0]][:, :, :, nearest[1]], atol=1e-6)
    smaller = slice_weights(big, Architecture.uniform(after, 1, 4))
    assert smaller.architecture.scale == after and smaller.tail.out_channels == 3 * after**2


@pytest.mark.parametrize(
    "wanted, message",
    [
        (Architecture.uniform(2, 2, 7), "channels is 7; the weights have 6"),
        (Architecture.uniform(2, 4, 6), r"blocks\[3\]"),
        (Architecture(2, 6, (Block(37, 1),)), r"blocks\[0\] is 37 expanded"),
        (Architecture(2, 6, (Block(1, 6),)), r"blocks\[0\] .* 6 linear"),
    ],
)
def test_what_cannot_be_cut(wanted, message):
    with pytest.raises(SrTvmError, match=message):
        slice_weights(WDSR(Architecture.uniform(2, 3, 6)), wanted)


def test_weights_are_adopted_under_weight_norm(picture):
    plain = network(Architecture.uniform(2, 2, 5))
    with torch.no_grad():
        plain.blocks[0].expand.weight[3] = 0  # a filter without a direction
        model = WDSR(plain.architecture)
        adopt(model, plain)
        assert torch.allclose(model(picture), plain(picture), atol=1e-6)
    model(picture).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
