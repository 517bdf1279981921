"""A checkpoint on its way to the disk."""

import os

import pytest
import torch

from sr_tvm.errors import SrTvmError
from sr_tvm.training.checkpoint import Checkpoint, peek


def make(step, *numbers):
    return Checkpoint(step, {"a": torch.tensor(numbers)}, {"lr": 0.5}, {})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_leave_the_last_good_one(tmp_path, bad):
    path = tmp_path / "c.safetensors"
    make(1, 1.0, 2.0).write(path)
    with pytest.raises(SrTvmError, match="'a' is not of finite numbers by step 2; .* a smaller --lr than 0.5"):
        make(2, 1.0, bad).write(path)
    assert peek(path)["step"] == 1 and Checkpoint.read(path, {"a": (2,)}).tensors["a"].tolist() == [1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_it_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    """And the name after that: a power cut leaves one or the other."""
    done, sync, replace = [], os.fsync, os.replace

    def note_sync(handle):
        done.append(("sync", os.readlink(f"/proc/self/fd/{handle}"), os.fstat(handle).st_size))
        sync(handle)

    def note_replace(source, target):
        done.append(("replace", str(source), str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    path = tmp_path / "c.safetensors"
    make(1, 1.0).write(path)
    (first, partial, size), second, (third, folder, _) = done
    assert (first, size) == ("sync", path.stat().st_size) and partial.endswith(".partial")
    assert second == ("replace", partial, str(path))
    assert (third, folder) == ("sync", str(tmp_path))


@pytest.mark.parametrize("error, message", [(28, "No space left"), (22, None)])
def test_a_full_disk_is_told_and_one_that_cannot_sync_is_taken(tmp_path, monkeypatch, error, message):
    def fail(handle):
        raise OSError(error, os.strerror(error))

    path = tmp_path / "c.safetensors"
    make(1, 1.0).write(path)
    monkeypatch.setattr(os, "fsync", fail)
    if message is None:
        make(2, 1.0).write(path)
    else:
        with pytest.raises(SrTvmError, match=f"cannot write .*{message}.*what was there before is unchanged"):
            make(2, 1.0).write(path)
    assert peek(path)["step"] == (1 if message else 2) and len(list(tmp_path.iterdir())) == 1
