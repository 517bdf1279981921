"""The paper's kind of speed model: a small network from a block's widths to its latency; a network's is the sum."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from sr_tvm.errors import SrTvmError
from sr_tvm.speed import physical
from sr_tvm.speed.sample import FEATURES, Sample
from sr_tvm.system import files

KIND, MONOTONE = "mlp", "mlp-monotone"
HIDDEN = 64
STEPS, RATE = 3000, 5e-3
CHANNELS = 16.0  # brings channels to about 1
MIN_SAMPLES = 8


class Mlp:
    """Latency = sum over blocks of exp(net(log widths)), plus a price for head, tail and skip that grows with channels.

    Fitted to blocks alone it can't know that price: the physical model of the same samples then gives it.
    A ``monotone`` one never predicts less for more channels: all its weights are taken positive.
    Knows one input size; predicting for another raises SrTvmError.
    """

    def __init__(self, size: tuple[int, int], seed: int = 0, monotone: bool = False) -> None:
        self.size, self.monotone = size, monotone
        generator = torch.Generator().manual_seed(seed)
        self.net = nn.Sequential(
            nn.Linear(3, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1)
        )
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.zeros_(layer.bias)
        self.ends = nn.Parameter(torch.zeros(2))
        # Set by fit: middle and spread of the log widths, the typical latency of a block.
        self.middle, self.spread, self.unit = torch.zeros(3), torch.ones(3), torch.ones(1)
        # The physical model's prices where only blocks were seen, else zeros.
        self.prices = torch.zeros(len(FEATURES), dtype=torch.float64)

    def blocks(self, widths: Tensor) -> Tensor:
        """Predict the latencies of single blocks; gradients reach the widths and the weights.

        Args:
            widths: (B, 3) float32, above 0: channels, expand and linear of each block.

        Returns:
            (B,) float32, in units of ``self.unit``.
        """
        x = (widths.log() - self.middle) / self.spread
        if not self.monotone:
            return torch.exp(self.net(x).squeeze(1))
        for layer in self.net:
            x = functional.linear(x, layer.weight.abs(), layer.bias) if isinstance(layer, nn.Linear) else layer(x)
        return torch.exp(x.squeeze(1))

    def _forward(self, widths: Tensor, owner: Tensor, channels: Tensor, whole: Tensor) -> Tensor:
        blocks = self.blocks(widths)
        total = torch.zeros(len(channels)).index_add(0, owner, blocks)
        price = functional.softplus(self.ends)
        return self.unit * (total + whole * (price[0] + price[1] * channels / CHANNELS))

    def frozen(self) -> Mlp:
        """Copy the model such that gradients pass through its network but do not reach its weights.

        Returns:
            The copy.
        """
        other = copy.deepcopy(self)
        other.net.requires_grad_(False)
        return other

    def to(self, device: torch.device) -> Mlp:
        """Move what :meth:`blocks` needs to a device.

        Args:
            device: Where the widths will lie.

        Returns:
            The model itself.
        """
        if self.middle.device != device:
            self.net.to(device)
            self.middle, self.spread = self.middle.to(device), self.spread.to(device)
        return self

    def check_size(self, height: int, width: int) -> None:
        """Refuse another input size than the one that the model was fitted to.

        Args:
            height: Of the low-resolution input, in pixels.
            width: Of the low-resolution input, in pixels.

        Raises:
            SrTvmError: It is another size; the message has both.
        """
        if (height, width) != self.size:
            raise SrTvmError(
                f"this model knows inputs of {self.size[0]}x{self.size[1]} pixels only, "
                f"{height}x{width} was asked for; a physical model takes any size"
            )

    def predict(self, samples: Sequence[Sample]) -> list[float]:
        """Predict the latency of each sample.

        Args:
            samples: Networks or blocks on the input size that the model was fitted to; their own latencies are not
                looked at.

        Returns:
            One latency a sample, in the unit of those that the model was fitted to.

        Raises:
            SrTvmError: A sample has another input size.
        """
        for sample in samples:
            self.check_size(sample.height, sample.width)
        widths, owner, channels, whole = _tensors(samples)
        if not self.prices.any():
            with torch.no_grad():
                return [float(x) for x in self._forward(widths, owner, channels, whole)]
        with torch.no_grad():
            blocks = self._forward(widths, owner, channels, torch.zeros_like(whole))
        priced = physical.Physical(tuple(self.prices.tolist()))
        parts = priced.predict([replace(sample, whole=False) for sample in samples])
        ends = (full - part for full, part in zip(priced.predict(samples), parts, strict=True))
        return [float(b) + e for b, e in zip(blocks, ends, strict=True)]

    def save(self, path: str | Path) -> None:
        """Write the weights; the input size and whether it is monotone are not among them.

        Args:
            path: The .safetensors file; it is replaced.

        Raises:
            SrTvmError: The file can't be written.
        """
        state = {f"net.{name}": value.contiguous() for name, value in self.net.state_dict().items()}
        state |= {name: getattr(self, name).detach() for name in ("ends", "middle", "spread", "unit", "prices")}
        with files.atomic_file(path) as partial:
            save_file(state, partial)

    @classmethod
    def load(cls, path: str | Path, size: tuple[int, int], monotone: bool = False) -> Mlp:
        """Read the weights that :meth:`save` wrote.

        Args:
            path: The .safetensors file.
            size: Height and width in pixels of the input that it was fitted to.
            monotone: Whether it was fitted as a monotone one.

        Returns:
            The model.

        Raises:
            SrTvmError: No such file, or it holds something else.
        """  # noqa: DOC501  ValueError is caught below
        model = cls(size, monotone=monotone)
        try:
            state = load_file(path)
            if not all(value.isfinite().all() for value in state.values()):
                raise ValueError("not all numbers are finite")
            for name in ("middle", "spread", "unit", "prices", "ends"):
                if state[name].shape != getattr(model, name).shape:
                    raise ValueError(f"{name} has shape {tuple(state[name].shape)}")
                if name != "ends":
                    setattr(model, name, state.pop(name).to(getattr(model, name).dtype))
            model.ends = nn.Parameter(state.pop("ends").to(model.ends.dtype))
            model.net.load_state_dict({name.removeprefix("net."): value for name, value in state.items()})
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise SrTvmError(f"{path}: not the weights of a speed model ({str(error).splitlines()[0][:150]})") from None
        return model


def _tensors(samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    blocks = [
        (float(s.architecture.channels), float(b.expand), float(b.linear), i)
        for i, s in enumerate(samples)
        for b in s.architecture.blocks
    ]
    table = torch.tensor(blocks).reshape(-1, 4)
    channels = torch.tensor([float(s.architecture.channels) for s in samples])
    whole = torch.tensor([float(s.whole) for s in samples])
    return table[:, :3], table[:, 3].long(), channels, whole


def fit(
    samples: Sequence[Sample],
    seed: int = 0,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
    monotone: bool = False,
) -> Mlp:
    """Fit an MLP by Adam on squared log ratios; equal arguments give equal models.

    Args:
        samples: At least MIN_SAMPLES, all of one input size, with latencies above 0 in one unit.
        seed: Of the weights at the beginning.
        steps: Of Adam, each on all samples.
        progress: Is told after every 50 steps how many are done, and of how many.
        monotone: Whether more channels shall never be predicted to be faster.

    Returns:
        The model, which predicts in the unit of the samples.

    Raises:
        SrTvmError: There are fewer than MIN_SAMPLES samples, or several input sizes.
    """
    if len(samples) < MIN_SAMPLES:
        raise SrTvmError(
            f"{len(samples)} different networks are too few for an MLP; {MIN_SAMPLES} at least, or physical"
        )
    sizes = {(s.height, s.width) for s in samples}
    if len(sizes) != 1:
        raise SrTvmError("an MLP is fitted to one input size; the samples have several")
    model = Mlp(sizes.pop(), seed, monotone)
    tensors = _tensors(samples)
    measured = torch.tensor([s.latency for s in samples])
    logs = tensors[0].log()
    if len(logs):
        model.middle, model.spread = logs.mean(0), logs.std(0, correction=0).clamp(min=1e-3)
    per_block = measured / torch.tensor([max(1.0, len(s.architecture.blocks)) for s in samples])
    model.unit = per_block.median().reshape(1)
    if not any(s.whole for s in samples):
        model.prices = torch.tensor(physical.fit(samples).prices, dtype=torch.float64)
    # So little work a step is slower on several threads, and far slower where others want the cores too.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _train(model, tensors, measured, steps, progress)
    finally:
        torch.set_num_threads(threads)
    return model


def _train(
    model: Mlp,
    tensors: tuple[Tensor, Tensor, Tensor, Tensor],
    measured: Tensor,
    steps: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    optimizer = torch.optim.Adam([*model.net.parameters(), model.ends], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        loss = (model._forward(*tensors) / measured).log().square().mean()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress and (step + 1) % 50 == 0:
            progress(step + 1, steps)


def describe(model: Mlp) -> dict[str, Any]:
    """Describe as JSON what of a model lies beside its weights.

    Args:
        model: The model.

    Returns:
        The width of its hidden layers, and height and width in pixels of the input that it was fitted to.
    """
    return {"hidden": HIDDEN, "height": model.size[0], "width": model.size[1]}
