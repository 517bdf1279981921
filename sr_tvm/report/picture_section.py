"""Before and after: bicubic against the network, whole and close up."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sr_tvm.errors import SrTvmError
from sr_tvm.report import run_folder
from sr_tvm.report.html_parts import crops, enlarged, heading, para, section, slider
from sr_tvm.report.pictures import data_uri, open_picture
from sr_tvm.report.summary import Compare, Summary

# Moves the edge between the two pictures. Without scripts the picture stands half and half.
SCRIPT = (
    "document.querySelectorAll('.slider').forEach(s=>{const i=s.querySelector('input');"
    "const f=()=>s.style.setProperty('--at',i.value+'%');i.addEventListener('input',f);f()})"
)
ZOOM = 4


def _close_up(picture: Image.Image, box: tuple[int, int, int, int]) -> str:
    crop = picture.crop(box)
    return data_uri(crop.resize((crop.width * ZOOM, crop.height * ZOOM), Image.Resampling.NEAREST), 0)


def _box(crop: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    x, y, w, h = crop
    if min(x, y) < 0 or min(w, h) < 1 or max(w, h) > 400 or x + w > size[0] or y + h > size[1]:
        raise ValueError(f"pictures.compare.crop {crop} does not lie in {size[0]} x {size[1]} pixels")
    return x, y, x + w, y + h


def _compare(c: Compare, folder: Path) -> list[str]:
    def load(field: str) -> Image.Image:
        return open_picture(run_folder.inside(folder, getattr(c, field), f"pictures.compare.{field}"))

    truth, bicubic, ours = load("truth"), load("bicubic"), load("ours")
    if not truth.size == bicubic.size == ours.size:
        raise SrTvmError(f"{folder}: the compared pictures differ in size; run the step again")
    of = [c.psnr_bicubic, c.psnr_ours]
    shown = [(bicubic, f"bicubic, {of[0]:.2f} dB"), (ours, f"network, {of[1]:.2f} dB"), (truth, "original")]
    box = _box(c.crop, truth.size)
    return [
        para(c.caption),
        slider(data_uri(bicubic), data_uri(ours), f"bicubic {of[0]:.2f} dB", f"network {of[1]:.2f} dB"),
        crops((_close_up(picture, box), caption) for picture, caption in shown),
        para(c.crop_note, note=True),
    ]


def pictures(summary: Summary, folder: Path) -> str:
    """Build the section that shows a photograph before and after.

    Args:
        summary: Of the run.
        folder: Of the run, with the pictures that the summary names.

    Returns:
        HTML; "" if the run has no pictures.

    Raises:
        SrTvmError: A picture is missing, outside the folder or no picture, or their sizes differ.
    """
    p = summary.pictures
    if not p:
        return ""
    parts = _compare(p.compare, folder) if p.compare else []
    if p.enlarged:
        e = p.enlarged
        picture = open_picture(run_folder.inside(folder, e.file, "pictures.enlarged.file"))
        size = f"{picture.width} × {picture.height}"
        if max(picture.size) > 1280:
            picture.thumbnail((1280, 1280), Image.Resampling.LANCZOS)
        parts += [
            heading("The photograph itself, enlarged"),
            enlarged(data_uri(picture, 88), e.caption, size, e.file),
        ]
    return section("Before and after", *parts)
