"""Every kind of picture file comes in as it should, and goes out again as it came."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from sr_tvm.errors import SrTvmError
from sr_tvm.imaging import png
from sr_tvm.imaging.reading import Picture, read_picture
from sr_tvm.imaging.writing import check_fits, output_format, write_picture


def noise(height, width, channels, dtype=np.uint8):
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype)


def png16(pixels, extra=b"", interlaced=False):
    """A minimal PNG of 16 bits a sample, written independently of the code under test."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = pixels.shape
    if interlaced:
        starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
        passes = [pixels[y::dy, x::dx] for y, x, dy, dx in starts]
    else:
        passes = [pixels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in passes if part.size for row in part)
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, int(interlaced))
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_every_bit(tmp_path, channels, interlaced):
    pixels = noise(13, 9, channels, np.uint16)
    (tmp_path / "a.png").write_bytes(png16(pixels, interlaced=interlaced))
    read = read_picture(tmp_path / "a.png").pixels
    assert read.dtype == np.uint16 and (read == pixels).all()


def test_16_bit_png_with_a_transparent_colour(tmp_path):
    pixels = noise(4, 5, 3, np.uint16)
    key = struct.pack(">HHH", *pixels[1, 2])
    chunk = struct.pack(">I", 6) + b"tRNS" + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    (tmp_path / "a.png").write_bytes(png16(pixels, chunk))
    read = read_picture(tmp_path / "a.png").pixels
    assert (read[..., :3] == pixels).all()
    assert read[1, 2, 3] == 0 and (read[..., 3] == 65535).sum() == 19


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiff_keeps_every_bit(tmp_path, channels, order, compression):
    pixels = noise(13, 9, channels, np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels if channels > 1 else pixels[..., 0],
        byteorder=order,
        photometric="rgb" if channels > 1 else "minisblack",
        extrasamples=["unassalpha"] if channels == 4 else None,
        compression=compression,
    )
    read = read_picture(tmp_path / "a.tif").pixels
    assert read.dtype == np.uint16 and (read == pixels).all()


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 2), ("P", 3), ("RGB", 3), ("RGBA", 4), ("CMYK", 3), ("LAB", 3)]
)
def test_every_mode(tmp_path, mode, channels):
    name = tmp_path / ("a.tif" if mode in ("CMYK", "LAB") else "a.png")
    source = Image.fromarray(noise(6, 7, 4 if mode == "CMYK" else 3), "CMYK" if mode == "CMYK" else "RGB")
    if mode == "LAB":
        source = ImageCms.profileToProfile(
            source, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    image = source.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(noise(6, 7, 1)[..., 0]))
    image.save(name)
    read = read_picture(name).pixels
    assert read.shape == (6, 7, channels) and read.dtype == np.uint8
    if mode in ("1", "L", "P"):
        assert (read == np.asarray(image.convert("RGB"))[..., :channels]).all()
    elif mode in ("LA", "RGB", "RGBA"):
        assert (read == np.asarray(image)).all()
    elif mode == "CMYK":
        assert (read == np.asarray(image.convert("RGB"))).all()


def test_palette_with_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=bytes([0, 128, 255]))
    read = read_picture(tmp_path / "a.png").pixels
    assert read[..., 3].tolist() == [[0, 128], [255, 128]]
    assert read[1, 0].tolist() == [0, 0, 255, 255]


