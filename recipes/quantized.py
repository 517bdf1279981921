"""Makes models/int8 from the float networks beside it.

Run it as .venv/bin/python models/quantized.py --data DIR. Each is quantised after training, then trained in integers
(docs/hexagon.md), scored, and put into models/int8 with a record of how. Stopped at any point, the same command goes
on. The record names the weights that it was made of: once these are replaced, it is stale.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from recipes import MODELS
from recipes.pictures import eval_folders, train_folders
from recipes.ship import digest
from sr_tvm.bars import bar, note
from sr_tvm.build.integer import quantize_model
from sr_tvm.errors import SrTvmError
from sr_tvm.system import files
from sr_tvm.training.loop import HISTORY_SCHEMA, HISTORY_VERSION, train
from sr_tvm.training.session import prepare
from sr_tvm.training.settings import IntegerFile, TrainingSettings, WeightsFile

FOLDER = click.Path(file_okay=False, path_type=Path)
SCHEMA, VERSION = "sr-tvm/int8-model", 1
SHIPPED = ("wdsr_x2_37k", "wdsr_x2_dsp_70ms", "wdsr_x2_8x24")
SETS = ("Set5", "Set14", "B100")
LR = 2e-5
CALIBRATE, VALIDATE = "BSDS400", "Set5"
TEACHERS = {2: "teacher/teacher_x2.safetensors"}
MARKS = "<!-- int8: written by models/quantized.py -->", "<!-- end of int8 -->"


def make(name: str, data: Path, work: Path, models: Path, steps: int, cache: Path | None, threads: int | None) -> None:
    """Quantise one network, train it in integers, and put it and its record into ``models``/int8.

    Args:
        name: Of the float network.
        data: Folder that holds train/SET and eval/SET.
        work: Folder of what is under way, by the network and its weights.
        models: Folder of the float networks, and of int8/.
        steps: Of the training in integers.
        cache: Folder of prepared pictures; the user's if None.
        threads: CPU threads; PyTorch's choice if None.

    Raises:
        SrTvmError: A file is missing or damaged, or a set of pictures is.
    """
    from sr_tvm.evaluation.integer import compare
    from sr_tvm.quantize.qdq_read import from_onnx

    weights = models / f"{name}.safetensors"
    made_of = digest(weights)
    folder = work / f"{name}_{made_of}"
    start, end = folder / "calibrated.onnx", folder / "model.onnx"
    if not start.is_file():
        with bar(f"{name}: quantising") as tick:
            quantize_model(models / f"{name}.onnx", data / "train" / CALIBRATE, start, progress=tick)
    file = IntegerFile.of(start)
    teacher = WeightsFile.of(models / TEACHERS.get(file.scale, f"{name}.safetensors"))
    settings = TrainingSettings(
        file, steps, lr=LR, optimizer="adam", teacher=teacher, teacher_share=0.9, detail=0.5, validate_every=500
    )
    if not (folder / "history.json").is_file():
        with bar(f"{name}: preparing pictures") as tick:
            trainer, _ = prepare(
                settings, train_folders(data), data / "eval" / VALIDATE, "auto", threads, cache, note, tick
            )
        with bar(f"{name}: training") as tick:
            train(trainer, folder, lambda now: tick(now.step, now.steps))
    from sr_tvm.build.integer import region_of

    region, scores = region_of(models / f"{name}.onnx"), []
    networks = {"calibrated": from_onnx(start), "trained": from_onnx(end)}
    for found in (path for path in eval_folders(data) if path.name in SETS):
        both = {how: compare(region, network, found) for how, network in networks.items()}
        row = {"pictures": found.name, "images": both["trained"].images, "float32": both["trained"].float32}
        scores.append(row | {how: score.int8 for how, score in both.items()})
    history = files.read_json(folder / "history.json", HISTORY_SCHEMA, HISTORY_VERSION)
    with files.atomic_file(models / "int8" / f"{name}.onnx") as partial:
        shutil.copyfile(end, partial)
    told = {"name": name, "scale": file.scale, "weights": made_of, "onnx": digest(end), "scores": scores}
    files.write_json(
        models / "int8" / f"{name}.json",
        {"schema": SCHEMA, "version": VERSION, **told, "run": history["run"], "rows": history["rows"]},
    )


def read(models: Path) -> list[dict[str, Any]]:
    """Read the records of models/int8.

    Args:
        models: The folder with int8/ in it.

    Returns:
        Their JSON objects, in order of name.

    Raises:
        SrTvmError: One is damaged.
    """
    return [files.read_json(path, SCHEMA, VERSION) for path in sorted((models / "int8").glob("*.json"))]


def table(records: list[dict[str, Any]]) -> str:
    """Make the table of models/README.md: PSNR-Y in dB of float, of int8 as calibrated and as trained, by set.

    Args:
        records: As :func:`read` gives them.

    Returns:
        Lines of Markdown; a cell is empty where a set was not scored.
    """
    lines = [f"| model | {' | '.join(SETS)} |", "|---" * (1 + len(SETS)) + "|"]
    for record in records:
        cells = [f"`int8/{record['name']}`"]
        for name in SETS:
            row = next((r for r in record["scores"] if r["pictures"] == name), None)
            lost = "" if row is None else f" ({row['trained'] - row['float32']:+.3f})"
            told = "" if row is None else f"{row['float32']:.2f}, {row['calibrated']:.2f}, {row['trained']:.2f}{lost}"
            cells.append(told)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_table(path: Path, told: str) -> None:
    """Put the table of int8 networks between its marks in a Markdown file.

    Args:
        path: The file, which is rewritten atomically.
        told: The table, lines of Markdown.

    Raises:
        SrTvmError: The marks are not there, or the file cannot be written.
    """
    text = path.read_text(encoding="utf-8")
    before, after = MARKS
    if text.count(before) != 1 or text.count(after) != 1:
        raise SrTvmError(f"{path}: the table's place is between a line {before!r} and a line {after!r}; add them")
    with files.atomic_file(path) as partial:
        whole = f"{text[: text.index(before)]}{before}\n{told}\n{text[text.index(after) :]}"
        partial.write_text(whole, encoding="utf-8")


@click.command()
@click.option("--data", envvar="SR_TVM_DATA", required=True, type=FOLDER, help="Holds train/* and eval/Set5 and so on.")
@click.option("--work", type=FOLDER, default=Path("runs/int8"), show_default=True, help="Checkpoints.")
@click.option("--models", type=FOLDER, default=MODELS, help="Where the float networks lie; models/ by default.")
@click.option("--steps", type=click.IntRange(1), default=3000, show_default=True)
@click.option("--cache", type=FOLDER, help="Of prepared pictures; the user's cache folder if not given.")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads; PyTorch's choice if not given.")
@click.option("--only", default=",".join(SHIPPED), show_default=True, metavar="NAME[,NAME]")
def main(data: Path, work: Path, models: Path, steps: int, cache: Path | None, threads: int | None, only: str) -> None:
    """Quantise, train in integers, score and ship."""
    for name in only.split(","):
        make(name, data, work, models, steps, cache, threads)
        record = next(r for r in read(models) if r["name"] == name)
        for row in record["scores"]:
            lost = row["float32"] - row["trained"]
            click.echo(f"{name}, {row['pictures']}: {row['trained']:.3f} dB, {lost:.3f} less than float32")
    write_table(models / "README.md", table(read(models)))


if __name__ == "__main__":
    try:
        main()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
