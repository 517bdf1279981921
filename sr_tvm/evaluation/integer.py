"""How far an integer network is from the float one it was made of, in dB against the originals of pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.quantize import floating, reference
from sr_tvm.quantize.network import IntegerNetwork
from sr_tvm.regions.region import Region


@dataclass(frozen=True)
class Scores:
    """Mean PSNR of the luma in dB on the pictures of a folder, of the float network and of the integer one."""

    pictures: str
    images: int
    float32: float
    int8: float

    def to_json(self) -> dict[str, Any]:
        """Write the record for ``--json``.

        Returns:
            A JSON object with one field for each of this record, and ``drop_db``, what int8 loses.
        """
        return {**asdict(self), "drop_db": self.float32 - self.int8}

    def __str__(self) -> str:
        drop = self.float32 - self.int8
        return f"{self.pictures}: int8 {self.int8:.3f} dB, float32 {self.float32:.3f} dB PSNR-Y ({drop:.3f} lost)"


def compare(region: Region, network: IntegerNetwork, folder: str | Path) -> Scores:
    """Score a float network and the integer one made of it on pictures, as ``sr-tvm evaluate`` does.

    Pictures are shrunk by MATLAB's bicubic, and a border of the scale is shaved.

    Args:
        region: The float network.
        network: The integer network.
        folder: Of high-resolution pictures.

    Returns:
        The mean PSNR of both.

    Raises:
        SrTvmError: No readable picture, or a network that takes neither RGB nor luma.
    """
    from sr_tvm.imaging.metrics import luma, psnr_y
    from sr_tvm.imaging.pictures import as_rgb, list_pictures, read_picture
    from sr_tvm.imaging.resize import low_resolution, modcrop

    scale = network.shuffle
    channels = network.channels(network.picture.name)
    if channels not in (1, 3):
        raise SrTvmError(f"networks of RGB or luma are scored in int8, none of {channels} channels")
    found: list[tuple[float, float]] = []
    for path in list_pictures(folder):
        high = modcrop(read_picture(path), scale)
        shown = low_resolution(high, scale)
        if channels == 1:
            low = np.round(luma(shown)).astype(np.uint8)[None]
        else:
            low = np.ascontiguousarray(as_rgb(shown).transpose(2, 0, 1))
        both = (in_float(region, low), reference.run(network, low))
        one, two = (psnr_y(high, made[0] if channels == 1 else made.transpose(1, 2, 0), scale) for made in both)
        found.append((one, two))
    plain, integer = np.mean(found, 0)
    return Scores(Path(folder).name, len(found), float(plain), float(integer))


def in_float(region: Region, picture: np.ndarray) -> np.ndarray:
    """Enlarge a picture by the float network, rounded to uint8.

    Args:
        region: The float network, of one result.
        picture: (C, H, W) uint8.

    Returns:
        (C, scale H, scale W) uint8.
    """
    (result,) = region.results
    value = floating.values(region, picture.astype(np.float32) / np.float32(255))[result.value]
    return reference.shuffled(np.clip(np.round(value * 255), 0, 255).astype(np.uint8), result.shuffle)
