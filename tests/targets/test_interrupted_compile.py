"""Ctrl-C at any moment of a real compile: one line, exit code 1, nothing left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Sends the signal so many seconds after a module was imported. Run with Ctrl-C as a terminal has it.
DRIVER = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
number, module, delay = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
def send():
    while module not in sys.modules:
        time.sleep(0.002)
    time.sleep(delay)
    os.kill(os.getpid(), number)
threading.Thread(target=send, daemon=True).start()
from sr_tvm.cli.main import main
main(sys.argv[4:])
"""
MOMENTS = [
    ("sr_tvm.build.compiler", 0.05, signal.SIGINT),
    ("sr_tvm.frontend.to_relax", 0.02, signal.SIGINT),
    ("sr_tvm.passes.pipeline", 0.05, signal.SIGINT),
    ("sr_tvm.passes.pipeline", 0.2, signal.SIGINT),
    ("sr_tvm.passes.pipeline", 0.4, signal.SIGTERM),
]


@pytest.mark.parametrize(("module", "delay", "number"), MOMENTS)
def test_one_line_and_nothing_left(
    module: str, delay: float, number: signal.Signals, tiny_onnx: Path, tmp_path: Path
) -> None:
    arguments = ["compile", str(tiny_onnx), "--target", "cpu", "-o", str(tmp_path / "out"), "--no-shipped-log"]
    command = [sys.executable, "-c", DRIVER, str(int(number)), module, str(delay), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: interrupted"), done.stderr
    assert done.stdout == "" and list(tmp_path.iterdir()) == []
