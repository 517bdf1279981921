"""Atomic writes leave either the old content or the new, and no litter."""

import errno

import pytest

from sr_tvm.errors import SrTvmError
from sr_tvm.system import files


def test_a_file_appears_whole(tmp_path):
    with files.atomic_file(tmp_path / "new" / "a.txt") as partial:
        partial.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_a_failed_write_keeps_the_old_file(tmp_path, stop):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(stop):
        with files.atomic_file(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise stop
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_a_failed_folder_keeps_the_old_one(tmp_path, stop):
    with files.atomic_folder(tmp_path / "out") as partial:
        (partial / "old").touch()
    with pytest.raises(stop):
        with files.atomic_folder(tmp_path / "out") as partial:
            (partial / "half").touch()
            raise stop
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "old"]


def test_a_folder_is_replaced_whole(tmp_path):
    for name in ("first", "second"):
        with files.atomic_folder(tmp_path / "out") as partial:
            (partial / name).touch()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["out", "second"]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SrTvmError, match="cannot write"):
        with files.atomic_file(tmp_path / "file" / "below"):
            pass
    with pytest.raises(SrTvmError, match="name a folder"):
        with files.atomic_folder(tmp_path / "file"):
            pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(SrTvmError, match="name a file"):
        with files.atomic_file(tmp_path / "folder"):
            pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    with files.atomic_folder(tmp_path / "real") as partial:
        (partial / "old").touch()
    (tmp_path / "link").symlink_to("real")
    with files.atomic_folder(tmp_path / "link") as partial:
        (partial / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]
    assert [p.name for p in (tmp_path / "real").iterdir()] == ["new"]


def _full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def _cross_device(source, target):
    raise OSError(errno.EXDEV, "Invalid cross-device link", str(source), None, str(target))


@pytest.mark.parametrize("atomic", [files.atomic_file, files.atomic_folder])
def test_a_full_disk_and_a_failed_rename_are_one_line(tmp_path, atomic, monkeypatch):
    with (
        pytest.raises(SrTvmError, match="cannot write .*out: No space left on device") as error,
        atomic(tmp_path / "out"),
    ):
        _full()
    assert "\n" not in str(error.value)
    monkeypatch.setattr(files.os, "replace", _cross_device)
    with pytest.raises(SrTvmError, match="cannot write .*out: Invalid cross-device link"), atomic(tmp_path / "out"):
        pass
    with pytest.raises(SrTvmError, match="cannot write .*out: No"), atomic(tmp_path / "out") as partial:
        (partial / "below" / "file").write_text("no such folder, or no folder at all")
    assert list(tmp_path.iterdir()) == []


def test_what_the_body_fails_to_read_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic_file(tmp_path / "out"):
        (tmp_path / "absent").read_text()


def test_places_are_checked_without_making_anything(tmp_path, monkeypatch):
    files.check_writable(tmp_path / "new" / "deep" / "file")
    files.check_writable(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("absent")
    for below in ("file", "dangling"):
        with pytest.raises(SrTvmError, match=f"cannot write .*x: .*{below} is not a folder"):
            files.check_writable(tmp_path / below / "x")
    monkeypatch.setattr(files.os, "access", lambda place, how: place != tmp_path)  # root may write anywhere
    with pytest.raises(SrTvmError, match="write-protected"):
        files.check_writable(tmp_path / "new" / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "file"]


def test_a_number_of_thousands_of_digits_is_no_traceback(tmp_path):
    (tmp_path / "a.json").write_text("[" + "1" * 5000 + "]")
    with pytest.raises(SrTvmError, match="not JSON"):
        files.read_json(tmp_path / "a.json", "s", 1)
