"""Models that tests share, and a cache of their own."""

import pytest
import torch
from upscale_nets import export, wdsr

from sr_tvm.nets.fsrcnn import FSRCNN
from sr_tvm.upscaling import cache


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("upscale")


@pytest.fixture(autouse=True)
def own_cache(folder, monkeypatch):
    """One cache for all tests here, and never the user's."""
    monkeypatch.setattr(cache, "cache_folder", lambda: folder / "cache")


@pytest.fixture(scope="session")
def model(folder):
    return export(folder, "wdsr2.onnx", wdsr(2), 3)


@pytest.fixture(scope="session")
def plain_model(folder):
    """The least that enlarges: one convolution and a shuffle, quick to compile, of no architecture that we know."""
    torch.manual_seed(1)
    return export(
        folder, "plain.onnx", torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2)), 3
    )


@pytest.fixture(scope="session")
def luma_model(folder):
    torch.manual_seed(3)
    return export(folder, "fsrcnn3.onnx", FSRCNN(3), 1)
