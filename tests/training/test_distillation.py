"""A teacher's pictures: what they are, that they are kept, and that what is damaged is made again."""

import os
import resource
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold
from sr_tvm.records.architecture import Architecture
from sr_tvm.training import distillation
from sr_tvm.training.data import Pairs, load_pairs
from sr_tvm.training.distillation import distill
from sr_tvm.training.loop import Trainer
from sr_tvm.training.settings import TrainingSettings

CPU = torch.device("cpu")


class Counted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.calls = fold(WDSR(Architecture.uniform(2, 1, 4))), 0
        self.architecture = self.net.architecture

    def forward(self, x):
        self.calls += 1
        return self.net(x)


@pytest.fixture
def pairs(folders, tmp_path):
    return load_pairs([folders[0]], 2, tmp_path)


def test_they_are_the_teachers_output_of_whole_pictures(pairs, tmp_path):
    teacher, told = Counted(), []
    distilled = distill(pairs, teacher, "a", CPU, tmp_path, lambda *now: told.append(now))
    count = len(pairs.pairs)
    assert distilled.distilled and not pairs.distilled and teacher.calls == count
    assert told == [(i, count) for i in range(count + 1)] and distilled.digest == pairs.digest
    pair = distilled.pairs[1]
    with torch.no_grad():
        low = torch.from_numpy(pair.low.copy()).permute(2, 0, 1)[None] / 255
        wanted = teacher.net(low)[0].permute(1, 2, 0).numpy()
    assert np.abs(pair.teacher_output - wanted).max() < 1e-3
    # And a batch has the very place of the picture, turned as the truth is.
    batch, patch = distilled.batch(0, 0, 6, 8), 8
    for i, (picture, y, x, way) in enumerate(distilled.draw(0, 0, 6, patch)):
        cut = (
            distilled.pairs[picture].teacher_output[2 * y : 2 * (y + patch), 2 * x : 2 * (x + patch)].astype(np.float32)
        )
        cut = np.rot90(cut, way % 4)
        assert np.array_equal(batch.teacher_output[i].transpose(1, 2, 0), cut[:, ::-1] if way >= 4 else cut)


def test_they_are_made_once_for_each_teacher(pairs, tmp_path):
    first, again, other = Counted(), Counted(), Counted()
    distill(pairs, first, "a", CPU, tmp_path)
    distill(pairs, again, "a", CPU, tmp_path)
    distill(pairs, other, "b", CPU, tmp_path)
    assert (first.calls, again.calls, other.calls) == (len(pairs.pairs), 0, len(pairs.pairs))


def test_the_ensemble_is_the_mean_of_all_turns_and_mirrors(pairs, tmp_path):
    teacher = Counted()
    distilled = distill(pairs, teacher, "a", CPU, tmp_path, ensemble=True)
    assert teacher.calls == 8 * len(pairs.pairs)
    pair, wanted = distilled.pairs[1], 0
    low = pair.low.astype(np.float32) / 255
    for turns in range(4):
        for mirror in (lambda x: x, np.flipud):  # any two that differ by a mirror make all eight with the turns
            x = np.rot90(mirror(low), turns).copy()
            with torch.no_grad():
                y = teacher.net(torch.from_numpy(x).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
            wanted = wanted + mirror(np.rot90(y, -turns)) / 8
    assert np.abs(pair.teacher_output - wanted).max() < 1e-3
    assert (
        np.abs(pair.teacher_output - distill(pairs, teacher, "a", CPU, tmp_path).pairs[1].teacher_output).max() > 1e-3
    )


def test_tiles_of_a_large_picture_cannot_be_seen(pairs, tmp_path, monkeypatch):
    whole = distill(pairs, Counted(), "a", CPU, tmp_path / "whole")
    monkeypatch.setattr(distillation, "TILE", 13)
    teacher = Counted()
    tiled = distill(pairs, teacher, "a", CPU, tmp_path / "tiled")
    assert teacher.calls > 2 * len(pairs.pairs)
    for a, b in zip(whole.pairs, tiled.pairs, strict=True):
        assert np.abs(a.teacher_output - b.teacher_output).max() < 1e-3


def test_more_pictures_than_files_may_be_open(pairs, tmp_path):
    """1024 are, by default, on many systems; the hard limit is what counts."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    now = len(os.listdir("/proc/self/fd"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (now + 3, hard))
        many = Pairs(pairs.pairs * 8, 2)
        assert len(distill(many, Counted(), "a", CPU, tmp_path).pairs) == len(many.pairs) > 6
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


@pytest.mark.parametrize("harm", ["cut", "empty", "text", "zeros", "shape", "objects"])
def test_what_is_damaged_is_made_again(pairs, tmp_path, harm):
    wanted = [p.teacher_output.copy() for p in distill(pairs, Counted(), "a", CPU, tmp_path).pairs]
    path = sorted((tmp_path / "taught").iterdir())[0]
    blob = path.read_bytes()
    if harm in ("shape", "objects"):  # a pickle must not be opened, whatever its checksum
        with path.open("wb") as out:
            if harm == "shape":
                np.save(out, np.zeros((4, 4, 3), np.float16))
            else:
                np.save(out, np.array([print], object), allow_pickle=True)
        path.write_bytes(path.read_bytes() + zlib.crc32(path.read_bytes()).to_bytes(4))
    else:
        zeros = blob[:200] + bytes(len(blob) - 200)  # as after a power cut
        path.write_bytes({"cut": blob[:-10], "empty": b"", "text": b"hello", "zeros": zeros}[harm])
    teacher = Counted()
    found = distill(pairs, teacher, "a", CPU, tmp_path).pairs
    assert teacher.calls == 1 and all(np.array_equal(p.teacher_output, w) for p, w in zip(found, wanted, strict=True))


def test_a_teacher_without_its_pictures_is_refused(pairs):
    with pytest.raises(SrTvmError, match="other way round"):
        Trainer(TrainingSettings(Architecture.uniform(2, 1, 4)), distill_none(pairs), None, CPU)


def distill_none(pairs):
    """Pairs with some pictures of a teacher that the settings know nothing of."""
    return Pairs([replace(p, teacher_output=p.high.astype(np.float16)) for p in pairs.pairs], 2)
