"""A small network, compiled and packaged once, and the compilers that call it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from package_compilers import run
from package_driver import DRIVER
from package_library import SCALE, TILE, Library

from sr_tvm.build.compiler import compile_model
from sr_tvm.frontend.export import export_onnx
from sr_tvm.nets.fsrcnn import FSRCNN
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.package.record import Package
from sr_tvm.package.write import write_package
from sr_tvm.records.architecture import Architecture
from sr_tvm.records.artifact import Artifact
from sr_tvm.regions.cut import Cutter
from sr_tvm.runners.local import LocalRunner
from sr_tvm.targets.cpu.host import Cpu
from sr_tvm.targets.cpu.rows.decisions import RowDecisions
from sr_tvm.targets.cpu.rows.lowering import RowLowering


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("package")


def _export(path: Path, net: torch.nn.Module, channels: int) -> Path:
    export_onnx(net.eval(), path, (1, channels, 32, 32), dynamic=True, exporter="torchscript")
    return path


@pytest.fixture(scope="session")
def model(folder) -> Path:
    torch.manual_seed(0)
    return _export(folder / "Tiny net.onnx", WDSR(Architecture.uniform(SCALE, 2, 8)), 3)


@pytest.fixture(scope="session")
def artifact(folder, model) -> Artifact:
    return compile_model(model, "cpu", folder / "artifact")


@pytest.fixture(scope="session")
def package(folder, artifact) -> Package:
    return write_package(artifact, folder / "package")


@pytest.fixture(scope="session")
def library(package) -> Library:
    return Library.of(package)


@pytest.fixture(scope="session")
def luma(folder) -> tuple[Artifact, Library]:
    """A network of one channel, x3."""
    torch.manual_seed(1)
    made = compile_model(_export(folder / "luma.onnx", FSRCNN(3), 1), "cpu", folder / "luma")
    package = write_package(made, folder / "luma-c", "luma3")
    return made, Library.of(package)


class Cutting(RowLowering):
    """Cuts wherever it can, where the cost model would not."""

    def decide(self, region, shape):
        whole = super().decide(region, shape)
        cuts = tuple(Cutter(region).candidates())
        return RowDecisions(cuts, whole.pieces[:1] * (len(cuts) + 1))


class InPieces(Cpu):
    """This machine's processor, with networks as many kernels."""

    def lowering(self):
        return Cutting(self.processor(), element=self.element)


@pytest.fixture(scope="session")
def pieces(folder) -> tuple[Artifact, Library]:
    """A network whose kernels have tensors between them."""
    torch.manual_seed(2)
    model = _export(folder / "pieces.onnx", WDSR(Architecture.uniform(SCALE, 4, 8)), 3)
    made = compile_model(model, InPieces(), folder / "pieces")
    package = write_package(made, folder / "pieces-c")
    return made, Library.of(package)


def _on_device(folder: Path, model: Path, artifact: Artifact, target: str) -> Library:
    """A package for OpenCL called by this machine's CPU, with the phone's kernels; its tiles are ``TILE``."""
    from sr_tvm.runtimes.opencl import backend
    from sr_tvm.targets import registry

    why = backend.why_none()
    if why is not None:
        pytest.skip(f"no OpenCL device: make system-deps ({why})")
    made = compile_model(model, registry.get(target).stand_in(), folder / target, {"": (1, 3, *TILE)})
    package = write_package(made, folder / f"{target}-c", f"on_{target}", fallback=artifact)
    return Library.of(package, device="OPENCL")


@pytest.fixture(scope="session")
def adreno(folder, model, artifact) -> Library:
    return _on_device(folder, model, artifact, "adreno")


@pytest.fixture(scope="session")
def mali(folder, model, artifact) -> Library:
    return _on_device(folder, model, artifact, "mali")


@pytest.fixture(scope="session")
def phones(folder, model) -> Artifact:
    """For a phone's CPU."""
    return compile_model(model, "android-cpu", folder / "phone")


@pytest.fixture(scope="session")
def phone(folder, phones) -> Package:
    return write_package(phones, folder / "phone-c")


@pytest.fixture(scope="session")
def android(folder, model) -> Artifact:
    """For a phone's GPU."""
    return compile_model(model, "adreno", folder / "adreno-phone", {"": (1, 3, *TILE)})


@pytest.fixture(scope="session")
def run_artifact():
    """The artifact's own result, by TVM's virtual machine."""

    def result(artifact: Artifact, x: np.ndarray, threads: int = 1) -> np.ndarray:
        device = LocalRunner(threads)
        at = artifact.at({"": x.shape})
        device.load(at)
        (y,) = device.run(at, [x])
        return y

    return result


@pytest.fixture(scope="session")
def need():
    """The path of a program that tests need; without it they are skipped."""

    def find(*names: str) -> str:
        for name in names:
            if found := shutil.which(name):
                return found
        pytest.skip(f"{names[0]} is missing: make system-deps")

    return find


@pytest.fixture
def driver(need, tmp_path):
    """The path of an OpenCL library that is the real one but for some functions, given as C."""

    def make(functions: str) -> str:
        source, made = tmp_path / "driver.c", tmp_path / f"libdriver{len(list(tmp_path.glob('*.so')))}.so"
        source.write_text(DRIVER + functions)
        link = ("-shared", "-fPIC", "-Wl,--no-as-needed", "-ldl", "-l:libOpenCL.so.1")
        run(need("gcc"), source, *link, "-o", made)
        return str(made)

    return make
