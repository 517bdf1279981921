"""The pack of training pictures that travels: what is cut, how near it is to its pictures, and what is refused."""

import io
import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data as photographs

from recipes import pack
from sr_tvm.errors import SrTvmError
from sr_tvm.training.data import load_pairs


@pytest.fixture
def data(tmp_path):
    """Photographs as JPEG (colours halved and whole), PNG and WebP; a plain left half in the first."""
    place = tmp_path / "data"
    for folder in ("train/photos", "train/lossless", "eval/Set5"):
        (place / folder).mkdir(parents=True)
    astronaut, coffee = photographs.astronaut(), photographs.coffee()
    plain = astronaut[:320, :320].copy()
    plain[:, :160] = 90
    Image.fromarray(plain).save(place / "train/photos/a.jpg", quality=92, subsampling=0)
    Image.fromarray(coffee[:300, :410]).save(place / "train/photos/b.jpg", quality=92)
    Image.fromarray(astronaut[200:440, 200:450]).save(place / "train/lossless/a.png")
    Image.fromarray(coffee[300:396, :96]).save(place / "train/lossless/a.webp", lossless=True)
    Image.fromarray(coffee[304:400, 400:500]).save(place / "eval/Set5/one.png")
    return place


def make(data, path, *more):
    line = ["--data", data, "-o", path, "--cache", data.parent / "cache", *more]
    return CliRunner().invoke(pack.main, [str(word) for word in line], catch_exceptions=False)


def test_windows_are_the_most_detailed_and_nearly_those_of_the_pictures(data, tmp_path):
    path = tmp_path / "pack.zip"
    done = make(data, path, "--megabytes", 0.1)
    assert done.exit_code == 0, done.output
    assert path.stat().st_size <= 100_000
    place = pack.unpack(path, tmp_path / "unpacked")
    told = json.loads((place / "index.json").read_text())
    side = told["side"]
    assert told["pictures"] == 4 and side in pack.SIDES and side < 250 and told["held_against"] == ["Set5"]
    assert sorted(p.relative_to(place).as_posix() for p in place.rglob("*.*") if p.parent != place) == [
        "eval/Set5/one.png", "train/lossless/a.png.webp", "train/lossless/a.webp",
        "train/photos/a.jpg", "train/photos/b.jpg",
    ]  # fmt: skip
    assert (place / "train/lossless/a.webp").read_bytes() == (data / "train/lossless/a.webp").read_bytes()
    for name, original in (("photos/a.jpg", "photos/a.jpg"), ("lossless/a.png.webp", "lossless/a.png")):
        cut = np.asarray(Image.open(place / "train" / name)).astype(float)
        whole = np.asarray(Image.open(data / "train" / original)).astype(float)
        assert cut.shape[:2] == tuple(min(side, n) for n in whole.shape[:2])
        errors = {
            (y, x): ((whole[y : y + cut.shape[0], x : x + cut.shape[1]] - cut) ** 2).mean()
            for y in range(0, whole.shape[0] - cut.shape[0] + 1, 16)
            for x in range(0, whole.shape[1] - cut.shape[1] + 1, 16)
        }
        (y, x), error = min(errors.items(), key=lambda item: item[1])
        assert error < (0.5 if "jpg" in name else 1e-9)
        if name == "photos/a.jpg":  # of its plain left half as little as can be
            assert x + cut.shape[1] >= 304
    assert len(load_pairs([place / "train/photos", place / "train/lossless"], 2, tmp_path / "cache").pairs) == 4


def test_the_same_pictures_make_the_same_pack(data, tmp_path):
    for name in ("a.zip", "b.zip"):
        make(data, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    place = pack.unpack(tmp_path / "a.zip", tmp_path / "unpacked")
    (place / "mark").touch()
    assert pack.unpack(tmp_path / "b.zip", tmp_path / "unpacked") == place and (place / "mark").exists()


def test_a_test_picture_among_them_stops_it(data, tmp_path):
    Image.open(data / "eval/Set5/one.png").save(data / "train/photos/harmless.bmp")
    with pytest.raises(SrTvmError, match=r"harmless\.bmp is the validation picture .*one\.png"):
        make(data, tmp_path / "pack.zip")
    assert not (tmp_path / "pack.zip").exists()


def test_too_small_a_limit_is_told(data, tmp_path):
    with pytest.raises(SrTvmError, match="4 pictures do not fit into"):
        make(data, tmp_path / "pack.zip", "--megabytes", 0.04)


def test_a_jpeg_that_would_change_is_written_without_loss(data, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "FAITHFUL", 200.0)
    make(data, tmp_path / "pack.zip", "--megabytes", 0.12)
    with zipfile.ZipFile(tmp_path / "pack.zip") as archive:
        cut = np.asarray(Image.open(io.BytesIO(archive.read("train/photos/b.jpg.webp"))))
    whole = np.asarray(Image.open(data / "train/photos/b.jpg"))
    places = [
        (y, x)
        for y in range(0, 300 - cut.shape[0] + 1, 4)
        for x in range(0, 410 - cut.shape[1] + 1, 16)
        if np.array_equal(whole[y : y + cut.shape[0], x : x + cut.shape[1]], cut)
    ]
    assert places


@pytest.mark.parametrize(
    "members, told",
    [
        (None, "not a pack"),
        ({"a.txt": b"x"}, "not a pack"),
        ({"index.json": b"{}"}, "not a sr-tvm/picture-pack version 1"),
        ({"index.json": b"[]"}, "not a pack"),
        ({"index.json": b"GOOD", "train/a/../../../x.png": b"x"}, "no picture of a pack"),
        ({"index.json": b"GOOD", "/train/a.png": b"x"}, "no picture of a pack"),
        ({"index.json": b"GOOD", "train/a/run.py": b"x"}, "no picture of a pack"),
        ({"index.json": b"GOOD", "train/a/x.png": bytes(2000)}, "more than"),
    ],
)
def test_what_is_no_pack_is_refused(tmp_path, monkeypatch, members, told):
    monkeypatch.setattr(pack, "MOST", 1000)
    path, good = tmp_path / "pack.zip", json.dumps({"schema": pack.SCHEMA, "version": pack.VERSION}).encode()
    if members is None:
        path.write_bytes(b"not a zip")
    else:
        pack.write(path, [(name, good if blob == b"GOOD" else blob) for name, blob in members.items()])
    with pytest.raises(SrTvmError, match=told):
        pack.unpack(path, tmp_path / "unpacked")
    assert not list(tmp_path.rglob("x.png")) and not (tmp_path / "unpacked" / "index.json").exists()


def test_a_damaged_member_leaves_nothing(data, tmp_path):
    make(data, tmp_path / "pack.zip")
    blob = bytearray((tmp_path / "pack.zip").read_bytes())
    blob[blob.find(b"train/photos/b.jpg") + 500] ^= 1
    (tmp_path / "pack.zip").write_bytes(bytes(blob))
    with pytest.raises(SrTvmError, match="not a pack of models/pack.py, or damaged"):
        pack.unpack(tmp_path / "pack.zip", tmp_path / "unpacked")
    assert not any((tmp_path / "unpacked").iterdir())