def test_grey_with_a_transparent_value(tmp_path):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=4)
    read = read_picture(tmp_path / "a.png").pixels
    assert (read[..., 0] == pixels).all() and read[..., 1].tolist() == [[255, 255, 255], [255, 0, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_exif_orientation_is_applied_and_dropped(tmp_path, suffix, orientation):
    """Against Pillow's own transposition, on a picture with a different colour in every corner."""
    pixels = np.full((16, 24, 3), 128, np.uint8)
    for corner, colour in zip([(0, 0), (0, 16), (8, 0), (8, 16)], [0, 85, 170, 255], strict=True):
        pixels[corner[0] : corner[0] + 8, corner[1] : corner[1] + 8] = colour
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "maker"
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}", exif=exif)
    from PIL import ImageOps

    with Image.open(tmp_path / f"a{suffix}") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.pixels.shape == ((16, 24, 3) if orientation < 5 else (24, 16, 3))
    assert (picture.pixels == expected).all()
    if suffix != ".tif":
        kept = Image.Exif()
        kept.load(picture.exif)
        assert 0x0112 not in kept and kept[0x010F] == "maker"


def test_exif_orientation_of_16_bits(tmp_path):
    pixels = noise(4, 6, 3, np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    (tmp_path / "a.png").write_bytes(png16(pixels, chunk))
    assert (read_picture(tmp_path / "a.png").pixels == np.rot90(pixels, -1)).all()


def profile(kind="sRGB"):
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_colour_profile_and_exif_travel_along(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    colours = profile()  # which holds the second that it was made in
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "a.png", icc_profile=colours, exif=exif)
    picture = read_picture(tmp_path / "a.png")
    path = tmp_path / f"out{suffix}"
    write_picture(path, picture, output_format(path))
    with Image.open(path) as image:
        assert image.info["icc_profile"] == colours
        if suffix != ".tiff":
            assert image.getexif()[0x010F] == "maker"


def test_a_profile_that_does_not_fit_is_dropped(tmp_path):
    Image.fromarray(noise(8, 8, 1)[..., 0]).save(tmp_path / "a.jpg", icc_profile=profile())
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.icc is None and "RGB" in picture.notes[0]


def test_cmyk_with_a_damaged_profile_still_reads(tmp_path):
    Image.fromarray(noise(8, 8, 4), "CMYK").save(tmp_path / "a.jpg", icc_profile=b"nonsense" * 20)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.pixels.shape == (8, 8, 3) and picture.icc is None and picture.notes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_lossless_formats_round_trip(tmp_path, suffix, channels, dtype):
    pixels = noise(37, 23, channels, dtype)
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(pixels), output_format(path))
    back = read_picture(path).pixels if suffix == ".png" else tifffile.imread(path).reshape(pixels.shape)
    assert back.dtype == dtype and (back == pixels).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_bands_join(monkeypatch, channels):
    """Rows filtered against the row above, across the bands that are written at once."""
    monkeypatch.setattr(png, "BAND_BYTES", 200)
    y, x = np.mgrid[:50, :31]
    pixels = np.repeat(((3 * y + 2 * x) % 256)[..., None].astype(np.uint8), channels, axis=2)
    seen = []
    out = io.BytesIO()
    png.write(out, pixels, None, None, lambda done, total: seen.append((done, total)))
    with Image.open(out) as image:
        image.verify()
    with Image.open(out) as image:
        assert (np.asarray(image).reshape(pixels.shape) == pixels).all()
    assert seen[-1] == (50, 50) and len(seen) > 3
    assert len(out.getvalue()) < pixels.size / 4  # filtered, a gradient is nearly nothing


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_formats_are_close(tmp_path, suffix, channels):
    y, x = np.mgrid[:40, :60]
    pixels = np.repeat((2 * y + 2 * x)[..., None].astype(np.uint8), channels, axis=2)
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(pixels), output_format(path))
    with Image.open(path) as image:
        assert image.mode == ("L" if channels == 1 and suffix == ".jpg" else "RGB")
        assert np.abs(np.asarray(image.convert("L")).astype(int) - pixels[..., 0]).mean() < 2


def test_webp_keeps_alpha(tmp_path):
    pixels = noise(16, 16, 4)
    write_picture(tmp_path / "a.webp", Picture(pixels), output_format("a.webp"))
    assert (read_picture(tmp_path / "a.webp").pixels[..., 3] == pixels[..., 3]).all()


@pytest.mark.parametrize(
    ("name", "width", "height", "alpha", "message"),
    [
        ("a.gif", 1, 1, False, "'.gif' is not known; use .png"),
        ("a", 1, 1, False, "no extension"),
        ("a.jpg", 1, 1, True, "transparency.*use .png"),
        ("a.webp", 16384, 10, False, "at most 16383"),
        ("a.jpeg", 10, 70000, False, "at most 65500"),
    ],
)
def test_what_a_format_cannot_hold(name, width, height, alpha, message):
    with pytest.raises(SrTvmError, match=message):
        check_fits(name, width, height, alpha)


def header_only(width, height):
    """A PNG that claims a size and holds no pixels."""
    data = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + data + struct.pack(">I", zlib.crc32(b"IHDR" + data))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def valid_png():
    out = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(out, "PNG")
    return out.getvalue()


def valid_jpeg():
    out = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, I am not a picture", "not a picture"),
        (valid_png()[:5000], "truncated"),
        (valid_png()[:60], "truncated|damaged"),
        (valid_jpeg()[:2000], "truncated"),
        (png16(noise(64, 64, 3, np.uint16))[:9000], "truncated"),
        (b"\x89PNG\r\n\x1a\n", "damaged|not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
        (header_only(10_000, 6_000), r"60.0 megapixels, over the limit of 50; .*--max-megapixels"),
        (header_only(60_000, 60_000), "decompression bomb|limit of 50"),
        (header_only(0, 10), "no pixels|damaged|not a picture"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path, data, message):
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    with pytest.raises(SrTvmError, match=message) as error:
        read_picture(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_the_limit_can_be_raised(tmp_path):
    Image.new("1", (4000, 300)).save(tmp_path / "a.png")
    with pytest.raises(SrTvmError, match="1.2 megapixels"):
        read_picture(tmp_path / "a.png", max_megapixels=1)
    assert read_picture(tmp_path / "a.png", max_megapixels=1.3).pixels.shape == (300, 4000, 1)


def test_missing_and_folder(tmp_path):
    with pytest.raises(SrTvmError, match="no such file"):
        read_picture(tmp_path / "nothing.png")
    with pytest.raises(SrTvmError, match="is a folder"):
        read_picture(tmp_path)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_32_bit_samples_are_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(SrTvmError, match="convert the picture to 16 bits"):
        read_picture(tmp_path / "a.tif")


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    picture = read_picture(tmp_path / "a.gif")
    assert picture.pixels[0, 0, :3].tolist() == [255, 0, 0]
    assert "3 frames" in picture.notes[0]
