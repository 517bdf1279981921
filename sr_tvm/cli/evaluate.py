"""The command ``sr-tvm evaluate``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sr_tvm.errors import SrTvmError

if TYPE_CHECKING:
    from sr_tvm.training.evaluate import Upscale

OUTPUT = (720, 1280)  # height, width of the picture that multiply-accumulates are counted for


def _candidate(
    model: str, scale: int, height: int, width: int, threads: int | None, device: str
) -> tuple[Upscale, int, int | None]:
    """Return the upscaler, its parameters, and its multiply-accumulates for an input of ``height`` x ``width``.

    Raises:
        SrTvmError: It is no model, or of another scale.
    """
    from sr_tvm.training import upscalers

    place = upscalers.pick_device(device)
    if threads:
        import torch

        torch.set_num_threads(threads)
    if model == "bicubic":
        return upscalers.bicubic(scale), 0, 0
    path = Path(model)
    if path.suffix == ".onnx":
        from sr_tvm.evaluation import onnx_model

        proto = onnx_model.read(path)
        size = onnx_model.size(proto, height, width)
        return onnx_model.upscaler(path, proto, scale, threads), size.params, size.macs
    if path.suffix != ".safetensors":
        raise SrTvmError(f"{model}: cannot be scored; name a .safetensors or .onnx file, or the word bicubic")
    from sr_tvm.nets.weights import load_weights

    network = load_weights(path)
    a = network.architecture
    if a.scale != scale:
        raise SrTvmError(f"{model}: its scale is {a.scale}, but --scale is {scale}")
    return upscalers.network(network.to(place), place), a.params, a.macs(height, width)


def _number(value: float) -> float | None:
    """Return what JSON can hold: it has no infinity, so a perfect picture's PSNR is null."""
    return value if math.isfinite(value) else None


@click.command("evaluate")
@click.argument("model")
@click.option("--data", required=True, help="Folder of high-resolution pictures.")
@click.option("--scale", type=click.Choice(["2", "3", "4"]), default="2", show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads; the engine's choice if not given.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str, data: str, scale: str, threads: int | None, device: str, as_json: bool) -> None:
    """PSNR-Y and SSIM of MODEL: a weights file (.safetensors), an ONNX file, or the word bicubic.

    Low resolution is MATLAB-style bicubic of the pictures, the luma is BT.601, and as many border pixels as the scale
    are shaved, as in the papers. Multiply-accumulates (MACs) are counted for an output of 1280x720.

    \b
    sr-tvm evaluate bicubic --data Set5 --scale 2
    sr-tvm evaluate models/wdsr_x2_37k.safetensors --data Set5 --json
    """
    from sr_tvm.bars import bar, note
    from sr_tvm.imaging.pictures import list_pictures
    from sr_tvm.training.evaluate import evaluate

    list_pictures(data)
    s = int(scale)
    height, width = (math.ceil(side / s) for side in OUTPUT)
    upscale, params, macs = _candidate(model, s, height, width, threads, device)
    with bar("scoring") as tick:
        found = evaluate(upscale, data, s, note, tick)
    rows: list[dict[str, Any]] = found["rows"]
    if as_json:
        told = {
            "model": model,
            "scale": s,
            "data": data,
            "psnr_y": _number(found["psnr_y"]),
            "ssim_y": found["ssim_y"],
            "images": found["images"],
            "params": params,
            "macs": macs,
            "macs_input": {"height": height, "width": width},
            "rows": [row | {"psnr_y": _number(row["psnr_y"])} for row in rows],
        }
        click.echo(json.dumps(told, allow_nan=False))
        return
    for row in rows if len(rows) <= 20 else ():
        click.echo(f"{row['psnr_y']:7.2f} dB  {row['ssim_y']:.4f}  {row['name']}")
    work = "unknown" if macs is None else f"{macs / 1e9:.2f} GMAC"
    click.echo(f"{found['psnr_y']:7.3f} dB  SSIM {found['ssim_y']:.4f}  mean of {found['images']} pictures, x{s}")
    click.echo(f"{params:,} parameters, {work} for {OUTPUT[1]}x{OUTPUT[0]} output ({width}x{height} input)")
