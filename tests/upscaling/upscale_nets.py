"""Small networks and pictures for the tests of upscaling, and what the result must be."""

import numpy as np
import onnxruntime
import torch

from sr_tvm.frontend.export import export_onnx
from sr_tvm.imaging import planes, writing
from sr_tvm.imaging.reading import Picture
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.records.architecture import Architecture

TILE = 24


def export(folder, name, net, channels, size=None):
    path = folder / name
    export_onnx(net.eval(), path, (1, channels, *(size or (32, 32))), dynamic=size is None, exporter="torchscript")
    return path


def wdsr(scale, depth=2):
    torch.manual_seed(scale)
    return WDSR(Architecture.uniform(scale, depth, 8))


def noise(height, width, channels, dtype=np.uint8):
    return np.random.default_rng(height * width).integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype)


def save(path, pixels):
    writing.write_picture(path, Picture(pixels), writing.output_format(path))
    return path


def reference(model, planar):
    """onnxruntime on the whole picture: (C, H, W) floats to (C, sH, sW)."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: planar[None].astype(np.float32)})[0][0]


def reference_rgb(model, pixels):
    """The whole RGB picture, as 0..1 floats (H, W, 3)."""
    x = (pixels / np.iinfo(pixels.dtype).max).transpose(2, 0, 1)
    return reference(model, x).transpose(1, 2, 0)


def assert_same_pixels(got, floats, share=1e-3):
    """Equal to the rounded floats but where these are within float error of a tie."""
    expected = planes.to_pixels(floats, got.dtype)
    assert got.shape == expected.shape
    difference = np.abs(got.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= share
