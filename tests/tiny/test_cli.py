"""The command line itself: help is instant and complete, errors are one line, exit codes are 0, 1 and 2."""

import importlib
import os
import signal
import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from sr_tvm.cli import main as cli_main
from sr_tvm.errors import SrTvmError
from sr_tvm.system import interrupts


def _run(argv):
    with pytest.raises(SystemExit) as stop:
        cli_main.main(argv)
    return stop.value.code


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = "import sys, sr_tvm.cli.main as m\ntry: m.main(['-h'])\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in cli_main.COMMANDS:
        assert f"  {name} " in out
    for heavy in ("tvm", "torch", "onnx", "matplotlib", "skimage", "numpy", "PIL", "rich"):
        assert f"'{heavy}'" not in out


@pytest.mark.parametrize("name", cli_main.COMMANDS)
def test_every_command_has_help_with_an_example(name):
    command = importlib.import_module(f"sr_tvm.cli.{name}").command
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    assert f"sr-tvm {name}" in result.output


def test_usage_errors_exit_with_2(capsys):
    assert _run(["no-such-command"]) == 2
    assert "no-such-command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (SrTvmError("x.onnx: empty file"), "error: x.onnx: empty file"),
        (KeyboardInterrupt(), "interrupted"),
        (ModuleNotFoundError("No module named 'tvm'", name="tvm"), "'tvm' is not installed"),
    ],
)
def test_failures_are_one_line_and_exit_with_1(monkeypatch, capsys, raised, words):
    @click.command()
    def command():
        raise raised

    monkeypatch.setattr(cli_main.LazyGroup, "get_command", lambda self, ctx, name: command)
    assert _run(["compile"]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("becomes", [None, RuntimeError, SrTvmError, ImportError, BrokenPipeError])
def test_a_signal_is_told_as_such_whatever_it_became(monkeypatch, capsys, number, becomes):
    @click.command()
    def command():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except KeyboardInterrupt:
            if becomes is None:
                raise
            raise becomes("as TVM does") from None

    monkeypatch.setattr(cli_main.LazyGroup, "get_command", lambda self, ctx, name: command)
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # some start tests with it ignored
    try:
        assert _run(["compile"]) == 1
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before[0])
    assert signal.getsignal(signal.SIGTERM) == before[1]
    err = capsys.readouterr().err
    assert "interrupted" in err and len(err.strip().splitlines()) == 1


def test_another_error_is_still_a_bug(monkeypatch):
    @click.command()
    def command():
        raise RuntimeError("ours")

    monkeypatch.setattr(cli_main.LazyGroup, "get_command", lambda self, ctx, name: command)
    with pytest.raises(RuntimeError, match="ours"):
        cli_main.main(["compile"])


def test_sigterm_waits_where_ctrl_c_is_deferred(monkeypatch):
    came = []
    monkeypatch.setattr(interrupts, "_came", False)
    with interrupts.remembered():
        own = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100):
            time.sleep(0.001)
        signal.signal(signal.SIGINT, own)
        assert came == [signal.SIGTERM] and not interrupts.came()


def test_ctrl_c_waits_for_the_end_of_a_block_and_for_the_end_of_a_step():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    try:
        with pytest.raises(KeyboardInterrupt), interrupts.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append("block")
        with interrupts.between_steps() as asked:
            assert not asked()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            done.append("step")
            assert asked()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["block", "step"]


def test_debug_shows_the_traceback(monkeypatch):
    @click.command()
    def command():
        raise SrTvmError("deep")

    monkeypatch.setattr(cli_main.LazyGroup, "get_command", lambda self, ctx, name: command)
    with pytest.raises(SrTvmError, match="deep"):
        cli_main.main(["--debug", "compile"])
