"""Before and after: bicubic against the network, whole and close up."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sr_tvm.errors import SrTvmError
from sr_tvm.report import run_folder
from sr_tvm.report.html_parts import para, section, text
from sr_tvm.report.pictures import data_uri, open_picture
from sr_tvm.report.summary import Compare, Summary

# Moves the edge between the two pictures. Without scripts the picture stands half and half.
SCRIPT = (
    "document.querySelectorAll('.slider').forEach(s=>{const i=s.querySelector('input');"
    "const f=()=>s.style.setProperty('--at',i.value+'%');i.addEventListener('input',f);f()})"
)
ZOOM = 4


def _slider(left: Image.Image, right: Image.Image, names: tuple[str, str]) -> str:
    a, b = text(names[0]), text(names[1])
    return (
        f'<div class="slider"><img src="{data_uri(right)}" alt="{b}">'
        f'<img class="over" src="{data_uri(left)}" alt="{a}">'
        f'<span class="l">{a}</span><span class="r">{b}</span>'
        f'<input type="range" min="0" max="100" value="50" aria-label="{a} on the left, {b} on the right"></div>'
    )


def _crops(pictures: list[tuple[Image.Image, str]], box: tuple[int, int, int, int]) -> str:
    cells = []
    for picture, caption in pictures:
        crop = picture.crop(box)
        crop = crop.resize((crop.width * ZOOM, crop.height * ZOOM), Image.Resampling.NEAREST)
        cells.append(f'<figure><img src="{data_uri(crop, 0)}" alt="{text(caption)}"><figcaption>{text(caption)}'
                     "</figcaption></figure>")  # fmt: skip
    return f'<div class="crops">{"".join(cells)}</div>'


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
    crops = [(bicubic, f"bicubic, {of[0]:.2f} dB"), (ours, f"network, {of[1]:.2f} dB"), (truth, "original")]
    return [
        para(c.caption),
        _slider(bicubic, ours, (f"bicubic {of[0]:.2f} dB", f"network {of[1]:.2f} dB")),
        _crops(crops, _box(c.crop, truth.size)),
        para(c.crop_note, note=True),
    ]


def pictures(summary: Summary, folder: Path) -> str:
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
            "<h3>The photograph itself, enlarged</h3>",
            f'<figure><img src="{data_uri(picture, 88)}" alt="enlarged photograph" style="max-width:40rem">'
            f"<figcaption>{text(e.caption)} {size} pixels; in full in <code>{text(e.file)}</code>."
            "</figcaption></figure>",
        ]
    return section("Before and after", *parts)
