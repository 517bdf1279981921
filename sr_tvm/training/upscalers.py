"""Upscalers to score: bicubic and a PyTorch network. Each takes (h, w, 3) uint8 and returns (s h, s w, 3) uint8."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import planes, resize
from sr_tvm.training.evaluate import Upscale


def pick_device(name: str) -> torch.device:
    """Choose the device to compute on.

    Args:
        name: ``cpu``, ``cuda``, or ``auto``: CUDA where PyTorch sees a GPU.

    Returns:
        The device.

    Raises:
        SrTvmError: CUDA is asked for and PyTorch sees none.
    """
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise SrTvmError("device is cuda, but PyTorch sees no CUDA GPU; use --device cpu or auto")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


def bicubic(scale: int) -> Upscale:
    """Make an upscaler of MATLAB-style bicubic.

    Args:
        scale: By how much it enlarges.

    Returns:
        The upscaler, from (h, w, 3) to (scale h, scale w, 3), uint8.
    """
    return lambda low: resize.imresize(low, scale)


def to_uint8(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round a network's output to pixels. What is not a number becomes black.

    Args:
        pixels: (3, H, W), float32 in 0..1; what is outside is clipped.

    Returns:
        (H, W, 3), uint8, rounded to nearest.
    """
    return planes.to_pixels(np.nan_to_num(pixels).transpose(1, 2, 0), np.uint8)


def network(model: nn.Module, device: torch.device) -> Upscale:
    """Make an upscaler of a network, which sees the whole picture at once, in float32.

    Args:
        model: From (1, 3, h, w) to (1, 3, scale h, scale w), in 0..1; it is on ``device``.
        device: Where it computes.

    Returns:
        The upscaler, from (h, w, 3) to (scale h, scale w, 3), uint8.
    """

    def upscale(low: NDArray[np.uint8]) -> NDArray[np.uint8]:
        x = torch.from_numpy(low.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)).to(device)
        with torch.inference_mode():
            return to_uint8(model(x.contiguous(memory_format=torch.channels_last))[0].float().cpu().numpy())

    return upscale
