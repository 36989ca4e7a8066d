import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.image.pictures import chunk, encoded, picture, plain_tiff, png, smooth
from thinlens.errors import ImageError
from thinlens.image import bands, formats
from thinlens.image.decode import decode
from thinlens.image.encode import encode
from thinlens.image.formats import FORMATS

CAP = 10_000


def read(data, max_pixels=CAP):
    return decode(io.BytesIO(data), "x.png", max_pixels)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_format(name, channels):
    pixels = (
        picture(7, 5, channels) if name != "jpeg" else np.full((7, 5) if channels == 1 else (7, 5, 3), 99, np.uint8)
    )
    options = {"lossless": True} if name == "webp" else {}
    image = read(encoded(pixels, name, **options))
    assert image.format == name
    if name == "webp" and channels == 1:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_low_depth_gray_png_with_a_transparent_value(depth):
    values = np.arange(16).reshape(2, 8) % (1 << depth)
    bits = np.unpackbits(values.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :]
    rows = np.packbits(bits.reshape(2, -1), axis=1)
    image = read(png(8, 2, depth, 0, rows, chunk(b"tRNS", b"\0\1")))
    np.testing.assert_array_equal(image.pixels[..., 0], values * (255 // ((1 << depth) - 1)))
    np.testing.assert_array_equal(image.pixels[..., 1], np.where(values == 1, 0, 255))
    np.testing.assert_array_equal(read(png(8, 2, depth, 0, rows)).pixels, image.pixels[..., 0])


def test_transparent_colour_of_rgb_png():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    image = read(png(2, 1, 8, 2, pixels, chunk(b"tRNS", b"\0\4\0\5\0\6")))
    assert image.pixels.tolist() == [[[1, 2, 3, 255], [4, 5, 6, 0]]]


def test_palettes_are_expanded():
    palette = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
    assert read(png(2, 1, 8, 3, [[1, 0]], palette)).pixels.tolist() == [[[40, 50, 60], [10, 20, 30]]]
    image = read(png(2, 1, 8, 3, [[1, 0]], palette, chunk(b"tRNS", b"\x80")))
    assert image.pixels.tolist() == [[[40, 50, 60, 255], [10, 20, 30, 128]]]


def test_one_bit_becomes_gray():
    bits = np.array([[True, False, True]])
    for name in ("png", "tiff", "bmp", "ppm"):
        assert read(encoded(Image.fromarray(bits), name)).pixels.tolist() == [[255, 0, 255]]


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_16_bit_png(channels, colour_type):
    pixels = picture(5, 3, channels, np.uint16)
    rows = pixels.astype(">u2").reshape(5, -1).view(np.uint8)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = read(png(3, 5, 16, colour_type, rows, chunk(b"iCCP", b"x\0\0" + zlib.compress(icc))))
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.icc == icc


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_of_each_kind(channels, dtype, order):
    pixels = picture(5, 3, channels, dtype)
    image = read(plain_tiff(pixels, order=order))
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_tiff(dtype):
    pixels = picture(5, 3, 1, dtype)
    np.testing.assert_array_equal(read(plain_tiff(pixels, t262=(3, (0,)))).pixels, np.iinfo(dtype).max - pixels)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_premultiplied_tiff(dtype, largest):
    half = largest // 2
    stored = np.array([[[half, half // 2, 0, half], [9, 8, 7, largest], [0, 0, 0, 0], [90, 0, 0, 45]]], dtype)
    pixels = read(plain_tiff(stored, t338=(3, (1,)))).pixels
    assert pixels.dtype == dtype
    assert pixels[0, 0].tolist() == [largest, round(half // 2 * largest / half), 0, half]
    assert pixels[0, 1:].tolist() == [[9, 8, 7, largest], [0, 0, 0, 0], [largest, 0, 0, 45]]


@pytest.mark.parametrize("compression", [None, "group3", "group4", "packbits", "tiff_lzw"])
def test_one_bit_tiff(compression):
    bits = picture(9, 13, 1) > 127
    pixels = read(encoded(Image.fromarray(bits), "tiff", compression=compression)).pixels
    np.testing.assert_array_equal(pixels, bits * 255)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gray_tiff_of_few_bits(bits):
    values = np.arange(16).reshape(2, 8) % (1 << bits)
    packed = np.packbits(
        np.unpackbits(values.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :].reshape(2, -1), axis=1
    )
    tags = {"t256": (4, (8,)), "t258": (3, (bits,)), "t278": (4, (2,))}
    np.testing.assert_array_equal(read(plain_tiff(packed, **tags)).pixels, values * (255 // ((1 << bits) - 1)))


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_palette_tiff(compression):
    image = Image.fromarray(picture(9, 13, 3)).quantize(7)
    found = read(encoded(image, "tiff", compression=compression)).pixels
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_cmyk_tiff(compression):
    image = Image.fromarray(picture(9, 13, 4), "CMYK")
    found = read(encoded(image, "tiff", compression=compression, icc_profile=b"no profile that works"))
    np.testing.assert_array_equal(found.pixels, np.asarray(image.convert("RGB")))
    assert found.icc is None


def test_jpeg_in_tiff():
    data = encoded(smooth(32, 48), "tiff", compression="jpeg", quality=95)
    assert np.abs(read(data).pixels.astype(int) - smooth(32, 48)).max() < 12


def test_jpeg_whose_samples_cannot_all_be_there():
    """libjpeg would make up a hundred megapixels of gray."""
    data = bytearray(encoded(smooth(8, 8), "jpeg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 10_000, 12_000)
    with pytest.raises(ImageError, match="too short for 12000x10000"):
        read(bytes(data), max_pixels=1 << 30)


@pytest.mark.parametrize("progressive", [False, True])
def test_the_flattest_jpeg(progressive):
    data = encoded(np.full((2000, 2000), 128, np.uint8), "jpeg", optimize=True, progressive=progressive, quality=1)
    assert read(data, max_pixels=1 << 30).pixels.shape == (2000, 2000)


def test_libtiff_prints_nothing(capfd):
    data = bytearray(encoded(Image.fromarray(picture(30, 40, 1) > 127), "tiff", compression="group4"))
    for at in range(12, 200, 7):
        data[at] ^= 255
    with pytest.raises(ImageError, match="cannot be decoded"):
        read(bytes(data))
    assert capfd.readouterr() == ("", "")


def test_tiff_says_where_up_is():
    pixels = picture(5, 3, 3, np.uint16)
    image = read(plain_tiff(pixels, t274=(3, (6,)), t271=(2, (b"Me\0",))))
    np.testing.assert_array_equal(image.pixels, np.rot90(pixels, -1))
    assert b"Me" in image.exif


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (plain_tiff(np.zeros((2, 2), np.float32), sample_format=3), "float samples of 32 bits"),
        (plain_tiff(np.zeros((2, 2), np.uint32)), "unsigned samples of 32 bits"),
        (plain_tiff(np.zeros((2, 2), np.int16), sample_format=2), "signed or mixed samples of 16 bits"),
        (plain_tiff(picture(2, 2, 2), t284=(3, (2,))), "separate planes"),
        (plain_tiff(picture(2, 2, 4, np.uint16), t262=(3, (5,)), t338=(3, (0,))), "`cmyk`"),
        (plain_tiff(picture(2, 2, 3), t262=(3, (6,))), "YCbCr samples that are not JPEG"),
        (plain_tiff(picture(2, 2, 1), t322=(4, (1 << 20,)), t323=(4, (1 << 20,))), "tiles of 1048576x1048576"),
        (plain_tiff(picture(2, 2, 3), t262=(3, (1,)), t338=(3, (0, 0))), "`b-w` .* with 3 channels"),
        (b"P3\n1 1\n65535\n1 2 3\n", "plain-text PPM"),
        (b"P6\n2 2\n99999\n" + bytes(24), "largest value 99999"),
        (b"P6\n0 2\n65535\n", "no pixels"),
        (b"", "an empty file"),
        (b"hello, world", "not an image of a known format; accepted PNG, JPEG"),
        (b"GIF89a" + bytes(20), "not an image"),
    ],
)
def test_what_is_refused(data, match):
    with pytest.raises(ImageError, match=match) as caught:
        read(data)
    assert "`x.png`: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["png", "tiff", "webp"])
def test_more_than_one_frame_is_refused(name):
    more = [Image.fromarray(picture(4, 4, 3, seed=1))]
    with pytest.raises(ImageError, match="more than one frame or page"):
        read(encoded(picture(4, 4, 3), name, save_all=True, append_images=more))


def test_16_bit_ppm_is_scaled_to_its_largest_value():
    assert read(b"P5 3 1 1023\n" + np.array([0, 511, 1023], ">u2").tobytes()).pixels.tolist() == [[0, 32735, 65535]]
    pixels = picture(2, 3, 3, np.uint16)
    image = read(b"P6\n# a note\n3 2\n65535\n" + pixels.astype(">u2").tobytes())
    np.testing.assert_array_equal(image.pixels, pixels)


def test_cmyk_becomes_rgb_and_drops_its_profile():
    white = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    image = read(encoded(white, "jpeg", icc_profile=b"not a profile"))
    assert image.pixels.shape == (8, 8, 3)
    assert image.pixels.min() > 250
    assert image.icc is None


@pytest.mark.parametrize("name", [*FORMATS, "png16", "tiff16", "ppm16"])
def test_the_cap_is_checked_before_decoding(name):
    deep = {
        "png16": png(10, 10, 16, 0, np.zeros((10, 20), np.uint8)),
        "tiff16": plain_tiff(picture(10, 10, 1, np.uint16)),
        "ppm16": b"P5 10 10 65535\n" + bytes(200),
    }
    data = deep.get(name) or encoded(picture(10, 10, 3), name)
    assert read(data, 100).pixels.shape[:2] == (10, 10)
    with pytest.raises(ImageError, match=r"10x10 is 100 pixels, the cap is 99; .*`--max-pixels`"):
        read(data, 99)


def test_a_huge_size_is_refused_without_the_memory():
    claims = png(100_000, 100_000, 8, 0, [[0]])
    with pytest.raises(ImageError, match="100000x100000"):
        read(claims, 500_000_000)


def test_one_large_strip_is_read():
    pixels = np.zeros((9000, 3000, 3), np.uint16)
    pixels[::50] = 7
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "BAND_BYTES", 1 << 30)
        encode(buffer, formats.ImageFile(pixels, "tiff"), "tiff", 95)
    np.testing.assert_array_equal(read(buffer.getvalue(), 27_000_000).pixels, pixels)


def test_the_cap_alone_decides_about_size(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    assert read(encoded(picture(9, 9, 3), "png"), 81).pixels.shape == (9, 9, 3)


def files():
    rgb = smooth(24, 30)
    deep = picture(12, 10, 3, np.uint16)
    return {
        "png": encoded(rgb, "png"),
        "jpeg": encoded(rgb, "jpeg"),
        "progressive": encoded(rgb, "jpeg", progressive=True),
        "tiff": plain_tiff(rgb),
        "packed tiff": encoded(rgb, "tiff", compression="tiff_adobe_deflate"),
        "webp": encoded(rgb, "webp"),
        "bmp": encoded(rgb, "bmp"),
        "ppm": encoded(rgb, "ppm"),
        "png16": png(10, 12, 16, 2, deep.astype(">u2").reshape(12, -1).view(np.uint8)),
        "tiff16": plain_tiff(deep),
        "ppm16": b"P6 10 12 65535\n" + deep.astype(">u2").tobytes(),
    }


def try_read(data):
    """The image, or None where the file is refused in one line."""
    try:
        return read(data)
    except ImageError as error:
        if "\n" in str(error):
            raise
        return None


@pytest.mark.parametrize("name", files())
def test_a_truncated_file_is_never_read_in_part(name):
    data = files()[name]
    whole = read(data).pixels
    step = max(1, len(data) // 40)
    for end in {*range(0, 60, 7), *range(60, len(data), step), *range(len(data) - 20, len(data))}:
        image = try_read(data[:end])
        if image:
            np.testing.assert_array_equal(image.pixels, whole)
            assert end > len(data) * 0.8


@given(st.sampled_from(sorted(files())), st.data())
@settings(max_examples=150, deadline=None)
def test_damage_ends_in_an_image_or_one_clear_line(name, data):
    damaged = bytearray(files()[name])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    image = try_read(bytes(damaged))
    if image:
        assert image.pixels.dtype in (np.uint8, np.uint16)
        assert image.pixels.size


def test_the_quantisation_table_of_a_jpeg_is_kept():
    table = tuple(range(1, 65))
    for pixels in (smooth(16, 24), smooth(16, 24)[..., 0].copy()):
        assert read(encoded(pixels, "jpeg", qtables=[list(table), [9] * 64])).table == table
    for other in ("png", "tiff", "webp", "bmp"):
        assert read(encoded(smooth(16, 24), other)).table is None
    cmyk = encoded(Image.fromarray(smooth(16, 16)).convert("CMYK"), "jpeg", qtables=[list(table), [9] * 64])
    assert len(read(cmyk).table) == 64
