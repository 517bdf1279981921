import shutil

import numpy as np
import pytest
from PIL import Image

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import pictures
from sr_tvm.imaging.resize import low_resolution
from sr_tvm.training.data import PIXELS, load_pairs
from sr_tvm.training.evaluate import examples


def entry(cache):
    (place,) = cache.iterdir()
    return place


def test_pairs_match_their_pictures(folders, tmp_path):
    pairs = load_pairs([folders[0]], 2, tmp_path)
    assert len(pairs.pairs) == 4
    for i, pair in enumerate(pairs.pairs):
        high = np.asarray(Image.open(folders[0] / f"{i}.png"))
        assert np.array_equal(pair.high, high)
        assert np.array_equal(pair.low, low_resolution(high, 2))


def test_the_cache_is_used_and_a_damaged_one_is_made_again(folders, tmp_path):
    ticks = []

    def load():
        return load_pairs([folders[0]], 2, tmp_path, tick=lambda done, total: ticks.append(done))

    digest = load().digest
    assert ticks
    ticks.clear()
    assert load().digest == digest and not ticks
    path = entry(tmp_path) / PIXELS
    blob = bytearray(path.read_bytes())
    blob[100] ^= 1
    for damaged in (bytes(blob), bytes(blob[:-5]), b""):
        path.write_bytes(damaged)
        assert load().digest == digest and ticks
        ticks.clear()
    (entry(tmp_path) / "index.json").write_text("{}")
    assert load().digest == digest and ticks


def test_the_cache_follows_the_content(folders, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(folders[0], mine)
    first = load_pairs([mine], 2, tmp_path / "cache").digest
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(mine / "0.png")
    assert load_pairs([mine], 2, tmp_path / "cache").digest != first


def test_the_same_file_twice_counts_once(folders, tmp_path):
    assert len(load_pairs([folders[0], folders[0]], 2, tmp_path).pairs) == 4


def test_a_batch_depends_on_seed_and_step_alone(folders, tmp_path):
    pairs = load_pairs([folders[0]], 2, tmp_path)
    a, b = pairs.batch(1, 5, 3, 16), pairs.batch(1, 5, 3, 16)
    assert np.array_equal(a.low, b.low) and np.array_equal(a.high, b.high)
    assert not np.array_equal(a.low, pairs.batch(1, 6, 3, 16).low)
    assert not np.array_equal(a.low, pairs.batch(2, 5, 3, 16).low)


def test_patches_of_a_pair_cover_the_same_place(folders, tmp_path):
    """Blocks of equal pixels stay such blocks in both, through every turn and mirroring."""
    blocks = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    pairs = load_pairs([tmp_path], 2, tmp_path / "cache")
    for step in range(20):
        batch = pairs.batch(0, step, 2, 32)
        assert batch.low.shape == (2, 3, 32, 32) and batch.high.shape == (2, 3, 64, 64)
        mean = batch.high.reshape(2, 3, 32, 2, 32, 2).mean((3, 5))
        assert np.median(np.abs(mean - batch.low)) < 0.01


def test_all_eight_ways_are_drawn(tmp_path):
    corner = np.zeros((32, 32, 3), np.uint8)
    corner[:8, :16] = 255  # no symmetry: 8 ways give 8 pictures
    Image.fromarray(corner).save(tmp_path / "corner.png")
    pairs = load_pairs([tmp_path], 2, tmp_path / "cache")
    seen = {pairs.batch(0, step, 1, 16).high.tobytes() for step in range(100)}
    assert len(seen) == 8


def test_unreadable_pictures_are_named_and_left_out(folders, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(folders[0], mine)
    (mine / "bad.png").write_bytes(b"no picture")
    told = []
    assert len(load_pairs([mine], 2, tmp_path / "cache", told.append).pairs) == 4
    assert len(told) == 1 and "bad.png" in told[0]
    load_pairs([mine], 2, tmp_path / "cache", told.append)  # from the cache it is told again
    assert len(told) == 2
    for path in mine.glob("?.png"):
        path.unlink()
    with pytest.raises(SrTvmError, match="no picture of"):
        load_pairs([mine], 2, tmp_path / "cache")


def test_pictures_smaller_than_a_patch(folders, tmp_path):
    pairs, told = load_pairs([folders[0]], 2, tmp_path), []
    assert len(pairs.large_enough(32, told.append).pairs) == 4 and not told
    with pytest.raises(SrTvmError, match="smaller than a patch"):
        pairs.large_enough(33, told.append)


def test_a_cache_that_cannot_be_written(folders, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SrTvmError, match="cannot write"):
        load_pairs([folders[0]], 2, tmp_path / "file")


def test_every_suffix_of_a_format_that_is_read(tmp_path):
    """By Pillow's list of suffixes, not by ours alone."""
    Image.init()
    known = {s for s, kind in Image.registered_extensions().items() if kind in (*pictures.FORMATS, "MPO")}
    assert known - {".pfm"} == pictures.SUFFIXES
    rng = np.random.default_rng(0)
    for suffix in pictures.SUFFIXES:
        pixels = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
        pixels = pixels.convert({".pbm": "1", ".pgm": "L"}.get(suffix, "RGB"))
        pixels.save(
            tmp_path / f"a{suffix}", **({"append_images": [pixels], "save_all": True} if suffix == ".mpo" else {})
        )
    told = []
    assert len(list(examples(tmp_path, 2, told.append))) == len(pictures.SUFFIXES) and not told


def test_what_else_is_in_a_folder_is_told_once(folders, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(folders[0], mine)
    told = []
    load_pairs([mine], 2, tmp_path / "cache", told.append)
    assert not told
    for name in ("a.heic", "b.HEIC", "notes", ".hidden"):
        (mine / name).touch()
    load_pairs([mine], 2, tmp_path / "cache", told.append)
    assert told == [f"{mine}: 3 files of other suffixes (.heic, none) left out"]
    for name in ("more", "like.png"):
        (mine / name).mkdir()
    told.clear()
    assert len(list(examples(mine, 2, told.append))) == 4
    assert told == [f"{mine}: 3 files of other suffixes (.heic, none) left out, 2 subfolders not looked into"]
