import os

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.image.pictures import encoded, picture, smooth
from tests.image.test_exif import block
from thinlens.errors import ImageError, OutputError, UnknownNameError
from thinlens.image import bands, files, formats
from thinlens.image.files import ImageFile, read_image, write_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
HOLDS = [
    (name, channels, dtype)
    for name, held in formats.FORMATS.items()
    for channels in held.channels
    for dtype in ((np.uint8, np.uint16) if held.deep else (np.uint8,))
    if not (name == "jpeg" or (name == "webp" and channels < 3))
]


def names(folder):
    return [path.name for path in folder.iterdir()]


def read(path):
    return read_image(path, max_pixels=1_000_000)


@given(st.sampled_from(HOLDS), st.integers(1, 40), st.integers(1, 40), st.booleans())
@settings(max_examples=120, deadline=None)
def test_there_and_back(tmp_path_factory, kind, height, width, described):
    name, channels, dtype = kind
    path = tmp_path_factory.getbasetemp() / "there and back"
    said = {"icc": SRGB, "exif": block(), "dpi": (72.0, 300.0)} if described else {}
    pixels = picture(height, width, channels, dtype)
    write_image(path, ImageFile(pixels, "png", **said), format=name, overwrite=True)
    image = read(path)
    assert image.format == name
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)
    if name not in ("bmp", "ppm"):
        assert image.icc == said.get("icc")
        assert (image.exif is not None) == described
    if name not in ("webp", "ppm") and described:
        assert image.dpi == pytest.approx((72, 300), rel=0.01)


def test_bands_of_large_images_join(tmp_path, monkeypatch):
    monkeypatch.setattr(bands, "BAND_BYTES", 500)
    for dtype in (np.uint8, np.uint16):
        for name in ("png", "tiff", "ppm"):
            pixels = picture(37, 23, 3, dtype)
            write_image(tmp_path / "x", ImageFile(pixels, name), format=name, overwrite=True)
            np.testing.assert_array_equal(read(tmp_path / "x").pixels, pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_others_read_our_16_bits(tmp_path, channels):
    pixels = picture(9, 7, channels, np.uint16)
    icc = SRGB if channels > 2 else None  # libpng takes no RGB profile with gray
    for name in ("png", "tiff"):
        write_image(tmp_path / name, ImageFile(pixels, name, icc=icc, exif=block()), format=name)
        loader = pyvips.Image.pngload if name == "png" else pyvips.Image.tiffload
        image = loader(str(tmp_path / name), fail_on="warning")
        np.testing.assert_array_equal(image.numpy().reshape(9, 7, channels), pixels.reshape(9, 7, channels))
        assert not icc or image.get("icc-profile-data") == icc
    with Image.open(tmp_path / "tiff") if channels in (1, 4) else Image.open(tmp_path / "png") as image:
        assert image.getexif()[0x010F] == "Maker"
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pillow_reads_our_8_bit_tiff(tmp_path, channels):
    pixels = picture(9, 7, channels)
    write_image(tmp_path / "x.tif", ImageFile(pixels, "tiff"), format="tiff")
    with Image.open(tmp_path / "x.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_orientation_is_applied_once(tmp_path, name):
    stored = smooth(20, 30)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    options = {"lossless": True} if name == "webp" else {}
    (tmp_path / "in").write_bytes(encoded(stored, name, exif=exif, **options))
    image = read(tmp_path / "in")
    assert np.abs(image.pixels.astype(int) - np.rot90(stored, -1)).max() < 16
    write_image(tmp_path / "out", image, format=name)
    again = read(tmp_path / "out")
    assert again.pixels.shape == (30, 20, 3)
    assert b"Maker" in again.exif


def test_jpeg_keeps_full_colour_and_gray(tmp_path):
    write_image(tmp_path / "c.jpg", ImageFile(smooth(32, 32), "png"), format="jpeg")
    with Image.open(tmp_path / "c.jpg") as image:
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}
    assert np.abs(read(tmp_path / "c.jpg").pixels.astype(int) - smooth(32, 32)).max() < 6
    write_image(tmp_path / "g.jpg", ImageFile(smooth(32, 32)[..., 0], "png"), format="jpeg")
    assert read(tmp_path / "g.jpg").pixels.shape == (32, 32)
    write_image(tmp_path / "low.jpg", ImageFile(smooth(32, 32), "png"), format="jpeg", jpeg_quality=20)
    assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "c.jpg").stat().st_size


