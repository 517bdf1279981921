"""What goes wrong around Mesa's compilers is one line; nothing is compiled or downloaded."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.isa import probe, system
from sr_tvm.isa.device_code import PROGRAMS, VERSION, load_programs
from sr_tvm.system import files


@pytest.mark.parametrize("row", [5, None, ["text"]])
def test_a_program_that_is_no_object(tmp_path: Path, row) -> None:
    path = tmp_path / "k.kernels.json"
    files.write_json(path, {"schema": PROGRAMS, "version": VERSION, "programs": [row]})
    with pytest.raises(SrTvmError, match=r"programs\[0\] is .*; an object is needed"):
        load_programs(path)


def test_an_emulator_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "qemu").write_text("no program")
    for name in ("absent", "qemu"):
        with pytest.raises(SrTvmError, match=f"cannot start .*{name}: .*make system-deps"):
            probe._child([str(tmp_path / name)], {}, tmp_path / "output", 5)


def test_a_probe_that_a_crash_left_without_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has its name before it is executable; the next to find it mends that."""
    monkeypatch.setattr(probe.platformdirs, "user_cache_dir", lambda *_: str(tmp_path))

    def zig(command, **_):
        Path(command[command.index("-o") + 1]).write_text("a program")
        return probe.subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(probe.subprocess, "run", zig)
    made = probe._program()
    assert made.stat().st_mode & 0o777 == 0o755
    made.chmod(0o644)
    monkeypatch.setattr(probe.subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert probe._program() == made and made.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        (("qemu-user", "mesa-drm-shim", "ocl-icd-libopencl1"), "apt downloaded no package mesa-opencl-icd of trixie"),
        ((*system.PACKAGES, "qemu-user"), "qemu-user_1_arm64.deb has no usr/bin/qemu-aarch64"),
    ],
)
def test_packages_that_are_not_as_we_know_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages, message):
    monkeypatch.setenv(system.VARIABLE, str(tmp_path / "isa"))
    monkeypatch.setattr(system.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(system, "_download", lambda scratch: [scratch / f"{name}_1_arm64.deb" for name in packages])
    monkeypatch.setattr(system, "_run", lambda *_: "26.1.6-1")
    with pytest.raises(SrTvmError, match=message):
        system.unpack()
    with contextlib.suppress(FileNotFoundError):
        assert not list((tmp_path / "isa").iterdir())
