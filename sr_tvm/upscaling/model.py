"""What must be known of a model before a picture can go through it in tiles."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sr_tvm import shipped
from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.tiles import ANY_SIZE_TILE, TILE, even_side, side
from sr_tvm.records.artifact import MANIFEST, Artifact
from sr_tvm.records.tensor import shape_text

if TYPE_CHECKING:
    from sr_tvm.frontend.model import OnnxModel

DEFAULT = "wdsr_x2_8x24.onnx"
CHANNELS = (1, 3)
ANY_SIZE = ("height", "width")


@dataclass(frozen=True)
class Model:
    """An ONNX file, or an artifact that was compiled from one.

    ``channels`` is 3 (RGB) or 1 (luma). ``halo`` is how many input pixels to each side an output pixel depends on;
    None if that is not known, and then only a whole picture can go through, of exactly the ``fixed`` size. ``fixed`` is
    (height, width) where the file allows no other. ``input_name`` names its only input. ``any_size``: one artifact can
    take, or does take, pictures of every size; where that is false, and ``fixed`` None, each size needs its own.
    ``onnx`` is what was read of the file, for whoever compiles it.
    """

    path: Path
    sha256: str
    channels: int
    scale: int
    halo: int | None
    input_name: str
    fixed: tuple[int, int] | None = None
    artifact: Artifact | None = None
    any_size: bool = False
    onnx: OnnxModel | None = field(default=None, compare=False, repr=False)

    def tile(self, height: int, width: int, wanted: int | None, halo: int) -> tuple[int, int]:
        """Choose the tiles for a picture; where sizes are fixed, they are what to compile for.

        Args:
            height: Of the picture, in input pixels.
            width: Of the picture, in input pixels.
            wanted: The side of tiles for large pictures; if None, ANY_SIZE_TILE of a model for any size and else TILE.
            halo: Input pixels to each side that an output pixel depends on, as in :func:`~sr_tvm.imaging.tiles.plan`.

        Returns:
            (height, width) of a tile in input pixels.

        Raises:
            SrTvmError: The model is fixed to a size that this picture cannot be covered with.
        """
        if wanted is None:
            wanted = ANY_SIZE_TILE if self.any_size else TILE
        if self.any_size and self.halo is None:
            return height, width
        if self.any_size:
            return even_side(height, wanted, halo), even_side(width, wanted, halo)
        if self.fixed is None:
            return side(height, wanted, halo), side(width, wanted, halo)
        tall, wide = self.fixed
        if (self.halo is None and (height, width) != self.fixed) or tall > height or wide > width:
            why = "takes no smaller picture" if self.halo is not None else "does not say how far its network looks"
            raise SrTvmError(
                f"{self.path}: is made for {wide}x{tall} pixels and {why}; this one is {width}x{height}: "
                "give an ONNX file with symbolic height and width"
            )
        return self.fixed


def default_model() -> Path:
    """Find the ONNX file that comes with sr-tvm.

    Returns:
        Its path.

    Raises:
        SrTvmError: It is missing.
    """
    path = shipped.models() / DEFAULT
    if not path.is_file():
        raise SrTvmError(f"the shipped model {path} is missing; name one with --model, or install sr-tvm again")
    return path


def open_model(path: str | Path | None = None) -> Model:
    """Read what a model is.

    Args:
        path: Of an ONNX file or an artifact's folder; the shipped model if None.

    Returns:
        What must be known to send a picture through it.

    Raises:
        SrTvmError: No such file, not a model, or not one that maps a picture to a larger one tile by tile.
    """
    path = default_model() if path is None else Path(path)
    return _from_artifact(path) if path.is_dir() else _from_onnx(path)


def _from_onnx(path: Path) -> Model:
    from sr_tvm.frontend.model import read_model

    model = read_model(path)
    inputs, outputs = model.inputs(), model.require_float().graph.output
    if len(inputs) != 1 or len(outputs) != 1:
        raise SrTvmError(
            f"{path}: has {len(inputs)} inputs and {len(outputs)} outputs; a network that enlarges pictures "
            "has one of each"
        )
    dims = [d.dim_value if d.HasField("dim_value") else None for d in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or dims[0] not in (None, 1) or dims[1] not in CHANNELS:
        needed = "1x3xHxW (RGB) or 1x1xHxW (luma) is needed"
        raise SrTvmError(f"{path}: input {inputs[0].name!r} is {_text(dims)}; {needed}")
    if (dims[2] is None) != (dims[3] is None):
        raise SrTvmError(f"{path}: input {inputs[0].name!r} is {_text(dims)}; fix both height and width or neither")
    looks = model.field
    fixed = None if dims[2] is None or dims[3] is None else (dims[2], dims[3])
    return Model(
        path,
        model.sha256,
        dims[1] or 0,
        looks.scale,
        looks.halo,
        inputs[0].name,
        fixed,
        any_size=fixed is None and _takes_any_size(model, inputs[0].name, dims[1] or 0),
        onnx=model,
    )


def _takes_any_size(model: OnnxModel, name: str, channels: int) -> bool:
    try:
        model.graph(model.open_shapes({name: (1, channels, *ANY_SIZE)}))
    except SrTvmError:
        return False
    return True


def _from_artifact(path: Path) -> Model:
    if not (path / MANIFEST).is_file():
        raise SrTvmError(f"{path}: is a folder without {MANIFEST}; name an ONNX file or an artifact's folder")
    artifact = Artifact.load(path)
    if len(artifact.inputs) != 1 or len(artifact.outputs) != 1:
        raise SrTvmError(f"{path}: has not one input and one output; it does not enlarge pictures")
    sides = artifact.inputs[0].shape[2:]
    if artifact.any_size and not (all(isinstance(d, str) for d in sides) and len(set(sides)) == 2):
        shape = shape_text(artifact.inputs[0].shape)
        raise SrTvmError(f"{path}: takes {shape}; to enlarge pictures, fix both height and width or neither")
    given, made = example_shapes(artifact)
    channels, scale = channels_and_scale(path, given, made)
    fixed = None if artifact.any_size else (given[2], given[3])
    name = artifact.inputs[0].name
    return Model(path, artifact.model_sha256, channels, scale, artifact.halo, name, fixed, artifact, artifact.any_size)


def example_shapes(artifact: Artifact) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Make up whole numbers for the shapes of an artifact's first input and first output.

    Args:
        artifact: For one size or for any.

    Returns:
        Both shapes; where it takes any size, for 1021 x 769 input pixels, which nothing is by chance.
    """
    given = artifact.inputs[0]
    sizes = {d: n for d, n in zip(given.shape, (1, 1, 1021, 769), strict=False) if isinstance(d, str)}
    return given.at(sizes), artifact.outputs[0].at(sizes)


def channels_and_scale(where: Path, given: tuple[int, ...], made: tuple[int, ...]) -> tuple[int, int]:
    """Find the channels and the factor of a compiled network from what it maps to what.

    Args:
        where: Its path, for the message.
        given: Shape of its input, (1, C, H, W).
        made: Shape of its output.

    Returns:
        C, 1 or 3, and the whole factor.

    Raises:
        SrTvmError: Its output is not its input enlarged by a whole factor.
    """
    good = len(given) == len(made) == 4 and given[:2] == made[:2] and given[0] == 1 and given[1] in CHANNELS
    scale = made[2] // given[2] if good else 0
    if not good or scale < 1 or made[2:] != (given[2] * scale, given[3] * scale):
        raise SrTvmError(
            f"{where}: maps {_text(given)} to {_text(made)}; a network that enlarges pictures maps 1x3xHxW, "
            "or 1x1xHxW, to the same enlarged by a whole factor"
        )
    return given[1], scale


def _text(shape: tuple[int, ...] | list[int | None]) -> str:
    return "x".join("?" if n is None else str(n) for n in shape) or "of unknown shape"
