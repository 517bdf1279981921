"""The benchmark of a small search, its pieces: the folders it reads, the rows it writes."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from benchmarks import search_small
from sr_tvm.errors import SrTvmError


@pytest.fixture
def place(tmp_path):
    """DATA with two pictures to train on and one to score on."""
    for folder in ("train/A", "eval/Set5"):
        (tmp_path / folder).mkdir(parents=True)
    for i in range(2):
        cut = np.ascontiguousarray(data.astronaut()[i * 90 : i * 90 + 80, 100:180])
        Image.fromarray(cut).save(tmp_path / f"train/A/{i}.png")
    Image.fromarray(np.ascontiguousarray(data.coffee()[100:141, 100:151])).save(tmp_path / "eval/Set5/1.png")
    return tmp_path


def test_no_training_pictures_is_told(tmp_path):
    with pytest.raises(SrTvmError, match="no folder of training pictures"):
        search_small.train_folders(tmp_path)


def test_a_row_for_each_budget(place):
    steps, ticks = {"supernet": 2, "width": 2, "depth": 2, "finetune": 2}, []
    start, psnr = search_small.supernet(place, place / "work", 2, 1, lambda done, total: ticks.append((done, total)))
    assert psnr > 5 and ticks == [(1, 2), (2, 2)]
    for budget in search_small.BUDGETS:
        row = search_small.search(budget, start, place, place / "work", steps, 1, lambda done, total: None)
        assert row["inside"] and 0.97 * budget <= row["predicted"] <= budget
        assert row["channels"] <= 16 and len(row["blocks"]) <= 4 and row["psnr"] > 5
