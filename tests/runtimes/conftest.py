"""OpenCL devices: PoCL's here, a GPU's elsewhere; drivers that misbehave are compiled from a few lines of C++."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from opencl_modules import DRIVER

SECONDS = 240


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python code in a process of its own, with changes of the environment."""

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": path, **environment}
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, env=env)

    return run


@pytest.fixture
def driver(tmp_path: Path, opencl) -> Callable[[str], str]:
    """The path of an OpenCL library that is the real one but for some functions, given as C++."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is missing: make system-deps")

    def make(functions: str) -> str:
        source, library = tmp_path / "driver.cc", tmp_path / "libdriver.so"
        source.write_text(DRIVER + functions)
        command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-Wl,--no-as-needed", "-ldl"]
        subprocess.run([*command, "-l:libOpenCL.so.1"], check=True, timeout=SECONDS)
        return str(library)

    return make
