import pytest
import torch

from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.search.extract import extract
from sr_tvm.search.supernet import Least, SuperNet


def supernet(scale=2, seed=0):
    """A random one whose weights and biases are far from their start, in float64."""
    torch.manual_seed(seed)
    net = WDSR(Architecture(scale, 7, (Block(20, 6), Block(15, 5), Block(12, 7))))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1 + 0.3 * torch.randn_like(parameter)).add_(0.02 * torch.randn_like(parameter))
    return SuperNet(net).double()


def scatter(net, blocks):
    """Random choices, ``blocks`` kept."""
    with torch.no_grad():
        for mask in net.masks:
            mask.scores.uniform_(0, 1)
    net.blocks.settle(torch.tensor(blocks))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_with_every_mask_open_it_is_the_network(scale):
    net = supernet(scale)
    x = torch.rand(2, 3, 9, 8, dtype=torch.float64)
    assert net.architecture() == net.net.architecture
    assert torch.allclose(net(x), net.net(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("blocks", [[True] * 3, [False, True, True], [False, True, False], [False] * 3])
def test_the_extracted_network_equals_the_masked_one(blocks, normed):
    net = supernet().float()
    scatter(net, blocks)
    x = torch.rand(2, 3, 11, 9)
    with torch.no_grad():
        masked, dense = net(x), extract(net, normed)(x)
    a = net.architecture()
    assert len(a.blocks) == sum(blocks) and a.channels < 7
    assert (masked - dense).abs().max() <= 1e-6
    assert extract(net).architecture == a


def test_a_dead_filter_is_extracted_too():
    net = supernet().float()
    with torch.no_grad():
        net.net.blocks[0].expand.parametrizations.weight.original0.zero_()
    dense = extract(net, normed=True)
    x = torch.rand(1, 3, 8, 8)
    assert (dense(x) - net(x)).abs().max() <= 1e-6


def test_widths_are_counted_and_differentiable():
    net = supernet()
    scatter(net, [True, False, True])
    widths = net.widths()
    assert int(widths.channels) == net.architecture().channels
    counted = [(int(e), int(m)) for e, m, k in zip(widths.expand, widths.linear, widths.keep, strict=True) if k]
    assert counted == [(b.expand, b.linear) for b in net.architecture().blocks]
    (widths.channels + 2 * widths.expand[1] + 3 * widths.linear[2] + 5 * widths.keep[1]).backward()
    assert net.channels.scores.grad.tolist() == [1] * 7
    assert net.expand[1].scores.grad.tolist() == [2] * 15 and net.linear[2].scores.grad.tolist() == [3] * 7
    assert net.blocks.through.grad.tolist() == [0, 5, 0]


def indicator_gradient(net, x, y):
    for parameter in net.parameters():
        parameter.grad = None
    (net(x) - y).abs().mean().backward()
    return {n: p.grad.clone() for n, p in net.named_parameters() if not n.startswith("net.")}


def test_the_gradient_is_that_of_scaling_what_is_masked():
    """Against central differences of the gates themselves: activations of the expanded, linear and residual layers."""
    net = supernet()
    scatter(net, [True, True, False])
    x, y = torch.rand(1, 3, 8, 8, dtype=torch.float64), torch.rand(1, 3, 16, 16, dtype=torch.float64)
    found = indicator_gradient(net, x, y)

    def loss(part, index, change):
        hooked = part.forward
        part.forward = lambda: hooked() + change * torch.nn.functional.one_hot(torch.tensor(index), hooked().numel())
        try:
            with torch.no_grad():
                return float((net(x) - y).abs().mean())
        finally:
            del part.forward

    parts = {"channels.scores": net.channels, "blocks.through": net.blocks}
    parts |= {f"{kind}.{i}.scores": net.mask(kind, i) for kind in ("expand", "linear") for i in range(2)}
    for name, part in parts.items():
        for index in (0, 2):
            slope = (loss(part, index, 1e-6) - loss(part, index, -1e-6)) / 2e-6
            assert float(found[name][index]) == pytest.approx(slope, rel=1e-4, abs=1e-9), name


def test_what_is_masked_still_feels_the_loss():
    """A dropped channel or block can come back: its gradient is alive, behind the ReLU too."""
    net = supernet()
    scatter(net, [True, True, False])
    x, y = torch.rand(1, 3, 8, 8, dtype=torch.float64), torch.rand(1, 3, 16, 16, dtype=torch.float64)
    found = indicator_gradient(net, x, y)
    for name in ("channels", "expand.0", "linear.1"):
        part = net.get_submodule(name)
        dropped = found[f"{name}.scores"][~part.kept()]
        assert len(dropped) and (dropped != 0).any(), name
    assert found["blocks.through"][2] != 0


def test_no_fewer_than_the_least():
    net = SuperNet(WDSR(Architecture.uniform(2, 2, 12)), Least(5, 9, 4))
    with torch.no_grad():
        for mask in net.masks:
            mask.scores.zero_()
    assert net.architecture() == Architecture(2, 5, (Block(9, 4),) * 2)
    assert Least().within(Architecture.uniform(2, 3, 24)) == Architecture(2, 4, (Block(8, 3),))
    assert Least().within(Architecture.uniform(2, 3, 2)) == Architecture(2, 2, (Block(8, 1),))
