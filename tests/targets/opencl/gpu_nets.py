"""Whole networks at the sizes of a test."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sr_tvm.nets.carn import CARNM
from sr_tvm.nets.fsrcnn import FSRCNN
from sr_tvm.nets.vgg import VGG16
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture, Block

IRREGULAR = Architecture(3, 13, (Block(50, 7), Block(21, 13), Block(4, 1), Block(96, 16)))


class Edsr(nn.Module):
    """EDSR-baseline (Lim et al. 2017) with fewer blocks and channels."""

    def __init__(self, blocks: int, width: int, scale: int) -> None:
        super().__init__()

        def conv(i: int, o: int) -> nn.Conv2d:
            return nn.Conv2d(i, o, 3, padding=1)

        self.head = conv(3, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width)) for _ in range(blocks)
        )
        self.body = conv(width, width)
        self.up = nn.Sequential(conv(width, width * scale**2), nn.PixelShuffle(scale))
        self.tail = conv(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        head = deep = self.head(x)
        for block in self.blocks:
            deep = deep + block(deep)
        return self.tail(self.up(self.body(deep) + head))


class Strided(nn.Module):
    """Convolutions that are in no region: of stride 2 and dilated, with a pooling and 20 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 20, 3, stride=2, padding=1)
        self.second = nn.Conv2d(20, 20, 3, padding=2, dilation=2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Conv2d(20, 12, (1, 5), stride=(1, 2), padding=(0, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.pool(torch.relu(self.second(torch.relu(self.first(x))))))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int, int]]] = {
    "wdsr-4x16": (lambda: WDSR(Architecture.uniform(2, 4, 16), normed=False), (1, 3, 18, 40)),
    "irregular": (lambda: WDSR(IRREGULAR, normed=False), (1, 3, 19, 37)),
    "a pixel": (lambda: WDSR(Architecture.uniform(2, 1, 8), normed=False), (1, 3, 1, 1)),
    "fsrcnn": (lambda: FSRCNN(2), (1, 1, 17, 23)),
    "carn-m": (lambda: CARNM(2), (1, 3, 9, 13)),
    "edsr": (lambda: Edsr(2, 32, 2), (2, 3, 11, 20)),
    "vgg16": (lambda: VGG16(classes=10, hidden=64, size=32), (1, 3, 32, 32)),
    "strided": (Strided, (1, 3, 21, 34)),
}


def make(name: str) -> tuple[nn.Module, tuple[int, int, int, int]]:
    """A network with seeded weights and its input shape."""
    build, shape = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval(), shape
