"""The runtime is built once, by one of many, and an import of TVM never suffers from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.runtimes.opencl import build

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is missing: make system-deps")
ENSURE = "from sr_tvm.runtimes.opencl import backend; backend.ensure(); print('ready')"
EXISTS = "import tvm; print(tvm.get_global_func('device_api.opencl', allow_missing=True) is not None)"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sr-tvm" / "runtimes"


def script(path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@needs_compiler
def test_of_two_processes_one_builds(cache, tmp_path):
    log = tmp_path / "log"
    counting = script(tmp_path / "counting", f'echo started >> {log}; exec g++ "$@"')
    environment = {**os.environ, "CXX": counting}
    begin = time.monotonic()
    both = [
        subprocess.Popen([sys.executable, "-c", ENSURE], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=240)[0] for process in both] == ["ready\n"] * 2
    assert time.monotonic() - begin < 120  # 10 s on a machine with nothing else to do
    assert log.read_text() == "started\n"
    assert sorted(p.suffix for p in cache.iterdir()) == [".lock", ".so"]
    assert build.build() == build.library()
    assert log.read_text() == "started\n"


@needs_compiler
def test_the_import_of_tvm_opens_no_driver_and_another_copy_does_no_harm(python, tmp_path):
    build.build()
    code = (
        "import ctypes, shutil, tvm\n"
        "maps = open('/proc/self/maps').read()\n"
        "print('opencl-0' in maps, 'libOpenCL' in maps)\n"
        "from sr_tvm.runtimes.opencl import backend, build\n"
        f"ctypes.CDLL(shutil.copy(build.library(), {str(tmp_path / 'copy.so')!r}))\n"
        "backend.autoload(); backend.ensure(); print(tvm.device('opencl').exist in (True, False))\n"
    )
    done = python(code)
    assert done.stdout == "True False\nTrue\n", done.stderr


def test_no_compiler(cache, python, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "no-g++"))
    with pytest.raises(
        SrTvmError, match=r"must be built once, and there is no C\+\+ compiler .*no-g\+\+.*make system-deps"
    ):
        build.build()
    done = python(EXISTS)
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert not cache.exists()


def test_a_compiler_that_refuses(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", script(tmp_path / "cxx", "echo 'a.h:1: error: too old' >&2; exit 1"))
    with pytest.raises(SrTvmError, match="building the OpenCL runtime with .*/cxx fails: a.h:1: error: too old"):
        build.build()
    assert [p.suffix for p in cache.iterdir()] == [".lock"]


def test_a_compiler_that_hangs(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", script(tmp_path / "cxx", "exec sleep 60"))
    monkeypatch.setattr(build, "DEADLINE_SECONDS", 0.5)
    with pytest.raises(SrTvmError, match="cxx, which builds the OpenCL runtime, was killed: .* within 0.5 s"):
        build.build()


def test_a_lock_that_is_never_given_back(cache, monkeypatch, tmp_path):
    from filelock import FileLock

    cache.mkdir(parents=True)
    monkeypatch.setenv("CXX", script(tmp_path / "cxx", "exit 1"))
    monkeypatch.setattr(build, "DEADLINE_SECONDS", 0.5)
    with FileLock(build.library().with_suffix(".lock")):
        with pytest.raises(SrTvmError, match="another process has been building for 0.5 s"):
            build.build()


def test_a_cache_that_cannot_be_written(cache, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("CXX", script(tmp_path / "cxx", "exit 1"))
    with pytest.raises(SrTvmError, match="cannot write .*cache is not a folder"):
        build.build()


@needs_compiler
def test_a_damaged_library_is_built_again(cache, python):
    cache.mkdir(parents=True)
    build.library().write_bytes(b"\x7fELF and nothing more")
    done = python(EXISTS)
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert python(ENSURE).stdout == "ready\n"
    assert python(EXISTS).stdout == "True\n"


def test_tvm_that_is_not_there(cache, monkeypatch):
    def missing(name: str) -> str:
        raise build.PackageNotFoundError(name)

    monkeypatch.setattr(build, "version", missing)
    with pytest.raises(SrTvmError, match=r"apache-tvm is not installed: pip install 'sr-tvm\[compile\]'"):
        build.library()


@needs_compiler
def test_the_doctor_builds_it(cache, monkeypatch):
    from click.testing import CliRunner

    from sr_tvm import doctor
    from sr_tvm.cli.doctor import command

    monkeypatch.setattr(doctor, "CHECKS", (doctor.opencl,))
    before = CliRunner().invoke(command)
    assert before.exit_code == 0 and "warn" in before.output and "-> sr-tvm doctor --fix" in before.output
    fixed = CliRunner().invoke(command, ["--fix"])
    assert "OpenCL runtime built: " in fixed.output and build.library().is_file()
    assert "sr-tvm doctor --fix" not in fixed.output
    monkeypatch.setenv("SR_TVM_OPENCL", "/no/such/library.so")
    told = CliRunner().invoke(command)
    assert (
        "warn" in told.output and "/no/such/library.so" in told.output and "set SR_TVM_OPENCL to another" in told.output
    )
