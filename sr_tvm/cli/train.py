"""The command ``sr-tvm train``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import by_name

LR, QAT_LR = 6e-3, 2e-5


@click.command("train")
@click.option("--arch", help="wdsr-3x24 (blocks x channels), or an architecture's JSON file.")
@click.option("--qat", metavar="FILE", help="Instead of --arch: int8 ONNX by sr-tvm quantize, to train further.")
@click.option("--scale", type=click.Choice(["2", "3", "4"]), help="Of a named architecture; 2 if not given.")
@click.option("--data", required=True, multiple=True, help="Folder of training pictures; may be given again.")
@click.option("--validate", help="Folder of pictures to score on while training; without it only the loss is told.")
@click.option("-o", "--output", required=True, help="Folder for the checkpoint and the results.")
@click.option("--steps", type=int, default=12000, show_default=True)
@click.option("--batch", type=int, default=4, show_default=True)
@click.option("--patch", type=int, default=32, show_default=True, help="In low-resolution pixels.")
@click.option("--lr", type=float, help="At the start of the cosine; 6e-3, or with --qat 2e-5, if not given.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--validate-every", type=int, default=500, show_default=True, help="Steps.")
@click.option("--warmup", type=int, default=0, show_default=True, help="Steps in which the rate rises to --lr.")
@click.option("--clip", type=float, default=0.5, show_default=True, help="Largest norm of the gradients; 0 for none.")
@click.option(
    "--optimizer",
    type=click.Choice(["muon", "adam"]),
    help="Of the blocks' filters; Adam has the rest. Muon if not given, but Adam with --qat.",
)
@click.option("--init", help="Weights file to begin as, of any scale; a larger network is sliced to --arch.")
@click.option("--teacher", help="Weights file of a network, of any size, whose output is aimed at too.")
@click.option("--teacher-share", type=float, default=0.5, show_default=True, help="The teacher's share of the loss.")
@click.option(
    "--teacher-ensemble",
    is_flag=True,
    help="Aim at the mean of its output for all 8 turns and mirrors of a picture: better, and 8 times as long to make.",
)
@click.option(
    "--detail", type=float, default=0.0, show_default=True, help="Draw patches by gradient energy to this power."
)
@click.option("--shuffle", is_flag=True, help="Colours of patches in any order.")
@click.option("--weigh", multiple=True, metavar="FOLDER=WEIGHT", help="Draw a folder's pictures so much oftener.")
@click.option("--late-patch", type=int, default=0, help="Size of patches at the end, fewer of them; 0: as before.")
@click.option("--late-share", type=float, default=0.2, show_default=True, help="Share of the steps with these.")
@click.option("--loss", type=click.Choice(["l1", "charbonnier", "l2"]), default="l1", show_default=True)
@click.option(
    "--branches",
    type=click.Choice(["none", "sum", "edges", "product"]),
    default="none",
    show_default=True,
    help="Train the blocks' 3x3 filters as several linear ones, folded in each step.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Of the blocks' convolutions; bfloat16 where the hardware has it.",
)
@click.option("--graph/--no-graph", default=True, show_default=True, help="Replay steps as a CUDA graph; on GPUs only.")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads; PyTorch's choice if not given.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--cache", help="Folder for prepared low resolution; the user's cache folder if not given.")
def command(
    arch: str | None,
    qat: str | None,
    scale: str | None,
    lr: float | None,
    optimizer: str | None,
    data: tuple[str, ...],
    validate: str | None,
    output: str,
    threads: int | None,
    device: str,
    cache: str | None,
    init: str | None,
    teacher: str | None,
    precision: str,
    graph: bool,
    weigh: tuple[str, ...],
    **numbers: Any,
) -> None:
    """Train a WDSR network on folders of pictures, or with --qat a network in integers.

    Ctrl-C stops it after a checkpoint; the same command goes on from there, with the same result as if it had never
    stopped. Low resolution is MATLAB-style bicubic.

    \b
    sr-tvm train --arch wdsr-3x24 --scale 2 --data DIV2K/train --validate Set5 -o runs/mine
    sr-tvm train --arch wdsr-3x24 --init runs/large/weights.safetensors --teacher runs/large/weights.safetensors \\
        --data DIV2K/train -o runs/small
    sr-tvm train --qat wdsr_int8.onnx --teacher runs/mine/weights.safetensors --steps 4000 \\
        --data DIV2K/train -o runs/int8
    """
    if (arch is None) == (qat is None):
        raise click.UsageError("--arch for a float network, or --qat for one in integers: one of the two is needed")
    # Asked for wrongly, it should fail before PyTorch is loaded.
    from sr_tvm.training.settings import IntegerFile, TrainingSettings, WeightsFile

    numbers["weights"] = tuple(_weight(text) for text in weigh)
    start, aim = (WeightsFile.of(path) if path else None for path in (init, teacher))
    numbers["lr"] = lr if lr is not None else QAT_LR if qat else LR
    numbers["optimizer"] = optimizer or ("adam" if qat else "muon")
    wanted = IntegerFile.of(qat) if qat else by_name(arch or "", int(scale) if scale else None)
    if scale and int(scale) != wanted.scale:
        raise SrTvmError(f"{qat}: its scale is {wanted.scale}, but --scale is {scale}")
    settings = TrainingSettings(wanted, init=start, teacher=aim, **numbers)
    from sr_tvm.bars import bar, note
    from sr_tvm.training.loop import look_ahead, train
    from sr_tvm.training.session import prepare

    if precision == "auto" and not qat:
        from sr_tvm.training.step import best_precision
        from sr_tvm.training.upscalers import pick_device

        precision = best_precision(pick_device(device))
    settings = replace(settings, precision="float32" if precision == "auto" else precision)
    folder, again = Path(output), f"sr-tvm {shlex.join(sys.argv[1:])}"
    look_ahead(settings, folder)
    with bar("preparing pictures") as tick:
        trainer, baseline = prepare(settings, data, validate, device, threads, cache, note, tick, graph)
    known = "nothing to validate on" if baseline is None else f"bicubic is {baseline:.2f} dB"
    click.echo(f"{len(trainer.pairs.pairs)} pictures, on {trainer.device} in {settings.precision}; {known}", err=True)
    with _Bar(settings.steps, settings.validate_every) as shown:
        try:
            train(trainer, folder, shown.report)
        except KeyboardInterrupt:
            note(f"stopped at step {trainer.step} of {settings.steps}; go on with:  {again}")
            raise
    result = folder / trainer.trained.result
    last = trainer.history[-1]
    told = f"{last['psnr']:.2f} dB on {validate}" if validate and "psnr" in last else f"loss {last['loss']:.5f}"
    click.echo(f"trained {settings.steps} steps, {told}: {result}", err=True)
    if qat:
        click.echo(f"next:  sr-tvm compile {result} --target hexagon -o {folder / 'dsp'}", err=True)
        return
    click.echo(
        f"next:  sr-tvm evaluate {result} --data {validate or 'FOLDER'} --scale {settings.architecture.scale}\n"
        f"       sr-tvm export {result} -o {folder / 'model.onnx'}",
        err=True,
    )


def _weight(text: str) -> tuple[str, float]:
    folder, _, weight = text.rpartition("=")
    try:
        return Path(folder).name, float(weight)
    except ValueError:
        raise SrTvmError(f"--weigh {text}: FOLDER=WEIGHT is needed, for example cid22=2") from None


class _Bar:
    """Steps, ETA, loss and the latest validation; every ``every`` steps there is also a line that stays."""

    def __init__(self, steps: int, every: int) -> None:
        from sr_tvm.bars import make

        self.bar = make("{task.fields[told]}")
        self.task = self.bar.add_task("training", total=steps, told="")
        self.every = every
        self.started: int | None = None
        self.psnr = ""

    def __enter__(self) -> _Bar:
        self.bar.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        self.bar.__exit__(*reason)

    def report(self, now: Any) -> None:
        if self.started is None:  # of a resumed run, only the new steps tell its speed
            self.started = now.step
            self.bar.reset(self.task, completed=now.step)
        if now.psnr is not None:
            self.psnr = f" {now.psnr:.2f} dB"
        if now.step % self.every == 0 or now.step == now.steps:
            self.bar.console.print(f"step {now.step}/{now.steps}  loss {now.loss:.5f} {self.psnr}", highlight=False)
        self.bar.update(self.task, completed=now.step, told=f"loss {now.loss:.4f}{self.psnr}")