def test_gray_webp_becomes_colour_and_drops_a_gray_profile(tmp_path):
    gray_profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    pixels = picture(5, 6, 2)
    write_image(tmp_path / "x", ImageFile(pixels, "png", icc=gray_profile), format="webp")
    image = read(tmp_path / "x")
    np.testing.assert_array_equal(image.pixels, pixels[..., [0, 0, 0, 1]])
    assert image.icc is None


def test_strip_leaves_only_pixels(tmp_path):
    for name in ("png", "jpeg", "tiff", "webp"):
        image = ImageFile(smooth(8, 8), "png", icc=SRGB, exif=block(), dpi=(300.0, 300.0))
        write_image(tmp_path / name, image, format=name, strip=True)
        back = read(tmp_path / name)
        assert (back.icc, back.exif) == (None, None)
        assert back.dpi in (None, (72.0, 72.0))


def test_the_name_decides_nothing(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(picture(4, 4, 3), "png"))
    assert read(tmp_path / "a.jpg").format == "png"


def test_nothing_is_overwritten_unless_told(tmp_path):
    path = tmp_path / "x.png"
    write_image(path, ImageFile(picture(4, 4, 3), "png"), format="png")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists; nothing is overwritten unless `--overwrite`"):
        write_image(path, ImageFile(picture(5, 5, 3), "png"), format="png")
    assert path.read_bytes() == before
    write_image(path, ImageFile(picture(5, 5, 3), "png"), format="png", overwrite=True)
    assert read(path).pixels.shape == (5, 5, 3)
    assert names(tmp_path) == ["x.png"]


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, ValueError, OSError, MemoryError])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, trouble):
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def fail(file, *_):
        file.write(b"half")
        raise trouble("no more")

    monkeypatch.setattr(files, "encode", fail)
    with pytest.raises((ImageError, OutputError, trouble), match="no more"):
        write_image(path, ImageFile(picture(4, 4, 3), "png"), format="png", overwrite=True)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x.png"]


def test_what_is_no_image_file(tmp_path):
    with pytest.raises(ImageError, match="is a folder; give an image file"):
        read(tmp_path)
    with pytest.raises(ImageError, match=r"missing.png`: cannot be read \(No such file"):
        read(tmp_path / "missing.png")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="not a regular file"):
        read(tmp_path / "pipe")
    with pytest.raises(ImageError, match="cannot be read"):
        read("nul\0name")


def test_where_nothing_can_be_written(tmp_path):
    image = ImageFile(picture(4, 4, 3), "png")
    with pytest.raises(OutputError, match="does not exist; make it first"):
        write_image(tmp_path / "no" / "x.png", image, format="png")
    with pytest.raises(OutputError, match="is a folder"):
        write_image(tmp_path, image, format="png", overwrite=True)
    with pytest.raises(ImageError, match="1 to 100"):
        write_image(tmp_path / "x.jpg", image, format="jpeg", jpeg_quality=0)
    with pytest.raises(UnknownNameError, match="did you mean `tiff`"):
        write_image(tmp_path / "x.tif", image, format="tif")
    with pytest.raises(ImageError, match="8 bits a sample"):
        write_image(tmp_path / "x.jpg", ImageFile(picture(4, 4, 3, np.uint16), "png"), format="jpeg")
    assert names(tmp_path) == []


def test_exif_too_long_for_jpeg_is_said(tmp_path):
    image = ImageFile(smooth(8, 8), "png", exif=b"II*\0" + bytes(70_000))
    with pytest.raises(ImageError, match="leave them out with `--strip`"):
        write_image(tmp_path / "x.jpg", image, format="jpeg")
    assert names(tmp_path) == []
