"""From a quantised ONNX file to an artifact, and from a float one and pictures to a quantised one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sr_tvm.build.kernels import notes
from sr_tvm.build.records import Recorded, RecordFolder
from sr_tvm.codegen.kernel import TUNED, Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import example
from sr_tvm.quantize.calibrate import Calibration, calibrate
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.tensor import Tensor
from sr_tvm.regions.region import Region
from sr_tvm.system import files
from sr_tvm.system.files import sha256
from sr_tvm.system.tvm_setup import import_tvm

if TYPE_CHECKING:
    from sr_tvm.frontend.model import OnnxModel
    from sr_tvm.targets.target import Target

OPEN: Shape = (1, None, None)  # of an integer network's records: its kernels are for pictures of any size
TUNING = "tuning"  # inside the artifact: the records its kernels were built from
PICTURES, SIDE = 24, 96  # that are calibrated with, pixels of the low resolution along each side


def compile_integer(
    model: OnnxModel,
    target: Target,
    out: str | Path,
    versions: dict[str, str],
    sources: Sequence[RecordFolder] = (),
    database: str | Path | None = None,
) -> Artifact:
    """Compile a quantised model for pictures of any size, uint8 in and out, and write the artifact, whole or not.

    Args:
        model: In QDQ form.
        target: With integer kernels.
        out: The artifact's folder.
        versions: Of the software that the artifact tells of, by name.
        sources: Tuning records; the first that has one of a kind of kernel decides about that.
        database: The folder of records that was named, if one was.

    Returns:
        The artifact, as it is read back.

    Raises:
        SrTvmError: The target has no integer kernels, or none for something of the model.
    """
    from sr_tvm.quantize.qdq_read import from_onnx

    network = from_onnx(model.path, model.proto)
    r = network.shuffle
    channels = network.channels(network.picture.name)
    made = network.channels(network.result.name) // r**2
    lowering = target.integer_lowering()
    recorded = None if lowering is None else Recorded(lowering, sources)
    with files.atomic_folder(out) as folder:
        decided = {} if recorded is None else _decided(target, network, recorded)
        built = target.build_integer(network, folder, decided)
        if recorded is not None:
            recorded.save_used(folder / TUNING)
        example.save(network, folder)
        artifact = Artifact(
            folder=folder,
            model=model.path.name,
            model_sha256=model.sha256,
            target=target.name,
            tvm_target={str(k): _plain(v) for k, v in target.tvm_target().export().items()},
            library=built.library,
            library_sha256=sha256(folder / built.library),
            inputs=(Tensor("input", (1, channels, "height", "width"), "uint8"),),
            outputs=(Tensor("output", (1, made, f"{r}*height", f"{r}*width"), "uint8"),),
            schedule=TUNED if any(row["schedule"] == TUNED for row in built.kernels) else "default",
            kernels=built.kernels,
            notes=(
                "integer kernels: runs in the simulator (hexagon-sim), in packets; untested on a DSP",
                *built.notes,
                *notes(built.kernels, sources, database),
            ),
            versions=versions,
        )
        artifact.save()
    return Artifact.load(out)


def _decided(target: Target, network: IntegerNetwork, recorded: Recorded) -> dict[str, tuple[Any, str]]:
    """Return the decisions of a record and what kernels tell of it, by kind of kernel."""
    found = {}
    for kind, (stage, _) in target.integer_kinds(network).items():
        record = recorded.recorded(stage, OPEN)
        if record is not None:
            found[kind] = record
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    return [str(v) for v in value] if hasattr(value, "__iter__") and not isinstance(value, str) else str(value)


class _Found:
    """A lowering that only looks."""

    name = "calibration"

    def __init__(self) -> None:
        self.regions: list[Region] = []

    def lower(self, region: Region, shape: Any, name: str) -> list[Any]:
        self.regions.append(region)
        return []


def region_of(model: OnnxModel | str | Path) -> Region:
    """Find the one region that a float model is.

    Args:
        model: The file, or what was read of it.

    Returns:
        The region, with its weights.

    Raises:
        SrTvmError: It is not a single region of operators that stream.
    """
    import_tvm()
    import tvm

    from sr_tvm.frontend.model import as_model
    from sr_tvm.frontend.to_relax import import_graph
    from sr_tvm.passes.pipeline import optimize

    model = as_model(model)
    model.require_float()
    (first, *others) = model.inputs()
    dims = [d.dim_value for d in first.type.tensor_type.shape.dim]
    if others or len(dims) != 4 or not dims[1]:
        raise SrTvmError(f"{model.path}: only a network of one picture (1, C, H, W) can be quantised")
    shape = (1, dims[1], dims[2] or 64, dims[3] or 64)
    mod = import_graph(model.graph(model.shapes({first.name: shape})))
    found = _Found()
    optimize(mod, tvm.target.Target({"kind": "llvm"}), lowering=found)
    if len(found.regions) != 1:
        raise SrTvmError(
            f"{model.path}: {len(found.regions)} regions that stream; a network that is one of them can be quantised"
        )
    return found.regions[0]


def pictures_of(folder: str | Path, scale: int, channels: int) -> list[np.ndarray]:
    """Read up to 24 pictures of a folder, spread over it, shrunk, to calibrate with.

    Args:
        folder: Of high-resolution pictures.
        scale: That they are shrunk by.
        channels: Of the network: 3 for RGB, 1 for luma.

    Returns:
        The middle of each, (C, H, W) uint8, at most 96 pixels along each side.

    Raises:
        SrTvmError: No such folder, no picture in it, or one that can't be read or is too small.
    """
    from sr_tvm.imaging.metrics import luma
    from sr_tvm.imaging.pictures import as_rgb, list_pictures, read_picture
    from sr_tvm.imaging.resize import low_resolution, modcrop

    paths = list_pictures(folder)
    chosen = [paths[i] for i in sorted({round(i) for i in np.linspace(0, len(paths) - 1, min(PICTURES, len(paths)))})]
    found = []
    for path in chosen:
        whole = modcrop(read_picture(path), scale)
        if 0 in whole.shape:
            raise SrTvmError(f"{path}: too small to be shrunk {scale} times; {scale}x{scale} pixels is the least")
        low = as_rgb(low_resolution(whole, scale))
        top, left = (max(0, (n - SIDE) // 2) for n in low.shape[:2])
        middle = low[top : top + SIDE, left : left + SIDE]
        if channels == 1:  # a network of luma sees that of papers, 16 to 235
            middle = np.round(luma(middle))[..., None].astype(np.uint8)
        found.append(np.ascontiguousarray(middle.transpose(2, 0, 1)))
    return found


def quantize_model(
    model_path: str | Path,
    folder: str | Path,
    out: str | Path,
    how: Calibration | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[Region, IntegerNetwork]:
    """Quantise a float ONNX file on a folder of pictures, and write it as QDQ ONNX.

    Args:
        model_path: The float file.
        folder: Of high-resolution pictures.
        out: The file to write, whole or not at all.
        how: Settings of the calibration; the usual ones if None.
        progress: Called with how many operators are done, and of how many.
        warn: Called with a line on what the result may suffer from.

    Returns:
        The float region, and the integer network that was made of it.

    Raises:
        SrTvmError: As :func:`region_of`, :func:`pictures_of` and :func:`~sr_tvm.quantize.calibrate.calibrate`.
    """
    import onnx

    from sr_tvm.quantize.plan import plan, zero_bytes
    from sr_tvm.quantize.qdq_write import to_onnx

    files.check_writable(Path(out))
    region = region_of(model_path)
    pictures = pictures_of(folder, region.results[0].shuffle, region.sources[0].channels)
    network = calibrate(region, pictures, how, progress, warn)
    means = zero_bytes(region, plan(region).steps[0].value) / 255
    with files.atomic_file(Path(out)) as path:
        onnx.save(to_onnx(network, means), str(path))
    return region, network
