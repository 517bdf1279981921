"""The ``sr-tvm`` command: finds subcommands by name and turns our errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click
from typing_extensions import override

from sr_tvm import __version__
from sr_tvm.errors import SrTvmError
from sr_tvm.system import interrupts

# name -> help line; the command is `command` in sr_tvm/cli/<name>.py, imported when it is asked for.
COMMANDS = {
    "upscale": "Enlarge a picture with a compiled network.",
    "search": "Search widths and depth under a latency budget; resumes.",
    "train": "Train a network on a folder of pictures; resumes.",
    "evaluate": "PSNR-Y and SSIM of a model, or of bicubic, on a folder of pictures.",
    "export": "Write a trained network as ONNX and compare it with PyTorch.",
    "quantize": "Make an int8 model of an ONNX file and a folder of pictures.",
    "compile": "Turn an ONNX file into an artifact for a target.",
    "explain": "What the passes did to an ONNX file: kernels, rules, traffic.",
    "tune": "Search fast schedules with the genetic tuner; resumes.",
    "bench": "Measure an artifact here or over RPC, and record it.",
    "package": "Make a small C library of an artifact, for an app.",
    "speed": "The speed model: collect, fit, evaluate, predict.",
    "devices": "List the devices a tracker knows.",
    "report": "Write the HTML page of a run.",
    "doctor": "Check this installation and say what is missing.",
    "demo": "Once round the whole loop on this machine.",
}


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it is run, so that ``sr-tvm --help`` stays instant."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"sr_tvm.cli.{name}").command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sr-tvm")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Super-resolution networks for phones: train, compile, tune, measure, upscale.

    \b
    Start with:  sr-tvm upscale photo.jpg -o big.png
    """


def _fail(message: str) -> int:
    click.echo(f"error: {message}", err=True)
    return 1


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed or interrupted, 2 usage.

    Args:
        argv: The arguments, without the program; None for those of the process.
    """
    argv = sys.argv[1:] if argv is None else argv
    debug = "--debug" in argv
    argv = [a for a in argv if a != "--debug"]
    with interrupts.remembered():
        code = _run(argv, debug)
    sys.exit(code if isinstance(code, int) else 0)


def _run(argv: list[str], debug: bool) -> Any:
    try:
        return _call(argv)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; nothing half-written is left, and a job that can resume does so by the same command")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SrTvmError as error:
        if debug:
            raise
        return _fail(str(error))
    except ModuleNotFoundError as error:
        if debug or (error.name or "").startswith("sr_tvm"):
            raise
        return _fail(f"the Python package {error.name!r} is not installed; see 'sr-tvm doctor'")


def _call(argv: list[str]) -> Any:
    """Return the result of the command. What fails once Ctrl-C came failed because of it.

    Raises:
        KeyboardInterrupt: Ctrl-C came.
    """
    try:
        return cli.main(args=argv, prog_name="sr-tvm", standalone_mode=False)
    except Exception as error:
        if interrupts.came():
            raise KeyboardInterrupt from error
        raise
