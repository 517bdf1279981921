"""What this machine is, told in one place; and the one line of a long error."""

import os
import subprocess
import sys

import pytest

from sr_tvm.errors import one_line
from sr_tvm.report import host
from sr_tvm.system import machine


def test_a_processor_and_its_cores(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Old : and new\nmodel name\t: second\n")
    assert machine.field(str(info), "model name") == "Old : and new"
    assert machine.field(str(info), "Hardware") == machine.field(str(tmp_path / "none"), "x") == ""
    assert host.machine()["cpu"] == machine.cpu_name() and host.machine()["cores"] == machine.cores() >= 1
    assert machine.machine() == os.uname().machine
    assert machine.machine_of_triple("arm64-apple-darwin") == "aarch64"


def test_it_is_light():
    code = "import sr_tvm.system.machine, sys; print({'tvm', 'torch', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Traceback:\n  File x, line 3\n    y()\nInternalError: n > 0\n\n", "InternalError: n > 0"),
        ("RPCError: no\n    at line 3\n", "RPCError: no"),
        ("  only this", "only this"),
        ("", "ValueError"),
        (" \n", "ValueError"),
        ("x" * 500, "x" * 300),
    ],
)  # fmt: skip
def test_one_line(message, line):
    assert one_line(ValueError(message)) == line
    assert one_line(message) == ("" if line == "ValueError" else line)
