"""The command ``sr-tvm search``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from sr_tvm.errors import SrTvmError

if TYPE_CHECKING:
    from sr_tvm.records.architecture import Architecture
    from sr_tvm.training.settings import WeightsFile


class HeightWidth(click.ParamType):
    """A click type: HxW as two numbers."""

    name = "HxW"

    @override
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        parts = value.lower().split("x")
        if len(parts) != 2 or not all(p.isascii() and p.isdigit() and 8 <= int(p[:9]) <= 16384 for p in parts):
            self.fail(f"{value!r} is not of the form HxW, as in 360x640", param, ctx)
        return int(parts[0]), int(parts[1])


def _steps(default: int, what: str) -> dict[str, Any]:
    return {"type": int, "default": default, "show_default": True, "help": f"Steps: {what}"}


@click.command("search")
@click.option("--scale", type=click.Choice(["2", "3", "4"]), required=True)
@click.option("--latency", "budget", type=float, required=True, help="At most, in the unit of the speed model (ms).")
@click.option("--device", "speed_name", required=True, help="A speed model: a shipped one's name, or a .json file.")
@click.option("--data", required=True, multiple=True, help="Folder of training pictures; may be given again.")
@click.option("--supernet", help="Trained weights to start from; without them a supernet is trained first.")
@click.option("--arch", help="The supernet to train where no weights are given: wdsr-16x24 if not given, or a file.")
@click.option("--validate", help="Folder of pictures to score on; without it only the loss is told.")
@click.option(
    "--input", "size", type=HeightWidth(), help="Low resolution that the latency is for; of 1280x720 if not given."
)
@click.option("-o", "--output", help="Folder for the checkpoint and the results; runs/search-... if not given.")
@click.option("--supernet-steps", **_steps(12000, "train the supernet, where no weights are given."))
@click.option("--width-steps", **_steps(2000, "search widths."))
@click.option(
    "--halving-steps", "--race-steps", "race_steps", **_steps(6000, "successive halving of networks of all depths.")
)
@click.option("--depth-steps", **_steps(4000, "search widths and depth."))
@click.option("--finetune-steps", **_steps(12000, "train what was found."))
@click.option("--batch", type=int, default=4, show_default=True, help="Of all processes together.")
@click.option("--patch", type=int, default=32, show_default=True, help="In low-resolution pixels.")
@click.option("--lr", type=float, default=6e-3, show_default=True, help="Of training and fine-tuning.")
@click.option("--search-lr", type=float, default=5e-4, show_default=True, help="Of weights while searching.")
@click.option("--gamma", type=float, default=0.3, show_default=True, help="Weight of the latency; 1 is the task's.")
@click.option("--travel", type=float, default=4.0, show_default=True, help="How far an indicator of 0..1 can go.")
@click.option("--clip", type=float, default=0.5, show_default=True, help="Largest norm of the gradients; 0 for none.")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True,
              help="Of the blocks' convolutions; auto: bfloat16 where the hardware has it.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--validate-every", type=int, default=500, show_default=True, help="Steps.")
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads; PyTorch's choice if not given.")
@click.option("--compute", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
              help="Where the search itself runs.")  # fmt: skip
@click.option("--cache", help="Folder for prepared low resolution; the user's cache folder if not given.")
def command(
    scale: str,
    budget: float,
    speed_name: str,
    supernet: str | None,
    arch: str | None,
    size: tuple[int, int] | None,
    supernet_steps: int,
    output: str | None,
    compute: str,
    precision: str,
    **more: Any,
) -> None:
    """Search the widths and the depth of a network that takes at most so long on a device.

    Ctrl-C stops it after a checkpoint; the same command goes on from there, with the same result as if it had never
    stopped. On several GPUs, or processes on a CPU:  torchrun --nproc-per-node 4 -m sr_tvm search ...

    \b
    sr-tvm train --arch wdsr-16x24 --scale 2 --data DIV2K/train -o runs/supernet
    sr-tvm search --scale 2 --latency 40 --device galaxy-s21 --data DIV2K/train \\
        --supernet runs/supernet/weights.safetensors -o runs/search-40
    """
    # Asked for wrongly, it should fail before pictures are prepared.
    from sr_tvm.search.session import default_input
    from sr_tvm.search.settings import SearchSettings
    from sr_tvm.speed import known
    from sr_tvm.training.step import best_precision
    from sr_tvm.training.upscalers import pick_device

    model = known.find(speed_name)
    weights, big = _supernet(supernet, arch, int(scale), supernet_steps)
    height, width = size or default_input(int(scale))
    places = {name: more.pop(name) for name in ("data", "validate", "threads", "cache")}
    device = pick_device(compute)
    precision = best_precision(device) if precision == "auto" else precision
    more |= {"supernet_steps": 0 if weights else supernet_steps, "supernet_weights": weights, "precision": precision}
    settings = SearchSettings(big, budget, height, width, **more)
    from sr_tvm.search.ddp import joined
    from sr_tvm.search.loop import look_ahead

    folder = Path(output or f"runs/search-x{scale}-{Path(speed_name).stem}-{budget:g}")
    look_ahead(settings, folder)
    with joined(device) as group:
        _run(settings, (speed_name, model), group, places, folder)


def _supernet(path: str | None, arch: str | None, scale: int, steps: int) -> tuple[WeightsFile | None, Architecture]:
    """Return the trained supernet's weights, if given, and the architecture of it or of the one to train.

    Raises:
        SrTvmError: both are given, or one is not there or of another scale, or none is given and there are no ``steps``
            to train one.
    """
    if path and arch:
        raise SrTvmError("--supernet has its own architecture; leave out --arch")
    if path:
        from sr_tvm.search.session import load_supernet
        from sr_tvm.training.settings import WeightsFile

        big = load_supernet(path, scale).architecture
        return WeightsFile.of(path), big
    if steps == 0:
        raise SrTvmError("--supernet-steps is 0: an untrained supernet would be searched; give a trained --supernet")
    from sr_tvm.records.architecture import by_name

    return None, by_name(arch or "wdsr-16x24", scale)


def _again(group: Any) -> str:
    """Return the command that was typed, under torchrun where it was."""
    words = shlex.join(sys.argv[1:])
    if group.size == 1:
        return f"sr-tvm {words}"
    here = os.environ.get("LOCAL_WORLD_SIZE", group.size)
    return f"torchrun --nproc-per-node {here} -m sr_tvm {words}"


def _run(settings: Any, speed: tuple[str, Any], group: Any, places: dict[str, Any], folder: Path) -> None:
    from sr_tvm.bars import bar, note
    from sr_tvm.cli._search_bar import Quiet, SearchBar
    from sr_tvm.search import loop
    from sr_tvm.search.figure import write_figure
    from sr_tvm.search.session import prepare, tell
    from sr_tvm.speed import known

    (name, model), again = speed, _again(group)
    surrogate = " (surrogate)" if model.source == "stand-in" else ""
    silent = not group.leads
    with bar("preparing pictures") as tick:
        told: dict[str, Any] = {} if silent else {"warn": note, "tick": tick}
        searcher = prepare(settings, model, group=group, **places, **told)
    if not silent:
        where = f"{group.device} in {settings.precision}" + (f", {group.size} processes" if group.size > 1 else "")
        click.echo(
            f"{len(searcher.pairs.pairs)} pictures, on {where}; {settings.budget:g} {model.unit} on {name}{surrogate} "
            f"for {settings.height}x{settings.width}; the supernet takes {searcher.most:.1f}",
            err=True,
        )
        if caution := known.caution(model):
            note(f"the speed model of {name}: {caution}")
    with Quiet() if silent else SearchBar(settings, model.unit) as shown:
        try:
            found = loop.search(searcher, folder, shown.report, tell(name, model))
        except KeyboardInterrupt:
            if not silent:
                note(f"stopped at step {searcher.step} of {settings.steps}; go on with:  {again}")
            raise
    if silent:
        return
    a = searcher.architecture
    drawn = write_figure(a, folder)
    click.echo(
        f"found {len(a.blocks)} blocks of {a.channels} channels, {a.params:,} parameters: predicted "
        f"{found.latency:.2f} {model.unit} on {name}{surrogate}, {1 - found.latency / found.budget:.1%} under the "
        f"budget: {folder / 'architecture.json'}",
        err=True,
    )
    if not found.inside:
        note(f"no choice of this supernet lies within 3 % under {found.budget:g} {model.unit}; this is the nearest")
    click.echo(
        f"drawn: {', '.join(map(str, drawn))}" if drawn else
        "not drawn: matplotlib is not installed; pip install 'sr-tvm[report]', then the same command draws it",
        err=True,
    )  # fmt: skip
    given = settings.supernet_weights
    trained = given.path if given else folder / loop.SUPERNET_FILE
    weights, data = folder / "weights.safetensors", " ".join(f"--data {shlex.quote(str(d))}" for d in places["data"])
    click.echo(
        f"next:  sr-tvm evaluate {weights} --data {places['validate'] or 'FOLDER'} --scale {settings.supernet.scale}\n"
        f"       sr-tvm train --arch {folder / 'architecture.json'} --init {weights} --teacher {trained} {data} "
        f"-o {folder / 'trained'}\n"
        f"       sr-tvm export {weights} -o {folder / 'model.onnx'}",
        err=True,
    )
