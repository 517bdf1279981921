import numpy as np
import pytest
import tifffile
from PIL import Image

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging.pictures import list_pictures, pixel_digest, read_picture
from sr_tvm.report.pictures import open_picture


def save(path, pixels, **more):
    Image.fromarray(np.asarray(pixels)).save(path, **more)


def test_lists_pictures_only_sorted(tmp_path):
    for name in ("b.png", "a.PNG", ".hidden.png"):
        save(tmp_path / name, np.zeros((4, 4, 3), np.uint8), format="PNG")
    (tmp_path / "notes.txt").write_text("x")
    assert [p.name for p in list_pictures(tmp_path)] == ["a.PNG", "b.png"]


@pytest.mark.parametrize("make, message", [(None, "no such folder"), ("file", "not a folder"), ("empty", "no picture")])
def test_bad_folders(tmp_path, make, message):
    place = tmp_path / "place"
    if make == "file":
        place.write_text("x")
    elif make:
        place.mkdir()
    with pytest.raises(SrTvmError, match=message):
        list_pictures(place)


def test_kinds_of_pixels(tmp_path):
    save(tmp_path / "grey.png", np.full((4, 5), 7, np.uint8))
    save(tmp_path / "deep.png", np.full((4, 5), 514, np.uint16))
    save(tmp_path / "alpha.png", np.full((4, 5, 4), 9, np.uint8))
    assert read_picture(tmp_path / "grey.png").shape == (4, 5)
    assert read_picture(tmp_path / "deep.png").tolist() == np.full((4, 5), 2).tolist()
    assert read_picture(tmp_path / "alpha.png").shape == (4, 5, 3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_rounded_to_the_nearest_of_8(tmp_path, channels):
    """Not cut to the high byte: 0x01FF is nearly 2. Colour of 16 bits as well as grey."""
    values = np.array([0, 128, 129, 0x01FF, 0x8000, 0xFEFF, 0xFFFF], np.uint16)
    pixels = np.repeat(values[None, :, None], channels, axis=2)
    tifffile.imwrite(
        tmp_path / "deep.tif",
        pixels if channels > 1 else pixels[..., 0],
        photometric="rgb" if channels > 1 else "minisblack",
        extrasamples=["unassalpha"] if channels == 4 else None,
    )
    read = read_picture(tmp_path / "deep.tif").reshape(7, -1)
    assert read.shape == (7, 1 if channels == 1 else 3)
    assert (read == np.array([0, 0, 1, 2, 128, 254, 255])[:, None]).all()


def test_a_16_bit_pgm(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 65535\n" + np.array([0, 129, 0xFFFF], ">u2").tobytes())
    assert read_picture(tmp_path / "a.pgm").tolist() == [[0, 1, 255]]


def test_postscript_under_another_name_never_reaches_its_interpreter(tmp_path, monkeypatch):
    """Pillow would hand it to Ghostscript, a program and not a decoder."""
    from PIL import EpsImagePlugin

    def run(*arguments, **options):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path, "EPS")
    with pytest.raises(SrTvmError, match="a.png: not a picture that can be read"):
        read_picture(path)
    with pytest.raises(SrTvmError, match="a.png: not a picture that can be read"):
        open_picture(path)


def test_turned_as_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "turned.jpg", np.zeros((8, 16, 3), np.uint8), exif=exif)
    assert read_picture(tmp_path / "turned.jpg").shape == (16, 8, 3)


@pytest.mark.parametrize("content", [b"", b"not a picture", "cut"])
def test_damaged_pictures(tmp_path, content):
    path = tmp_path / "x.png"
    if content == "cut":
        save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
        content = path.read_bytes()[:500]
    path.write_bytes(content)
    with pytest.raises(SrTvmError, match="x.png"):
        read_picture(path)


def test_the_same_pixels_have_one_digest(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    save(tmp_path / "a.png", pixels)
    save(tmp_path / "a.bmp", pixels)
    assert pixel_digest(read_picture(tmp_path / "a.png")) == pixel_digest(read_picture(tmp_path / "a.bmp"))
    assert pixel_digest(pixels) != pixel_digest(pixels.transpose(1, 0, 2))
