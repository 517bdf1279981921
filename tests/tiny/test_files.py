"""Atomic writes leave either the old content or the new, and no litter."""

import pytest

from sr_tvm import files
from sr_tvm.errors import SrTvmError


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
