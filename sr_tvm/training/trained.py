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
    """What is trained.

    Attributes:
        result: Name of the file, in the run's folder, that comes of it.
    """

    result: str

    def make(self) -> nn.Module:
        """Make the network as it begins; twice asked, twice the same.

        Returns:
            A module in training mode, on the CPU.
        """

    def folded(self, module: nn.Module) -> nn.Module:
        """Give the network in the form that it is used in.

        Args:
            module: What :meth:`make` made, trained.

        Returns:
            A module from (N, 3, H, W) in 0..1 to (N, 3, scale H, scale W).
        """

    def write(self, module: nn.Module, folder: Path) -> None:
        """Write what the network has become.

        Args:
            module: What :meth:`make` made, trained.
            folder: Of the run.
        """


def trained(settings: TrainingSettings) -> Trained:
    """Choose what the settings ask to train.

    Args:
        settings: The run's.

    Returns:
        What makes the network and writes it.

    Raises:
        SrTvmError: A file that it begins as can't be read, or does not fit.
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
        """Make the network as it begins: a slice of ``settings.init``, or random by the settings' seed.

        Returns:
            A WDSR with weight norm in training mode, on the CPU.

        Raises:
            SrTvmError: ``settings.init`` is too small for the architecture.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            model = WDSR(self.architecture)
            branch(model, self.settings.branches)
        if self.start is not None:
            slicing.adopt(model, slicing.slice_weights(self.start, self.architecture))
        return model

    def folded(self, module: nn.Module) -> nn.Module:
        """Copy the network with plain convolutions, without branches.

        Args:
            module: What :meth:`make` made, trained.

        Returns:
            A WDSR in eval mode, on the CPU.
        """
        assert isinstance(module, WDSR)
        return fold(module)

    def write(self, module: nn.Module, folder: Path) -> None:
        """Write the weights file and the architecture.

        Args:
            module: What :meth:`make` made, trained.
            folder: Of the run.

        Raises:
            SrTvmError: The folder cannot be written, or a weight is not finite.
        """
        assert isinstance(module, WDSR)
        save_weights(module, folder / WEIGHTS)
        self.architecture.save(folder / "architecture.json")


class Integers:
    """The weights and biases of an integer network; its scales stay, so that it stays one of the same kernels."""

    result = ONNX

    def __init__(self, file: IntegerFile) -> None:
        self.file = file

    def make(self) -> nn.Module:
        """Make the network as its file has it.

        Returns:
            An IntegerModel, on the CPU.

        Raises:
            SrTvmError: The file can't be read, or has a node that can't be trained.
        """
        from sr_tvm.nets.integer import IntegerModel

        return IntegerModel(self.file.network())

    def folded(self, module: nn.Module) -> nn.Module:
        """Return the network as it is: it computes as it is used.

        Args:
            module: What :meth:`make` made, trained.

        Returns:
            ``module`` itself.
        """
        return module

    def write(self, module: nn.Module, folder: Path) -> None:
        """Write the int8 ONNX file.

        Args:
            module: What :meth:`make` made, trained.
            folder: Of the run.

        Raises:
            SrTvmError: A sum may leave its 32 bits, or the folder cannot be written.
        """
        import onnx

        from sr_tvm.nets.integer import IntegerModel
        from sr_tvm.quantize.qdq_write import to_onnx

        assert isinstance(module, IntegerModel)
        with files.atomic_file(folder / ONNX) as partial:
            onnx.save(to_onnx(module.integers()), str(partial))
