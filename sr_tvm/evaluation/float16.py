"""How far a network in float16 is from itself in float32, on real pictures, by running both on this machine."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.regions.region import Region
from sr_tvm.targets.cpu.family import FLOAT16, CpuFamily
from sr_tvm.targets.cpu.host import Cpu
from sr_tvm.targets.cpu.rows.lowering import RowLowering
from sr_tvm.targets.opencl.decisions import OpenClDecisions
from sr_tvm.targets.opencl.emulate import emulate
from sr_tvm.targets.opencl.family import OpenCl

if TYPE_CHECKING:
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.frontend.model import OnnxModel
    from sr_tvm.records.artifact import Artifact
    from sr_tvm.targets.target import Target
    from sr_tvm.upscaling.network import Network

MIDDLE = 128  # pixels of the low resolution that are emulated of a picture, along each side
SHIPPED = ("astronaut", "chelsea", "coffee")  # of scikit-image


@dataclass(frozen=True)
class Comparison:
    """PSNR of the luma in dB, output against output, before they are rounded to 8 bits; the mean and the lowest.

    ``emulated``: the kernels of ``target`` ran here with every float16 instruction done in float32 and rounded.
    """

    psnr_y: float
    lowest_psnr_y: float
    images: int
    pictures: str
    emulated: bool

    def to_json(self) -> dict[str, Any]:
        """Write the record for ``--json``.

        Returns:
            A JSON object with one field for each of this record; a figure that is not finite is None.
        """
        numbers = {k: v if math.isfinite(v) else None for k, v in asdict(self).items() if isinstance(v, float)}
        return asdict(self) | numbers

    def __str__(self) -> str:
        how = "emulated on this CPU" if self.emulated else "computed on this CPU"
        return (
            f"fp16 against fp32: {self.psnr_y:.1f} dB PSNR-Y on {self.images} images ({how}), "
            f"lowest {self.lowest_psnr_y:.1f}; pictures: {self.pictures}"
        )


class NotCompared(SrTvmError):
    """A network whose float16 can't be compared with float32 on pictures here; the message says why."""


def check_pictures(folder: str | Path | None) -> None:
    """Refuse a folder without pictures.

    Args:
        folder: The folder; None stands for scikit-image's photographs and passes.

    Raises:
        SrTvmError: The folder cannot be read, or no picture is in it.
    """
    if folder is not None:
        from sr_tvm.imaging.pictures import list_pictures

        list_pictures(folder)


@dataclass(frozen=True)
class _StandIn(Cpu):
    """This machine, with the streaming kernels of another target, so that their numbers can be had here."""

    of: CpuFamily | None = None

    def lowering(self) -> RowLowering:
        return super().lowering() if self.of is None else self.of.lowering()


def compare(
    model: OnnxModel | str | Path,
    target: Target,
    input_shapes: Mapping[str, tuple[int | str, ...]] | None = None,
    folder: str | Path | None = None,
    options: CompileOptions | None = None,
) -> Comparison:
    """Compile an ONNX file for this machine with float32 and with the float16 kernels of a target, and run both.

    Each picture is fitted to the network's size where that is fixed, shrunk by bicubic as in ``sr-tvm evaluate``, and
    enlarged by both; a border of as many pixels as the scale is left out.

    Args:
        model: The network.
        target: Whose kernels are looked at, a CPU's or a GPU's of OpenCL.
        input_shapes: Of the network's inputs, by name; as the file says if None.
        folder: Of pictures; scikit-image's photographs if None.
        options: That the artifact is compiled with: its host and, for a GPU, its tuning records make its kernels.

    Returns:
        The PSNR of one output against the other.

    Raises:
        NotCompared: The network does not make pictures of pictures, or is not a single region, for a GPU.
        SrTvmError: A target without such kernels, no readable picture, or numbers that float16 cannot hold.
    """
    from sr_tvm.build.compiler import chosen, compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.frontend.model import as_model
    from sr_tvm.upscaling.network import Network

    options = options or CompileOptions()
    half = chosen(target, replace(options, dtype=FLOAT16))
    if isinstance(half, OpenCl):
        return _compare_gpu(as_model(model), half, input_shapes, folder, options)
    if not isinstance(half, CpuFamily):
        raise SrTvmError(f"target {target.name}: only kernels of CPUs and of OpenCL can be compared on this machine")
    emulated = not target.capabilities.runs_here
    model = as_model(model)
    half = _StandIn(dtype=FLOAT16, emulated=emulated, of=replace(half, emulated=emulated))
    with tempfile.TemporaryDirectory(prefix="sr-tvm-fp16-") as scratch:
        exact, rounded = (
            compile_model(model, built, Path(scratch) / name, input_shapes, CompileOptions(use_shipped_log=False))
            for name, built in (("float32", _StandIn()), ("float16", half))
        )
        _check_enlarges(exact)
        return _compared(Network(exact), Network(rounded), folder, emulated)


