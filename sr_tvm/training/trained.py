"""What a run trains: a float WDSR, or a network in integers (quantisation-aware training)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from sr_tvm.nets.branches import branch
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold, load_weights, save_weights
from sr_tvm.records.architecture import Architecture
from sr_tvm.system import files
from sr_tvm.training import slicing
from sr_tvm.training.settings import IntegerFile, TrainingSettings

WEIGHTS, ONNX = "weights.safetensors", "model.onnx"


class Trained(Protocol):
    """What is trained. ``result`` is the file, in the run's folder, that comes of it."""

    result: str

    def make(self) -> nn.Module:
        """As it begins; twice asked, twice the same."""

    def folded(self, module: nn.Module) -> nn.Module:
        """The same in the form that it is used in: (N, 3, H, W) in 0..1 to (N, 3, scale H, scale W)."""

    def write(self, module: nn.Module, folder: Path) -> None:
        """Write what it has become."""


def trained(settings: TrainingSettings) -> Trained:
    """What the settings ask to train.

    Raises:
        SrTvmError: a file that it begins as can't be read, or does not fit.
    """
    wanted = settings.architecture
    return Integers(wanted) if isinstance(wanted, IntegerFile) else Floats(wanted, settings)


class Floats:
    """A WDSR with weight norm, perhaps with branches, perhaps beginning as another one's slice."""

    result = WEIGHTS

    def __init__(self, architecture: Architecture, settings: TrainingSettings) -> None:
        self.architecture, self.settings = architecture, settings
        self.start = load_weights(settings.init.path) if settings.init else None

    def make(self) -> WDSR:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            model = WDSR(self.architecture)
            branch(model, self.settings.branches)
        if self.start is not None:
            slicing.adopt(model, slicing.slice_weights(self.start, self.architecture))
        return model

    def folded(self, module: nn.Module) -> nn.Module:
        assert isinstance(module, WDSR)
        return fold(module)

    def write(self, module: nn.Module, folder: Path) -> None:
        assert isinstance(module, WDSR)
        save_weights(module, folder / WEIGHTS)
        self.architecture.save(folder / "architecture.json")


class Integers:
    """The weights and biases of an integer network; its scales stay, so that it stays one of the same kernels."""

    result = ONNX

    def __init__(self, file: IntegerFile) -> None:
        self.file = file

    def make(self) -> nn.Module:
        from sr_tvm.nets.integer import IntegerModel

        return IntegerModel(self.file.network())

    def folded(self, module: nn.Module) -> nn.Module:
        return module

    def write(self, module: nn.Module, folder: Path) -> None:
        import onnx

        from sr_tvm.nets.integer import IntegerModel
        from sr_tvm.quantize.qdq_write import to_onnx

        assert isinstance(module, IntegerModel)
        with files.atomic_file(folder / ONNX) as partial:
            onnx.save(to_onnx(module.integers()), str(partial))
