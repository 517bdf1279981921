"""A WDSR whose channels have scaling factors, by whose size the pruning baselines tell what matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold
from sr_tvm.records.architecture import Architecture, Block
from sr_tvm.search.supernet import Least, Widths
from sr_tvm.training.slicing import adopt

BATCH_NORM, GAIN = "batch-norm", "gain"
PATH = "channels"


class Scaled(nn.Module):
    """A network ``start`` with a factor for each output channel of head and blocks, and masks of what is pruned.

    RGB in 0..1, (N, 3, H, W), to (N, 3, scale H, scale W). Of kind ``batch-norm`` each of these convolutions is
    followed by a batch norm, whose gamma is the factor (Liu et al. 2017, "Learning Efficient Convolutional Networks
    through Network Slimming"); of kind ``gain`` the factor is the gain of its weight norm (as in Zhang et al. 2021,
    "Aligned Structured Sparsity Learning for Efficient Image Super-Resolution"). The residual path is one group of
    channels: head and blocks all write to it.

    Args:
        start: The trained network; copied.
        kind: ``batch-norm`` or ``gain``.
        least: The fewest channels of each layer that pruning leaves.
        pictures: Low resolution (N, 3, H, W), from which batch norm takes means and spreads: its gamma and beta begin
            so that, in eval mode, the function is that of ``start``. Of kind ``gain`` not looked at.

    Raises:
        ValueError: ``kind`` is another.
    """

    def __init__(self, start: WDSR, kind: str, least: Least, pictures: Tensor | None = None) -> None:
        super().__init__()
        if kind not in (BATCH_NORM, GAIN):
            raise ValueError(f"kind is {kind!r}; {BATCH_NORM} or {GAIN} is allowed")
        self.kind, self.supernet = kind, start.architecture
        self.net = _normed(start) if kind == GAIN else fold(start).train()
        self.norms = nn.ModuleDict()
        sizes, self.least = {PATH: start.architecture.channels}, {PATH: least.channels}
        for i, block in enumerate(start.architecture.blocks):
            sizes |= {f"expand{i}": block.expand, f"linear{i}": block.linear}
            self.least |= {f"expand{i}": least.expand, f"linear{i}": least.linear}
        self.masks = {name: torch.ones(size, dtype=torch.bool) for name, size in sizes.items()}
        if kind == BATCH_NORM:
            assert pictures is not None
            self._insert(pictures)

    def _insert(self, pictures: Tensor) -> None:
        seen: dict[str, Tensor] = {}
        hooks = [c.register_forward_hook(_noting(seen, name)) for name, _, c in self.convolutions()]
        with torch.no_grad():
            self.net(pictures)
        for hook in hooks:
            hook.remove()
        for name, _, _ in self.convolutions():
            values = seen[name]
            layer = nn.BatchNorm2d(values.shape[1])
            mean, var = values.mean((0, 2, 3)), values.var((0, 2, 3), correction=0)
            with torch.no_grad():
                layer.running_mean, layer.running_var = mean, var
                layer.bias.copy_(mean)
                layer.weight.copy_((var + layer.eps).sqrt())
            self.norms[_key(name)] = layer

    def convolutions(self) -> Iterator[tuple[str, str, nn.Conv2d]]:
        """List the convolutions that have factors, in the order in which they run.

        Yields:
            Each one's name, the group of its output channels, and the convolution.
        """
        yield "head", PATH, self.net.head
        for i, block in enumerate(self.net.blocks):
            yield f"blocks.{i}.expand", f"expand{i}", block.expand  # type: ignore[misc]
            yield f"blocks.{i}.linear", f"linear{i}", block.linear  # type: ignore[misc]
            yield f"blocks.{i}.project", PATH, block.project  # type: ignore[misc]

    def factors(self) -> dict[str, nn.Parameter]:
        """Collect the scaling factors of all convolutions that have them.

        Returns:
            By the convolution's name, batch norm's gammas (n,) or weight norm's gains (n, 1, 1, 1).
        """
        if self.kind == BATCH_NORM:
            return {name: self.norms[_key(name)].weight for name, _, _ in self.convolutions()}  # type: ignore[misc]
        return {name: c.parametrizations.weight.original0 for name, _, c in self.convolutions()}  # type: ignore[misc,union-attr]

    def live(self) -> list[Tensor]:
        """Tell for each factor whether its channel is kept.

        Returns:
            Tensors in the order and of the shapes of :meth:`factors`: 1 where the channel is kept, 0 where not.
        """
        groups = {name: group for name, group, _ in self.convolutions()}
        return [self.masks[groups[name]].to(f).view_as(f) for name, f in self.factors().items()]

    def importance(self) -> dict[str, Tensor]:
        """Compute how much each channel matters: the mean size of the factors of the layers that write to it.

        Returns:
            By group, (n,) float32 on the CPU.
        """
        factors, found = self.factors(), dict[str, list[Tensor]]()
        for name, group, _ in self.convolutions():
            found.setdefault(group, []).append(factors[name].detach().flatten().abs())
        return {group: torch.stack(parts).mean(0).cpu() for group, parts in found.items()}

    def widths(self) -> Widths:
        """Count the channels that are kept; all blocks are.

        Returns:
            Counts as float64 tensors, to predict a latency from.
        """
        blocks = range(len(self.supernet.blocks))
        counts = {name: mask.sum().double() for name, mask in self.masks.items()}
        expand, linear = ([counts[f"{kind}{i}"] for i in blocks] for kind in ("expand", "linear"))
        return Widths(counts[PATH], torch.stack(expand), torch.stack(linear), torch.ones(len(blocks)).double())

    def architecture(self) -> Architecture:
        """Describe what is kept as a network of its own.

        Returns:
            The architecture, with all blocks of the supernet.
        """
        w = self.widths()
        blocks = tuple(Block(int(e), int(m)) for e, m in zip(w.expand, w.linear, strict=True))
        return Architecture(self.supernet.scale, int(w.channels), blocks)

    def _layer(self, name: str, group: str, conv: nn.Conv2d, x: Tensor) -> Tensor:
        x = conv(x)
        if self.kind == BATCH_NORM:
            x = self.norms[_key(name)](x)
        mask = self.masks[group]
        return x if mask.all() else x * mask.to(x).view(1, -1, 1, 1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        net, layers = self.net, self.convolutions()
        x = x - net.mean
        deep = self._layer(*next(layers), x)
        for _ in net.blocks:
            wide = torch.relu(self._layer(*next(layers), deep))
            low = self._layer(*next(layers), wide)
            deep = deep + self._layer(*next(layers), low)
        return net.shuffle(net.tail(deep) + net.skip(x)) + net.mean

    @torch.no_grad()
    def dense(self) -> WDSR:
        """Build the plain network of what is kept, batch norm folded: the same function as this one in eval mode.

        Returns:
            A network in eval mode without weight norm, on the same device.
        """
        small = WDSR(self.architecture(), normed=False).to(self.net.mean).eval()
        # Which group each convolution reads and writes; None is all channels.
        groups: dict[str, tuple[str | None, str | None]] = {"head": (None, PATH), "tail": (PATH, None)}
        for i in range(len(self.net.blocks)):
            expand, linear = f"expand{i}", f"linear{i}"
            groups |= {f"blocks.{i}.expand": (PATH, expand), f"blocks.{i}.linear": (expand, linear)}
            groups[f"blocks.{i}.project"] = (linear, PATH)
        masks: dict[str | None, Any] = {None: slice(None)}
        masks.update(self.masks)
        for name, (read, wrote) in (groups | {"skip": (None, None)}).items():
            weight, bias = self._folded(name, self.net.get_submodule(name))  # type: ignore[arg-type]
            conv = small.get_submodule(name)
            conv.get_parameter("weight").copy_(weight[masks[wrote]][:, masks[read]])
            conv.get_parameter("bias").copy_(bias[masks[wrote]])
        return small

    def _folded(self, name: str, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
        assert conv.bias is not None
        if _key(name) not in self.norms:
            return conv.weight, conv.bias
        layer = self.norms[_key(name)]
        assert isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None
        factor = layer.weight / (layer.running_var + layer.eps).sqrt()
        return conv.weight * factor.view(-1, 1, 1, 1), (conv.bias - layer.running_mean) * factor + layer.bias


def _normed(start: WDSR) -> WDSR:
    model = WDSR(start.architecture).to(start.mean)
    adopt(model, fold(start).to(start.mean))
    return model


def _key(name: str) -> str:
    """Return a convolution's name as a key of a module dictionary, whose keys have no dots."""
    return name.replace(".", "_")


def _noting(seen: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen[name] = output

    return hook
