"""An OpenCL artifact beside its CPU fallback: what a package of both needs, as the tables of `sr_cl_program.h`."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.isa.device_code import TEXT
from sr_tvm.package import native
from sr_tvm.package.tables import PictureNames
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.device_program import MEMORY, WEIGHT, DeviceProgram, Memory
from sr_tvm.records.program import FILE, FOLDER, WEIGHTS
from sr_tvm.records.size import Size

KIND = "opencl"
ALPHA_REACH = 2  # as sr_pixels.h has it
SOURCE_DATA, WEIGHT_DATA = "device_source", "device_weights"


def is_device(artifact: Artifact) -> bool:
    """Tell whether an artifact's kernels are OpenCL C.

    Args:
        artifact: Any artifact.

    Returns:
        True for one of a target with OpenCL.
    """
    return str(artifact.tvm_target.get("kind", "")) == KIND


def check_fallback(artifact: Artifact, fallback: Artifact | None) -> Artifact:
    """Check that one artifact is the same network for the CPU that calls another's OpenCL.

    Args:
        artifact: The OpenCL one.
        fallback: That for the CPU; None if none was named.

    Returns:
        ``fallback``.

    Raises:
        SrTvmError: It is missing, of another model, or for another machine; the message says how to make one.
    """
    platform = native.platform_of(artifact)
    target = "android-cpu" if platform.android else "cpu"
    right = f"sr-tvm compile {artifact.model} --target {target} -o cpu/, then sr-tvm package ... --fallback cpu/"
    if fallback is None:
        raise SrTvmError(
            f"{artifact.folder}: is for {artifact.target}; a package also needs the network for the CPU, which takes "
            f"small pictures, and all of them where there is no OpenCL: {right}"
        )
    if fallback.model_sha256 != artifact.model_sha256:
        raise SrTvmError(f"{fallback.folder}: is of another model than {artifact.folder}: {right}")
    if is_device(fallback) or native.platform_of(fallback) != platform:
        raise SrTvmError(
            f"{fallback.folder}: is for {fallback.target}, which does not go with {artifact.target}: {right}"
        )
    return fallback


@dataclass(frozen=True)
class Device:
    """The OpenCL part of a package.

    Attributes:
        artifact: The OpenCL one.
        program: Of its kernels.
        picture: Of the fallback.
        margin: Pixels of a tile at each side that are not kept, where it is not at the picture's edge.
    """

    artifact: Artifact
    program: DeviceProgram
    picture: PictureNames
    margin: int

    @classmethod
    def load(cls, artifact: Artifact, picture: PictureNames, halo: int, step: int) -> Device:
        """Read the OpenCL program of an artifact for pictures of one size, which become the tiles of larger ones.

        Args:
            artifact: The OpenCL one.
            picture: Of the fallback.
            halo: Input pixels to each side that the network looks at.
            step: Rows that the fallback's kernels make at a time; margins are multiples of it.

        Returns:
            The part.

        Raises:
            SrTvmError: There is none, it does not enlarge as the fallback's ``picture``, or its pictures are too small
                for tiles.
        """
        folder = artifact.folder / FOLDER
        if not (folder / FILE).is_file():
            maker = f"sr-tvm {artifact.versions.get('sr_tvm', '?')}"
            raise SrTvmError(
                f"{artifact.folder}: holds no program for C, made by {maker}: compile the model again; if there is "
                "none then, it does more than to call kernels for one size, and can't be packaged"
            )
        program = DeviceProgram.load(folder, artifact.folder / TEXT)
        reach = max(halo, ALPHA_REACH)
        made = cls(artifact, program, picture, -(-reach // step) * step)
        given, result = made.shapes
        _, channels, height, width = given
        scaled = (1, picture.channels, height * picture.scale, width * picture.scale)
        if given[:2] != (1, picture.channels) or result != scaled:
            raise SrTvmError(
                f"{artifact.folder}: maps {given} to {result}, and its fallback {channels} channels otherwise"
            )
        least = 2 * made.margin + 1
        if min(height, width) < least:
            raise SrTvmError(
                f"{artifact.folder}: its pictures of {height}x{width} are too small to be tiles of larger ones: the "
                f"network looks {halo} pixels far; compile it with an --input-shape of {least}x{least} or more"
            )
        return made

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of input and output.

        Raises:
            SrTvmError: there are several, or of another rank or type than a picture's.
        """
        found = []
        for tensors in (self.program.inputs, self.program.outputs):
            sizes = tuple(n for n in tensors[0].shape if isinstance(n, int))
            if len(tensors) != 1 or len(sizes) != 4 or tensors[0].dtype != "float32":
                raise SrTvmError(f"{self.artifact.folder}: has not one input and one output 1xCxHxW of float32")
            found.append(sizes)
        return found[0], found[1]

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of the pictures that the kernels take."""
        return self.shapes[0][2], self.shapes[0][3]

    @cached_property
    def text(self) -> bytes:
        """The kernels' OpenCL C."""
        return (self.artifact.folder / TEXT).read_bytes()

    @cached_property
    def data(self) -> dict[str, bytes]:
        """What the library holds as it is, by name: the text, deflated to a tenth, and the weights."""
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        source = deflate.compress(self.text) + deflate.flush()
        return {SOURCE_DATA: source, WEIGHT_DATA: (self.artifact.folder / FOLDER / WEIGHTS).read_bytes()}

    @cached_property
    def memories(self) -> list[str]:
        """The rows of the table of memories: input, output, constants, and what lies between kernels."""
        program = self.program
        rows = [_row(Memory(Size.of(t).at({})), "SR_CL_BETWEEN") for t in (program.inputs[0], program.outputs[0])]
        for stored in program.constants:
            rows.append(_row(Memory(Size.of(stored.tensor).at({})), "SR_CL_CONSTANT", stored.place))
        return rows + [_row(memory, "SR_CL_BETWEEN") for memory in program.memories]

    @cached_property
    def launches(self) -> list[dict[str, Any]]:
        """The rows of the table of launches, whose arguments are numbers of memories."""
        first = {"input": 0, "output": 1, WEIGHT: 2, MEMORY: 2 + len(self.program.constants)}
        number = {name: first[kind] + i for name, (kind, i) in self.program.numbers().items()}
        return [
            {
                "kernel": launch.kernel,
                "arguments": [number[name] for name in launch.arguments],
                "groups": launch.groups,
                "local": launch.items,
            }
            for launch in self.program.launches
        ]

    def facts(self) -> dict[str, Any]:
        """Collect what templates are told of the part.

        Returns:
            Facts by the names that the templates use.
        """
        height, width = self.tile
        return {
            "tile_height": height,
            "tile_width": width,
            "margin": self.margin,
            "memories": self.memories,
            "launches": self.launches,
            "source_bytes": len(self.data[SOURCE_DATA]),
            "text_bytes": len(self.text),
            "source_digest": self.program.source_sha256,
            "half": int(self.program.half),
            "device_bytes": sum(m.bytes for m in self.program.memories),
        }


def _row(memory: Memory, kind: str, place: int = 0) -> str:
    width, height, layers = memory.image or (0, 0, 0)
    return f"{{{memory.bytes}u, {place}u, {kind}, {width}, {height}, {layers}, {memory.bits}}}"
