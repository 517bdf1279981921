"""Which patches are drawn: by detail, by folder, larger ones late, colours in any order; by seed and step alone."""

from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image

from sr_tvm.errors import SrTvmError
from sr_tvm.records.architecture import Architecture
from sr_tvm.training.batches import Ahead, Cut, Resident
from sr_tvm.training.data import Pair, Pairs, load_pairs
from sr_tvm.training.drawing import BLOCK, FLOOR, Drawing, block_energy, patch_energy
from sr_tvm.training.settings import TrainingSettings

CPU, NET = torch.device("cpu"), Architecture.uniform(2, 1, 4)
EVERYTHING = dict(detail=0.5, shuffle=True, late_patch=16, late_share=0.5, weights=(("train", 2.0),))


def made(*highs, names=()):
    names = names or [f"all/{i}" for i in range(len(highs))]
    return Pairs([Pair(n, n, h, h[::2, ::2].copy()) for n, h in zip(names, highs, strict=True)], 2)


def half_noise(height=64, width=96):
    """Left half plain, right half noise."""
    high = np.full((height, width, 3), 100, np.uint8)
    high[:, width // 2 :] = np.random.default_rng(0).integers(0, 256, (height, width - width // 2, 1), np.uint8)
    return high


def places(pairs, steps=200, **changed):
    settings = TrainingSettings(NET, **dict(batch=20, patch=8) | changed)
    drawing = Drawing(pairs, settings)
    return np.concatenate([drawing(step) for step in range(steps)])


def test_the_energy_of_blocks_is_the_mean_square_of_differences():
    high = np.random.default_rng(1).integers(0, 256, (38, 50, 3), np.uint8)  # not multiples of a block
    green = high[:, :, 1].astype(float)
    wanted = np.zeros(green.shape)
    wanted[1:] += (green[1:] - green[:-1]) ** 2
    wanted[:, 1:] += (green[:, 1:] - green[:, :-1]) ** 2
    found = block_energy(high, 2)
    assert found.shape == (3, 4)
    side = BLOCK * 2
    for i in range(3):
        for j in range(4):
            block = wanted[i * side : (i + 1) * side, j * side : (j + 1) * side]
            assert found[i, j] == pytest.approx(block.mean() + FLOOR)
    patches = patch_energy(found, 12, (2, 3))  # two blocks a side
    assert patches[1, 2] == pytest.approx(found[1:3, 2:4].mean())


def test_patches_are_drawn_where_there_is_detail():
    pairs = made(half_noise())
    alike, often = places(pairs)[:, 2], places(pairs, detail=0.5)[:, 2]
    assert 0.35 < np.mean(alike > 20) < 0.6 and np.mean(often > 20) > 0.9


def test_without_a_preference_a_table_draws_every_place_alike():
    """The table of places a block apart, with its cut blocks at the edges, must add up to all places alike."""
    pairs = made(half_noise(64, 96), half_noise(58, 74), names=["a/0", "b/0"])
    drawn = places(pairs, 2500, patch=20, weights=(("a", 1.0),))
    for picture, (height, width) in enumerate(pairs.sizes):
        ours = drawn[drawn[:, 0] == picture]
        assert len(ours) == pytest.approx(25000, rel=0.03)
        for column, room in ((1, height - 19), (2, width - 19)):
            counts = np.bincount(ours[:, column])
            assert len(counts) == room and counts.min() > 0.85 * counts.mean() and counts.max() < 1.15 * counts.mean()
    assert set(drawn[:, 3].tolist()) == set(range(8))


def test_a_folder_is_drawn_by_its_weight():
    pairs = made(*[half_noise()] * 3, names=["a/0", "b/0", "b/1"])
    counts = np.bincount(places(pairs, weights=(("b", 3.0),))[:, 0])
    assert counts[0] / 4000 == pytest.approx(1 / 7, abs=0.02) and counts[1] / 4000 == pytest.approx(3 / 7, abs=0.03)
    with pytest.raises(SrTvmError, match="given to 'c', but the pictures are from a, b"):
        places(pairs, weights=(("c", 3.0),))
    with pytest.raises(SrTvmError, match="all pictures have the weight 0"):
        places(pairs, weights=(("a", 0.0), ("b", 0.0)))


def test_late_patches_are_larger_and_as_many_pixels_of_pictures_that_have_room():
    pairs = made(half_noise(64, 96), half_noise(40, 40))
    settings = TrainingSettings(NET, steps=100, batch=8, patch=8, late_patch=24, late_share=0.25)
    assert settings.shape(74) == (8, 8) and settings.shape(75) == (1, 24) and settings.patches == {8, 24}
    cut = Cut(pairs, settings, CPU)
    assert cut(74)[0].shape == (8, 3, 8, 8) and cut(75)[1].shape == (1, 3, 48, 48)
    drawn = np.concatenate([cut.draw(step) for step in range(75, 100)])
    assert set(drawn[:, 0].tolist()) == {0}
    with pytest.raises(SrTvmError, match="smaller than a late patch of 40"):
        Drawing(pairs, TrainingSettings(NET, late_patch=40))


def test_colours_come_in_every_order(tmp_path):
    plain = np.tile(np.array([10, 20, 30], np.uint8), (32, 32, 1))
    Image.fromarray(plain).save(tmp_path / "plain.png")
    pairs = load_pairs([tmp_path], 2, tmp_path / "cache")
    cut = Cut(pairs, TrainingSettings(NET, batch=16, patch=16, shuffle=True), CPU)
    seen = set()
    for step in range(10):
        low, high = cut(step)
        assert torch.equal(low[:, :, 0, 0], high[:, :, 0, 0])
        seen |= {tuple(row) for row in (low[:, :, 3, 3] * 255).round().int().tolist()}
    assert seen == set(permutations((10, 20, 30)))


def test_every_source_gives_the_same(folders, tmp_path):
    pairs = load_pairs([folders[0]], 2, tmp_path)
    settings = TrainingSettings(NET, steps=8, batch=24, patch=8, seed=3, **EVERYTHING)
    cut, others = Cut(pairs, settings, CPU), [Resident(pairs, settings, CPU), Ahead(Cut(pairs, settings, CPU))]
    for step in (0, 1, 3, 4, 7, 3):
        for other in others:
            for mine, theirs in zip(cut(step), other(step), strict=True):
                assert torch.equal(mine, theirs)
                assert theirs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "changed, told",
    [
        (dict(detail=-0.1), "detail is -0.1"),
        (dict(detail=float("nan")), "detail is nan"),
        (dict(late_patch=4), "late patch is 4"),
        (dict(late_share=1.5), "field late_share is 1.5; a number from 0 to 1"),
        (dict(weights=(("a", -1.0),)), r"field weights\[0\]\[1\] is -1.0; a finite number of 0 or more"),
    ],
)
def test_numbers_out_of_range(changed, told):
    with pytest.raises(SrTvmError, match=told):
        TrainingSettings(NET, **changed)
