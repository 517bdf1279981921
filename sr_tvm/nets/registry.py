"""Networks by name, with random weights that are the same every time: for exporting, compiling and timing."""

from __future__ import annotations

import re

import torch
from torch import nn

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import COLOURS, SCALES, Architecture

NAMES = ("wdsr-<depth>x<channels>", "fsrcnn", "carn-m", "vgg16")
_WDSR = re.compile(r"wdsr-(\d{1,3})x(\d{1,4})")
_SEED = 0


def is_name(name: str) -> bool:
    """Tell whether :func:`build` knows a network by some name.

    Args:
        name: Such as ``wdsr-8x16``.

    Returns:
        False for all other names.
    """
    return bool(_WDSR.fullmatch(name)) or name in NAMES[1:]


def build(name: str, scale: int = 2) -> nn.Module:
    """Make a network with random weights that are the same every time.

    The caller's random state is left alone.

    Args:
        name: One of ``NAMES``.
        scale: 2, 3 or 4; VGG-16 has none.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        SrTvmError: The name or the scale is unknown; the message lists the known ones.
    """
    if scale not in SCALES:
        raise SrTvmError(f"scale {scale!r} is not supported; 2, 3 or 4 is")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return _make(name, scale).eval()


def _make(name: str, scale: int) -> nn.Module:
    if match := _WDSR.fullmatch(name):
        from sr_tvm.nets.wdsr import WDSR

        depth, channels = map(int, match.groups())
        return WDSR(Architecture.uniform(scale, depth, channels))
    if name == "fsrcnn":
        from sr_tvm.nets.fsrcnn import FSRCNN

        return FSRCNN(scale)
    if name == "carn-m":
        from sr_tvm.nets.carn import CARNM

        return CARNM(scale)
    if name == "vgg16":
        from sr_tvm.nets.vgg import VGG16

        return VGG16()
    raise SrTvmError(f"unknown network {name!r}; known are {', '.join(NAMES)}")


def input_shape(name: str, height: int = 360, width: int = 640) -> tuple[int, int, int, int]:
    """Give the shape of the input that a network takes.

    Args:
        name: One of ``NAMES``.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.

    Returns:
        (N, C, H, W): RGB for WDSR and CARN-M, luma for FSRCNN, 224 x 224 whatever is asked for VGG-16.

    Raises:
        SrTvmError: The name is unknown; the message lists the known ones.
    """
    if name == "vgg16":
        return 1, COLOURS, 224, 224
    if not is_name(name):
        raise SrTvmError(f"unknown network {name!r}; known are {', '.join(NAMES)}")
    return 1, 1 if name == "fsrcnn" else COLOURS, height, width
