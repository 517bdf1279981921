"""Int8 networks on a simulated Hexagon DSP: packets of our kernels and of stock TVM's convolutions of the same shapes.

Writes benchmarks/results/hexagon.json. Packets are no milliseconds: nothing here says how long a DSP takes.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from benchmarks import common, options
from benchmarks.phones import hexagon_stock
from sr_tvm import shipped
from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact
from sr_tvm.system.files import check_writable

NAME = "hexagon"
MODELS = (
    "wdsr_x2_37k",
    "wdsr_x2_dsp_70ms",
    "wdsr_x2_8x24",
    "wdsr_x2_dsp_40ms",
    "wdsr_x2_s21_40ms",
    "wdsr_x2_s21_100ms",
    "wdsr_x4_s21_40ms",
)
STOCK_ROWS, STOCK_WIDTH = 4, 640  # a row costs the same wherever it is
SHARE = 0.02  # of a network's multiply-accumulates from which a kernel counts as one
METHOD = {
    "packets": "instruction packets that qemu-hexagon counts over the whole call, uint8 planes in to uint8 planes out",
    "mac": "multiply-accumulates of the ONNX graph: channels and taps that fill up vectors are not counted",
    "bit_exact": "every byte of the result equals the NumPy definition (sr_tvm/quantize/reference.py)",
    "quantisation": "trained: the file of models/int8, by quantisation-aware training; calibrated: after training, on "
    "up to 24 pictures of --data",
    "stock": hexagon_stock.HOW,
    "ours": "decisions of the shipped tuning log for the kinds of kernels it has, the default's for others; 'untuned' "
    "is with the default's alone",
    "stalls": "static: of the packets in the kernels' loops those with an HVX source that is needed early and that the "
    "vector packet before made, each loop body as often as it runs (sr_tvm/isa/hexagon/assembly.py)",
}


def measure(model: Path, data: str, sets: list[str], size: tuple[int, int], folder: Path) -> dict[str, Any]:
    """Compile and run the int8 form of a model, tuned and untuned: a row of its network with a row of each stage.

    That is the file that ships, or else one that is quantised now.
    """
    from sr_tvm.build.integer import quantize_model, region_of
    from sr_tvm.evaluation.integer import compare
    from sr_tvm.quantize import reference
    from sr_tvm.quantize.qdq_read import from_onnx

    quantized, trained = model.parent / "int8" / model.name, True
    if quantized.is_file():
        region = region_of(model)
    else:
        quantized, trained = folder / f"{model.stem}.onnx", False
        region, _ = quantize_model(model, data, quantized)
    network = from_onnx(quantized)
    picture = photograph(*size)
    wanted = reference.run(network, picture)
    tuned, untuned = (_counted(quantized, folder, picture, wanted, log) for log in (True, False))
    scores = [compare(region, network, folder).to_json() for folder in sets] if trained else []
    how = "trained" if trained else "calibrated"
    return {"model": model.stem, "quantisation": how, **tuned, "scores": scores, "untuned": untuned}


def _counted(quantized: Path, folder: Path, picture: np.ndarray, wanted: np.ndarray, log: bool) -> dict[str, Any]:
    """Compile a quantised model, with the shipped tuning log or without, and run it: its counts, and of each stage."""
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.isa.hexagon import program
    from sr_tvm.runners.hexagon_sim import HexagonSimRunner

    start = time.monotonic()
    out = folder / f"{quantized.stem}-{'tuned' if log else 'untuned'}"
    artifact: Artifact = compile_model(quantized, "hexagon", out, options=CompileOptions(use_shipped_log=log))
    seconds = time.monotonic() - start
    made, counts = HexagonSimRunner().counted(artifact, picture[None])
    total, macs = (sum(getattr(count, name) for count in counts) for name in ("packets", "macs"))
    stages = [
        {"what": c.what or "between stages", "packets": c.packets, "hvx": c.hvx, "instructions": c.instructions,
         "mac": c.macs, "mac_per_packet": round(c.macs_per_packet, 2)}
        for c in counts
    ]  # fmt: skip
    return {
        "packets": total, "mac": macs, "mac_per_packet": round(macs / total, 2),
        "bit_exact": bool(np.array_equal(made[0], wanted)), "compile_seconds": round(seconds, 2),
        "kernels_tuned": sum(row["schedule"] == "tuned" for row in artifact.kernels),
        "stalls_percent": round(program.count(artifact.folder).stalls_percent, 2), "stages": stages,
        "worst_mac_per_packet": min(s["mac_per_packet"] for s in stages if s["mac"] >= SHARE * macs),
    }  # fmt: skip


def photograph(height: int, width: int) -> np.ndarray:
    """A part of scikit-image's astronaut, mirrored as often as is needed: (3, height, width) uint8."""
    from skimage import data

    image = data.astronaut()
    tall, wide = (-(-n // 512) for n in (height, width))
    return np.ascontiguousarray(
        np.pad(image, ((0, 512 * (tall - 1)), (0, 512 * (wide - 1)), (0, 0)), "symmetric")[:height, :width].transpose(
            2, 0, 1
        )
    )


def stock(model: Path, folder: Path, note: Any) -> list[dict[str, Any]]:
    """A row of each different convolution of a model as stock TVM builds it, and how often the network has it."""
    from collections import Counter

    from sr_tvm.build.integer import region_of

    shapes = Counter(conv.weight.shape for conv in region_of(model).convolutions())
    rows = []
    for (outputs, inputs, kernel, _), times in shapes.items():
        note(f"stock TVM: {kernel}x{kernel} {inputs}->{outputs}")
        macs = outputs * inputs * kernel**2 * STOCK_ROWS * STOCK_WIDTH
        found = hexagon_stock.packets(inputs, outputs, kernel, STOCK_ROWS, STOCK_WIDTH, folder)
        rows.append({"what": f"{kernel}x{kernel} {inputs}->{outputs}", "times": times, "packets_per_pixel":
                     round(found / STOCK_ROWS / STOCK_WIDTH, 3), "mac_per_packet": round(macs / found, 2)})  # fmt: skip
    return rows


def summarize(rows: list[dict[str, Any]], others: list[dict[str, Any]], pixels: int) -> dict[str, Any]:
    """The figures of the first model, and whether all are exact."""
    first = rows[0]
    ours = first["packets"] / pixels
    theirs = sum(row["times"] * row["packets_per_pixel"] for row in others)
    return {
        "model": first["model"],
        "net_mac_per_packet": first["mac_per_packet"],
        "worst_kernel_mac_per_packet": first["worst_mac_per_packet"],
        "untuned_net_mac_per_packet": first["untuned"]["mac_per_packet"],
        "stalls_percent": first["stalls_percent"],
        "bit_exact": int(all(row["bit_exact"] and row["untuned"]["bit_exact"] for row in rows)),
        "packets_vs_stock": round(theirs / ours, 2) if others else None,
        # Of all networks trained in integers, on all sets; one without a score would be infinitely worse.
        "psnr_drop_qat_db": round(max(_drops(rows), default=math.inf), 4) if any(r["scores"] for r in rows) else None,
    }


def _drops(rows: list[dict[str, Any]]) -> Iterator[float]:
    for row in rows:
        if row["quantisation"] == "trained":
            yield max((score["drop_db"] for score in row["scores"]), default=math.inf)


def markdown(rows: list[dict[str, Any]]) -> str:
    """The networks as a Markdown table."""
    lines = [
        "| network | decisions | packets | MAC/packet | worst kernel | stalls | bit-exact |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for how, r in (("tuned", row), ("default", row["untuned"])):
            worst, exact = r["worst_mac_per_packet"], "yes" if r["bit_exact"] else "NO"
            numbers = f"{r['packets'] / 1e6:.2f} M | {r['mac_per_packet']:.1f} | {worst:.1f}"
            lines.append(f"| {row['model']} | {how} | {numbers} | {r['stalls_percent']:.2f} % | {exact} |")
    return "\n".join(lines)


@click.command()
@click.option("--data", required=True, metavar="DIR", help="Pictures to calibrate with.")
@click.option("--evaluate", "sets", multiple=True, metavar="DIR", help="To score those on that are trained.")
@click.option("--models", "names", default=",".join(MODELS), show_default=True, callback=options.words(MODELS))
@click.option("--input", "size", default="360x640", show_default=True, callback=options.size, help="Height x width.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/hexagon.json."
)
def main(data: str, sets: tuple[str, ...], names: list[str], size: tuple[int, int], output: Path | None) -> None:
    """Count the packets of int8 networks in the simulator, beside stock TVM's convolutions.

    \b
    Example:  make bench NAME=hexagon ARGS="--data BSDS400 --evaluate Set5 --evaluate Set14"
    """
    from sr_tvm.runners.hexagon_sim import find
    from sr_tvm.system.tvm_setup import import_tvm

    import_tvm()
    path = output or common.RESULTS / f"{NAME}.json"
    check_writable(path)
    simulator, console = find(), Console()
    networks = shipped.models()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="sr-tvm-hexagon-") as place, console.status("") as status:
        for name in names:
            status.update(f"quantising, compiling and running {name}")
            rows.append(measure(networks / f"{name}.onnx", data, list(sets), size, Path(place)))
        others = stock(networks / f"{names[0]}.onnx", Path(place), status.update)
    how = METHOD | {"input": f"{size[0]}x{size[1]} (height x width)", "stock_rows": STOCK_ROWS}
    how |= {"simulator": f"qemu-hexagon {simulator.version} as {simulator.cpu}, code for v68"}
    summary = summarize(rows, others, size[0] * size[1])
    value = common.result(NAME, how, rows, summary, ("apache-tvm", "ziglang"))
    common.write_result(value | {"stock": others}, path)
    print(markdown(rows))
    console.print(f"wrote {path}")
    if not summary["bit_exact"]:
        raise SrTvmError("a network's bytes are not those of the definition")


if __name__ == "__main__":
    options.run(main)