def _compare_gpu(
    model: OnnxModel,
    half: OpenCl,
    input_shapes: Mapping[str, tuple[int | str, ...]] | None,
    folder: str | Path | None,
    options: CompileOptions,
) -> Comparison:
    """Return a comparison with the steps of the GPU's kernels as numpy does them, on the middle of each picture.

    A network of fixed size gets pictures of that size.
    """
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.upscaling.network import Network

    with tempfile.TemporaryDirectory(prefix="sr-tvm-fp16-") as scratch:
        exact = compile_model(model, Cpu(), Path(scratch) / "float32", options=CompileOptions(use_shipped_log=False))
        _check_enlarges(exact)
        emulated = EmulatedGpu.of(model, half, input_shapes, options)
        return _compared(Network(exact), emulated, folder, True, MIDDLE)


@dataclass(frozen=True, eq=False)
class EmulatedGpu:
    """A network of one region as its kernels for a phone's GPU compute it in float16."""

    region: Region
    decisions: OpenClDecisions

    @classmethod
    def of(
        cls,
        model: OnnxModel | str | Path,
        half: OpenCl,
        input_shapes: Mapping[str, tuple[int | str, ...]] | None = None,
        options: CompileOptions | None = None,
    ) -> EmulatedGpu:
        """Find the region of an ONNX file and decide it as a build for a GPU does.

        Args:
            model: The network.
            half: The target, in float16.
            input_shapes: Of the network's inputs, by name; as the file says if None.
            options: Of the build, whose tuning records decide; the usual ones if None.

        Returns:
            The network, to be called with pictures.

        Raises:
            NotCompared: It is not a single region of one input and one output.
        """
        from sr_tvm.build.options import CompileOptions
        from sr_tvm.build.records import Recorded, open_sources
        from sr_tvm.frontend.model import as_model
        from sr_tvm.frontend.to_relax import import_graph
        from sr_tvm.passes.pipeline import optimize
        from sr_tvm.system.tvm_setup import import_tvm

        options = options or CompileOptions()
        import_tvm()
        model, found = as_model(model), _Found()
        mod = import_graph(model.graph(model.shapes(input_shapes)))
        optimize(mod, half.tvm_target(), lowering=found, hooks=half)
        if (count := len(found.regions)) != 1:
            raise NotCompared(f"it becomes {count} regions of kernels, and only a single one is emulated")
        ((region, shape),) = found.regions
        ends = len(region.sources), len(region.results)
        if ends != (1, 1):
            raise NotCompared(
                f"its region has {ends[0]} inputs and {ends[1]} outputs, and only one of each is emulated"
            )
        recorded = Recorded(half.lowering(), open_sources(half.name, options.database, options.use_shipped_log))
        return cls(region, recorded.decide(region, shape))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Enlarge a picture.

        Args:
            x: (C, H, W) float32.

        Returns:
            (C, scale H, scale W), finite.

        Raises:
            SrTvmError: An output is not finite, for float16 overflowed on the way.
        """
        (source,), (result,) = self.region.sources, self.region.results
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            y = emulate(self.region, self.decisions, {source.name: x})[result.value]
        if not np.isfinite(y).all():
            raise SrTvmError("the kernels give NaN or infinite pixels in float16")
        r, (c, h, w) = result.shuffle, y.shape
        return y.reshape(c // r**2, r, r, h, w).transpose(0, 3, 1, 4, 2).reshape(c // r**2, h * r, w * r)


@dataclass
class _Found:
    """A lowering that remembers what it is asked for and lowers nothing."""

    regions: list[tuple[Region, Shape]] = field(default_factory=list)
    name = "found"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        self.regions.append((region, shape))
        return []


def _check_enlarges(artifact: Artifact) -> None:
    from sr_tvm.upscaling.model import channels_and_scale, example_shapes

    try:
        channels_and_scale(artifact.folder, *example_shapes(artifact))
    except SrTvmError as error:
        raise NotCompared("it does not make pictures of pictures") from error
    if (ends := (len(artifact.inputs), len(artifact.outputs))) != (1, 1):
        raise NotCompared(f"it has {ends[0]} inputs and {ends[1]} outputs, and pictures are one of each")


def _compared(
    exact: Network,
    half: Callable[[np.ndarray], np.ndarray],
    folder: str | Path | None,
    emulated: bool,
    most: int | None = None,
) -> Comparison:
    """Return the PSNR between two networks on all pictures of a folder.

    ``most`` is the side that a low-resolution picture is cut to, of a network of fixed size for ``half`` alone.

    Raises:
        SrTvmError: An output of ``half`` is not finite.
    """
    from sr_tvm.imaging.metrics import psnr_y_of_planes
    from sr_tvm.imaging.resize import low_resolution

    found = []
    sides = None if exact.artifact.any_size else exact.artifact.inputs[0].at({})[2:]
    for name, picture in _pictures(folder):
        low = low_resolution(_fit(picture, exact.scale, sides), exact.scale)
        if most is not None and sides is None:
            top, left = (max(side - most, 0) // 2 for side in low.shape[:2])
            low = low[top : top + most, left : left + most]
        x = _network_input(low, exact.channels)
        y, border = exact(x), exact.scale
        if most is not None and sides is not None:
            x, y, lost = _middle(x, y, exact, most)
            border += lost
        try:
            found.append(psnr_y_of_planes(y, half(x), border))
        except SrTvmError as error:
            raise SrTvmError(f"{name}: float16 overflows in this network; compile without --fp16") from error
    where = "of scikit-image" if folder is None else Path(folder).name
    return Comparison(math.fsum(found) / len(found), min(found), len(found), where, emulated)


def _middle(x: np.ndarray, y: np.ndarray, exact: Network, most: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return input and output cut to the middle, and how many of its outer pixels the cut makes others.

    Where the network sees too far for that, or the picture is small, they stay whole.
    """
    halo, scale, shape = exact.artifact.halo, exact.scale, x.shape[1:]
    if halo is None or max(shape) <= most or min(*shape, most) <= 4 * halo:
        return x, y, 0
    top, left = (max(side - most, 0) // 2 for side in shape)
    down, across = (min(side, most) for side in shape)
    rows, columns = slice(top * scale, (top + down) * scale), slice(left * scale, (left + across) * scale)
    return x[:, top : top + down, left : left + across], y[:, rows, columns], halo * scale


def _pictures(folder: str | Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """List the pictures of a folder, or scikit-image's photographs.

    Yields:
        Name and (H, W, 3) uint8 of each.
    """
    if folder is None:
        from skimage import data

        for name in SHIPPED:
            yield name, np.asarray(getattr(data, name)())
        return
    from sr_tvm.imaging.pictures import as_rgb, list_pictures, read_picture

    for path in list_pictures(folder):
        yield str(path), as_rgb(read_picture(path))


def _fit(picture: np.ndarray, scale: int, sides: tuple[int, ...] | None) -> np.ndarray:
    """Return a picture cut to a multiple of ``scale``; or cut or mirrored to a network's fixed ``sides``."""
    if sides is None:
        from sr_tvm.imaging.resize import modcrop

        return modcrop(picture, scale)
    for axis, side in enumerate(sides):
        missing = side * scale - picture.shape[axis]
        if missing > 0:
            width = [(0, 0)] * picture.ndim
            width[axis] = (0, missing)
            picture = np.pad(picture, width, mode="symmetric")
        else:
            picture = picture.take(range(-missing // 2, -missing // 2 + side * scale), axis)
    return np.ascontiguousarray(picture)


def _network_input(low: np.ndarray, channels: int) -> np.ndarray:
    from sr_tvm.imaging.metrics import FULL

    planes = low.astype(np.float32) / np.float32(255)
    return planes.transpose(2, 0, 1) if channels == 3 else (planes @ FULL.astype(np.float32))[None]
