"""Parameter counts and multiply-adds as published, and shapes."""

import pytest
import torch
from torch import nn

from sr_tvm.errors import SrTvmError
from sr_tvm.nets import carn, fsrcnn, registry, vgg


def weights(net: nn.Module) -> int:
    return sum(p.numel() for name, p in net.named_parameters() if p.dim() == 4)


def params(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def macs(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-adds of the convolutions, counted while running on the meta device."""
    total = 0

    def count(layer: nn.Conv2d, _: object, out: torch.Tensor) -> None:
        nonlocal total
        total += layer.weight.numel() * out.shape[2] * out.shape[3]

    net = net.to("meta")
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    net(torch.empty(shape, device="meta"))
    return total


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_fsrcnn_has_the_published_weights_at_every_scale(scale: int) -> None:
    net = fsrcnn.FSRCNN(scale)
    assert weights(net) == fsrcnn.PUBLISHED_WEIGHTS == 12_464
    # and 173 biases, and 172 PReLU slopes, one a channel
    assert params(net) == 12_464 + 173 + 172 == 12_809


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_carn_m_has_the_published_weights(scale: int) -> None:
    assert weights(carn.CARNM(scale, multi_scale=True)) == carn.PUBLISHED_WEIGHTS == 412_032


def test_carn_m_x2_alone() -> None:
    net = carn.CARNM(2)
    assert (weights(net), params(net)) == (255_360, 257_027)
    assert round(macs(net, (1, 3, 360, 640)) / 1e9, 1) == carn.PUBLISHED_GMACS_X2


def test_vgg16_has_the_published_parameters() -> None:
    with torch.device("meta"):
        assert params(vgg.VGG16()) == vgg.PUBLISHED_PARAMS == 138_357_544


@pytest.mark.parametrize("name", ["wdsr-2x8", "fsrcnn", "carn-m"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_output_is_scale_times_the_input(name: str, scale: int) -> None:
    net = registry.build(name, scale)
    shape = registry.input_shape(name, 5, 7)
    with torch.inference_mode():
        assert net(torch.rand(shape)).shape == (1, shape[1], 5 * scale, 7 * scale)


def test_random_weights_are_the_same_each_time_and_leave_the_random_state() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b = registry.build("wdsr-2x8"), registry.build("wdsr-2x8")
    assert torch.equal(before, torch.get_rng_state())
    x = torch.rand(1, 3, 6, 6)
    with torch.inference_mode():
        assert torch.equal(a(x), b(x))


@pytest.mark.parametrize(("name", "scale"), [("edsr", 2), ("wdsr-2x", 2), ("wdsr-2x8", 5), ("wdsr-999x8", 2)])
def test_unknown_names_and_scales_are_refused(name: str, scale: int) -> None:
    with pytest.raises(SrTvmError):
        registry.build(name, scale)


def test_carn_m_applies_one_residual_block_three_times_in_each_cascade() -> None:
    net, calls = carn.CARNM(2), []
    for module in net.modules():
        if isinstance(module, carn.EfficientResidual):
            module.register_forward_hook(lambda m, *_: calls.append(m))
    net(torch.rand(1, 3, 4, 4))
    assert len(calls) == 9
    assert len(set(calls)) == 3
