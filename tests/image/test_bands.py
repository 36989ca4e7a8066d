import io
import struct
import zlib

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from tests.image.pictures import chunk, encoded, picture, png, smooth
from thinlens.errors import ImageError, OutputError
from thinlens.image import bands
from thinlens.image.bands import WholeImageOnly
from thinlens.image.files import ImageFile, open_bands, read_image, write_bands, write_image
from thinlens.image.formats import FORMATS

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = Image.Exif()
EXIF[0x013B] = "A. Photographer"
EXIF.get_ifd(0x8769)[0x9003] = "2024:02:29 12:34:56"
BLOCK = EXIF.tobytes().removeprefix(b"Exif\0\0")


def vips(pixels):
    return pyvips.Image.new_from_array(pixels)


def filtered_png(pixels, depth, colours, *chunks):
    """A PNG whose rows use all five filters in turn."""
    stored = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">"))).view(np.uint8).reshape(len(pixels), -1)
    lanes = max(1, stored.shape[1] // pixels.shape[1])
    rows = b""
    for y, row in enumerate(stored.astype(int)):
        up = stored[y - 1].astype(int) if y else np.zeros_like(row)
        left, corner = (np.concatenate([np.zeros(lanes, int), r[:-lanes]]) for r in (row, up))
        guess = left + up - corner
        far = [abs(guess - x) for x in (left, up, corner)]
        paeth = np.where((far[0] <= far[1]) & (far[0] <= far[2]), left, np.where(far[1] <= far[2], up, corner))
        kind = y % 5
        rows += bytes([kind]) + ((row - [0, left, up, (left + up) // 2, paeth][kind]) % 256).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", pixels.shape[1], len(pixels), depth, colours, 0, 0, 0)
    data = zlib.compress(rows)
    pieces = [chunk(b"IDAT", data[at : at + 100]) for at in range(0, len(data), 100)]
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *chunks, *pieces, chunk(b"IEND", b"")])


def files():
    for depth, dtype in ((8, np.uint8), (16, np.uint16)):
        for colours, channels in ((0, 1), (4, 2), (2, 3), (6, 4)):
            yield f"png_{depth}_{colours}", filtered_png(picture(23, 17, channels, dtype), depth, colours)
        transparent = chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
        yield f"png_{depth}_colour_key", filtered_png(picture(23, 17, 3, dtype) % 4, depth, 2, transparent)
        yield f"png_{depth}_gray_key", filtered_png(picture(23, 17, 1, dtype) % 4, depth, 0, chunk(b"tRNS", b"\0\2"))
    palette = chunk(b"PLTE", bytes(range(48)))
    indices = picture(23, 17, 1) % 16
    yield "png_palette", filtered_png(indices, 8, 3, palette)
    yield "png_palette_alpha", filtered_png(indices, 8, 3, palette, chunk(b"tRNS", bytes(range(0, 160, 10))))
    for depth in (1, 2, 4):
        rows = picture(23, 3, 1)
        yield f"png_gray_{depth}", png(24 // depth, 23, depth, 0, rows)
        yield f"png_palette_{depth}", png(24 // depth, 23, depth, 3, rows, palette)
    icc = {"icc_profile": PROFILE, "exif": EXIF, "dpi": (72, 144)}
    for name, options in (("png", {}), ("jpeg", {"quality": 90}), ("tiff", {}), ("tiff", {"compression": "tiff_lzw"})):
        yield f"{name}_{'_'.join(options)}_described", encoded(smooth(23, 17), name, **icc, **options)
    for sampling in (0, 1, 2):
        yield f"jpeg_{sampling}", encoded(smooth(123, 117), "jpeg", subsampling=sampling, quality=60)
    yield "jpeg_gray", encoded(smooth(23, 17)[..., 0], "jpeg")
    yield "tiff_16", vips(picture(23, 17, 3, np.uint16)).tiffsave_buffer(compression="deflate", predictor="horizontal")
    yield "tiff_big", vips(picture(23, 17, 3)).tiffsave_buffer(bigtiff=True)
    yield "tiff_alpha", vips(picture(23, 17, 4)).copy(interpretation="srgb").tiffsave_buffer(compression="packbits")
    yield "tiff_palette", encoded(Image.fromarray(smooth(23, 17)).quantize(16), "tiff")


FILES = dict(files())


def same(image, other):
    assert (image.icc, image.exif, image.dpi, image.table) == (other.icc, other.exif, other.dpi, other.table)
    assert image.format == other.format


def read_all(path, step=5):
    with open_bands(path) as reader:
        return np.concatenate([reader.read(step) for _ in range(-(-reader.height // step) + 1)])


@pytest.mark.parametrize("name", FILES)
def test_rows_that_are_read_in_bands_are_those_of_the_whole(tmp_path, name):
    path = tmp_path / "file"
    path.write_bytes(FILES[name])
    whole = read_image(path, max_pixels=1 << 20)
    for step in (1, 7, 200):
        with open_bands(path) as reader:
            rows = [reader.read(step) for _ in range(-(-reader.height // step))]
            assert len(reader.read(step)) == 0
        same(reader.image, whole)
        assert reader.image.pixels.shape[1:] == whole.pixels.shape[1:]
        assert rows[0].dtype == whole.pixels.dtype
        np.testing.assert_array_equal(np.concatenate(rows), whole.pixels)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda: vips(smooth(9, 9)).pngsave_buffer(interlace=True), "an interlaced PNG"),
        (lambda: encoded(smooth(9, 9), "png", exif=turned()), "turns"),
        (lambda: encoded(smooth(9, 9), "png").removesuffix(chunk(b"IEND", b"")) + chunk(b"eXIf", BLOCK)
         + chunk(b"IEND", b""), "EXIF block follows"),
        (lambda: encoded(smooth(9, 9), "jpeg", progressive=True), "a progressive JPEG"),
        (lambda: encoded(Image.fromarray(smooth(9, 9)).convert("CMYK"), "jpeg"), "a CMYK JPEG"),
        (lambda: encoded(smooth(9, 9), "jpeg", exif=turned()), "turns"),
        (lambda: vips(smooth(9, 9)).tiffsave_buffer(tile=True), "a TIFF in tiles"),
        (lambda: encoded(smooth(9, 9), "tiff", exif=turned()), "turns"),
        (lambda: encoded(Image.fromarray(smooth(9, 9)).convert("CMYK"), "tiff"), "a CMYK TIFF"),
        (lambda: encoded(smooth(9, 9), "webp"), "a webp file"),
    ],
)  # fmt: skip
def test_what_is_decoded_as_a_whole_says_so(tmp_path, data, reason):
    path = tmp_path / "file"
    path.write_bytes(data())
    read_image(path, max_pixels=1 << 20)
    with pytest.raises(WholeImageOnly, match=reason), open_bands(path):
        pass


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_tiff_of_one_large_strip_is_decoded_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "x.tif"
    path.write_bytes(FILES["tiff_big"])
    monkeypatch.setattr("thinlens.image.tiff.MAX_STRIP", 1000)
    with pytest.raises(WholeImageOnly, match="strips of 23 rows"), open_bands(path):
        pass


@pytest.mark.parametrize("name", ["png_8_2", "jpeg_0", "tiff_16"])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path, name):
    path = tmp_path / "cut"
    path.write_bytes(FILES[name][: len(FILES[name]) * 2 // 3])
    with pytest.raises(ImageError, match="cut"):
        read_all(path)


def test_a_damaged_png_is_an_error(tmp_path):
    data = bytearray(FILES["png_8_2"])
    data[len(data) // 2] ^= 1
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ImageError, match="checksum"):
        read_all(tmp_path / "x.png")


HELD = [
    (format, channels, dtype)
    for format in ("png", "tiff", "jpeg", "ppm")
    for channels in FORMATS[format].channels
    for dtype in (np.uint8, np.uint16)[: 1 + FORMATS[format].deep]
]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("format", "channels", "dtype"), HELD)
def test_a_file_that_is_written_in_bands_holds_what_a_whole_one_does(
    tmp_path, monkeypatch, format, dtype, channels, threads
):
    monkeypatch.setattr(bands, "BAND_BYTES", 2000)
    pixels = picture(103, 37, channels, dtype)
    said = {} if format == "ppm" else {"icc": PROFILE if channels > 2 else None, "exif": BLOCK, "dpi": (72.0, 144.0)}
    image = ImageFile(pixels, format, **said)
    write_image(tmp_path / "whole", image, format=format)
    nothing = ImageFile(pixels[:0], format, **said)
    with write_bands(tmp_path / "bands", nothing, 103, format=format, threads=threads) as writer:
        for start, stop in ((0, 1), (1, 1), (1, 40), (40, 41), (41, 103)):
            writer.write(pixels[start:stop])
    whole, read = (read_image(tmp_path / name, max_pixels=1 << 20) for name in ("whole", "bands"))
    np.testing.assert_array_equal(read.pixels, whole.pixels)
    same(read, whole)
    if format != "ppm":  # which pyvips' own wheels cannot read
        other = pyvips.Image.new_from_file(str(tmp_path / "bands"), fail_on="warning").numpy()
        np.testing.assert_array_equal(other.reshape(read.pixels.shape), read.pixels)


def test_the_file_does_not_depend_on_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(bands, "BAND_BYTES", 2000)
    pixels = smooth(103, 37)
    for threads in (1, 4):
        nothing = ImageFile(pixels[:0], "png")
        with write_bands(tmp_path / str(threads), nothing, 103, format="png", threads=threads) as writer:
            writer.write(pixels)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "4").read_bytes()


def test_a_big_tiff_is_written_where_a_classic_one_cannot_address_it(tmp_path, monkeypatch):
    monkeypatch.setattr("thinlens.image.tiff.CLASSIC_BYTES", 1000)
    image = ImageFile(picture(103, 37, 3), "tiff", icc=PROFILE, exif=BLOCK, dpi=(72.0, 144.0))
    write_image(tmp_path / "x.tif", image, format="tiff")
    assert (tmp_path / "x.tif").read_bytes()[:4] == b"II+\0"
    read = read_image(tmp_path / "x.tif", max_pixels=1 << 20)
    np.testing.assert_array_equal(read.pixels, image.pixels)
    same(read, image)
    other = pyvips.Image.new_from_file(str(tmp_path / "x.tif"), fail_on="warning")
    np.testing.assert_array_equal(other.numpy(), image.pixels)


def rows_that_fail():
    raise ValueError("no more rows")


def test_a_write_that_fails_leaves_nothing(tmp_path):
    image = ImageFile(picture(1, 37, 3)[:0], "png")
    with (
        pytest.raises(ValueError, match="no more"),
        write_bands(tmp_path / "x.png", image, 103, format="png") as writer,
    ):
        writer.write(rows_that_fail())
    assert list(tmp_path.iterdir()) == []


def test_a_band_of_a_broken_filter_is_an_error(tmp_path):
    data = zlib.compress(b"\x07" + bytes(9))
    header = struct.pack(">IIBBBBB", 3, 1, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(ImageError, match="cannot be decoded"), open_bands(tmp_path / "x.png") as reader:
        reader.read(1)


def test_jpeg_strips_begin_at_restart_markers(tmp_path, monkeypatch):
    monkeypatch.setattr(bands, "BAND_BYTES", 2000)
    pixels = smooth(103, 37)
    with write_bands(tmp_path / "x.jpg", ImageFile(pixels[:0], "jpeg"), 103, format="jpeg", jpeg_quality=70) as writer:
        writer.write(pixels)
    data = (tmp_path / "x.jpg").read_bytes()
    assert [data.count(bytes([0xFF, 0xD0 + i])) for i in range(8)] == [1, 1, 1, 1, 1, 1, 0, 0]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", quality=70, subsampling=0)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "x.jpg")), np.asarray(Image.open(buffer)))


def test_what_befalls_another_file_is_not_said_of_the_one_that_is_read(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(path)
    with pytest.raises(OutputError, match=r"^`b\.png`: the disk is full$"), open_bands(path):
        raise OutputError("`b.png`: the disk is full")
