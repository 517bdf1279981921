"""The photograph of the demo: shrunk and enlarged again by bicubic and by the network, and enlarged as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from sr_tvm.imaging.metrics import luma, psnr_y
from sr_tvm.imaging.reading import open_image
from sr_tvm.imaging.resize import imresize, low_resolution, modcrop
from sr_tvm.report.summary import Compare, Enlarged
from sr_tvm.system import files

CROP = 96
# (what, tiles done, tiles)
Progress = Callable[[str, int, int], None]


def photograph() -> np.ndarray:
    """Load a photograph of Eileen Collins by NASA, in the public domain, as scikit-image ships it.

    Returns:
        RGB (512, 512, 3), uint8.
    """
    from skimage import data

    return np.asarray(data.astronaut())


def best_crop(truth: np.ndarray, before: np.ndarray, after: np.ndarray, size: int = CROP) -> tuple[int, int, int, int]:
    """Find the square where one enlargement is closer to the truth than another by the most.

    Args:
        truth: The original, uint8 (H, W, 3).
        before: The enlargement to beat, of the same shape.
        after: The other enlargement, of the same shape.
        size: Side of the square in pixels; less where the picture is smaller.

    Returns:
        x, y, width and height in pixels.
    """
    y = luma(truth)
    gain = (luma(before) - y) ** 2 - (luma(after) - y) ** 2
    size = min(size, *gain.shape)
    sums = np.pad(gain, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    top, left = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return int(left), int(top), size, size


def compare(folder: Path, model: Path, scale: int, threads: int | None, progress: Progress) -> tuple[Compare, Enlarged]:
    """Write the photograph and its enlargements into a folder, and score them.

    PSNR is of the luma with a border of ``scale`` pixels shaved, as papers report it.

    Args:
        folder: Of the run.
        model: The folder of the network's artifact.
        scale: The network's factor.
        threads: Cores to use; all if None.
        progress: Called with what is enlarged, the tiles done and all tiles.

    Returns:
        What the page tells of the comparison, and of the enlarged original.

    Raises:
        SrTvmError: The artifact cannot be run, or a picture cannot be written.
    """
    from sr_tvm.upscaling.upscale import upscale_file

    truth = modcrop(photograph(), scale)
    low = low_resolution(truth, scale)
    bicubic = imresize(low, scale)
    for name, pixels in (("truth", truth), ("low", low), ("bicubic", bicubic)):
        _save(folder / f"{name}.png", pixels)
    for source, out in (("low", "network"), ("truth", "enlarged")):

        def step(stage: str, done: int, total: int, what: str = out) -> None:
            if stage == "enlarging":
                progress(what, done, total)

        upscale_file(folder / f"{source}.png", folder / f"{out}.png", model, threads=threads, progress=step)
    with open_image(folder / "network.png") as picture:
        ours = np.asarray(picture.convert("RGB"))
    psnr = {name: round(psnr_y(truth, pixels, scale), 3) for name, pixels in (("bicubic", bicubic), ("ours", ours))}
    crop = best_crop(truth, bicubic, ours)
    return (
        Compare(
            "truth.png", "bicubic.png", "network.png", psnr["bicubic"], psnr["ours"], crop,
            f"A photograph made {scale} times smaller, as papers do (MATLAB's bicubic), then enlarged again: by "
            "bicubic on the left, by the compiled network on the right. Move the edge to compare.",
            f"The {crop[2]} x {crop[3]} pixels where the network gains most over bicubic, 4 times as large. PSNR is of "
            "the luma of the whole picture.",
        ),
        Enlarged(
            "enlarged.png",
            f"The photograph itself, {scale} times as large by the compiled network: detail that no camera took is the "
            "network's guess.",
        ),
    )  # fmt: skip


def _save(path: Path, pixels: np.ndarray) -> None:
    with files.atomic_file(path) as partial:
        Image.fromarray(pixels).save(partial, "PNG")
