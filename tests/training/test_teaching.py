"""A teacher's pictures: what they are, that they are kept, and that what is damaged is made again."""

import numpy as np
import pytest
import torch

from sr_tvm.architecture import Architecture
from sr_tvm.errors import SrTvmError
from sr_tvm.nets.wdsr import WDSR
from sr_tvm.nets.weights import fold
from sr_tvm.training.data import load_pairs
from sr_tvm.training.loop import Trainer
from sr_tvm.training.settings import Settings
from sr_tvm.training.teaching import teach

CPU = torch.device("cpu")


class Counted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.calls = fold(WDSR(Architecture.uniform(2, 1, 4))), 0

    def forward(self, x):
        self.calls += 1
        return self.net(x)


@pytest.fixture
def pairs(folders, tmp_path):
    return load_pairs([folders[0]], 2, tmp_path)


def test_they_are_the_teachers_output_of_whole_pictures(pairs, tmp_path):
    teacher, told = Counted(), []
    taught = teach(pairs, teacher, "a", CPU, tmp_path, lambda *now: told.append(now))
    count = len(pairs.pairs)
    assert taught.taught and not pairs.taught and teacher.calls == count
    assert told == [(i, count) for i in range(count + 1)] and taught.digest == pairs.digest
    pair = taught.pairs[1]
    with torch.no_grad():
        low = torch.from_numpy(pair.low.copy()).permute(2, 0, 1)[None] / 255
        wanted = teacher.net(low)[0].permute(1, 2, 0).numpy()
    assert np.abs(pair.taught - wanted).max() < 1e-3
    # And a batch has the very place of the picture, turned as the truth is.
    batch, patch = taught.batch(0, 0, 6, 8), 8
    for i, (picture, y, x, way) in enumerate(taught.draw(0, 0, 6, patch)):
        cut = taught.pairs[picture].taught[2 * y : 2 * (y + patch), 2 * x : 2 * (x + patch)].astype(np.float32)
        cut = np.rot90(cut, way % 4)
        assert np.array_equal(batch.taught[i].transpose(1, 2, 0), cut[:, ::-1] if way >= 4 else cut)


def test_they_are_made_once_for_each_teacher(pairs, tmp_path):
    first, again, other = Counted(), Counted(), Counted()
    teach(pairs, first, "a", CPU, tmp_path)
    teach(pairs, again, "a", CPU, tmp_path)
    teach(pairs, other, "b", CPU, tmp_path)
    assert (first.calls, again.calls, other.calls) == (len(pairs.pairs), 0, len(pairs.pairs))


@pytest.mark.parametrize("harm", ["cut", "empty", "text", "shape", "objects"])
def test_what_is_damaged_is_made_again(pairs, tmp_path, harm):
    wanted = [p.taught.copy() for p in teach(pairs, Counted(), "a", CPU, tmp_path).pairs]
    path = sorted((tmp_path / "taught").iterdir())[0]
    blob = path.read_bytes()
    if harm == "shape":
        np.save(path, np.zeros((4, 4, 3), np.float16))
    elif harm == "objects":  # a pickle, which must not be opened
        np.save(path, np.array([print], object), allow_pickle=True)
    else:
        path.write_bytes({"cut": blob[:-10], "empty": b"", "text": b"hello"}[harm])
    teacher = Counted()
    found = teach(pairs, teacher, "a", CPU, tmp_path).pairs
    assert teacher.calls == 1 and all(np.array_equal(p.taught, w) for p, w in zip(found, wanted, strict=True))


def test_a_teacher_without_its_pictures_is_refused(pairs):
    with pytest.raises(SrTvmError, match="other way round"):
        Trainer(Settings(Architecture.uniform(2, 1, 4)), teach_none(pairs), None, CPU)


def teach_none(pairs):
    """Pairs with some pictures of a teacher that the settings know nothing of."""
    from dataclasses import replace

    from sr_tvm.training.data import Pairs

    return Pairs([replace(p, taught=p.high.astype(np.float16)) for p in pairs.pairs], 2)
