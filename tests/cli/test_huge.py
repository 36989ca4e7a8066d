"""`thinlens restore` in bands, forced upon small images."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from tests.cli.fixtures import files, picture
from tests.image.pictures import smooth
from thinlens.cli import huge
from thinlens.image.files import ImageFile, read_image, write_image

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def small_bands(monkeypatch):
    """Everything is huge, and goes through in bands of a few rows."""

    def set_bands(whole=0):
        monkeypatch.setattr(huge, "WHOLE_BYTES", whole)
        monkeypatch.setattr(huge, "BAND_BYTES", 2000)
        monkeypatch.setattr(huge, "REHEARSAL_SECONDS", 0.01)
        monkeypatch.setattr("thinlens.image.bands.BAND_BYTES", 3000)

    return set_bands


@pytest.fixture
def both(thinlens, small_bands):
    """Restore a picture whole and in bands; both files, and the second record."""

    def call(source, *options, out=None):
        out = out or source
        assert thinlens("restore", source, "-o", f"whole_{out}", *options).code == 0
        small_bands()
        done = thinlens("restore", source, "-o", f"bands_{out}", *options, "--json")
        assert done.code == 0, done.err
        whole, bands = (read_image(f"{name}_{out}", max_pixels=1 << 24) for name in ("whole", "bands"))
        return whole, bands, done.records[0]

    return call


def photo(channels, dtype=np.uint8, height=61, width=47):
    """A smooth picture with some grain; part of it transparent, if it has alpha."""
    grain = np.random.default_rng(0).integers(-9, 10, (height, width, 3))
    rgb = np.clip(smooth(height, width).astype(int) + grain, 0, 255)
    alpha = np.clip(np.add.outer(np.arange(height) * 9, np.arange(width) * 5) - 120, 0, 255)
    planes = [rgb[..., 1]] if channels < 3 else [rgb[..., i] for i in range(3)]
    pixels = np.dstack([*planes, alpha] if channels in (2, 4) else planes).squeeze()
    return (pixels * (257 if dtype == np.uint16 else 1)).astype(dtype)


WAYS = {
    "sr": ("--model", "x2.safetensors"),
    "decimal": ("--model", "x3.safetensors", "--scale", "2.6"),
    "size": ("--scale", "2", "--prefer", "speed"),
    "down": ("--scale", "0.4"),
    "same": ("--scale", "1"),
    "denoise": ("--task", "denoise"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("format_name", "dtype"), [("png", np.uint8), ("tiff", np.uint16)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_in_bands_the_result_is_the_same(both, way, format_name, dtype, channels):
    name = f"x.{format_name}"
    write_image(name, ImageFile(photo(channels, dtype), format_name), format=format_name)
    whole, bands, record = both(name, *WAYS[way])
    assert record["memory_bytes"] > huge.PROGRAM_BYTES
    assert record["eta_seconds"] >= 0
    assert bands.pixels.dtype == dtype
    np.testing.assert_array_equal(bands.pixels, whole.pixels)


@pytest.mark.parametrize("mode", ["P", "1", "L"])
def test_palettes_and_bits_too(both, mode):
    Image.fromarray(photo(3)).convert(mode).save("x.png")
    whole, bands, _ = both("x.png", *WAYS["sr"])
    np.testing.assert_array_equal(bands.pixels, whole.pixels)


def test_a_jpeg_is_deblocked_alike_and_keeps_its_quality(both):
    Image.fromarray(photo(3)).save("x.jpg", quality=30)
    whole, bands, record = both("x.jpg", "--task", "deblock")
    np.testing.assert_array_equal(bands.pixels, whole.pixels)
    assert (record["quality"], record["quality_estimated"]) == (30, True)


def test_sigma_is_estimated_alike(both):
    noisy = photo(3, height=300, width=200) + np.random.default_rng(1).normal(0, 20, (300, 200, 3))
    write_image("x.tif", ImageFile(np.clip(noisy, 0, 255).astype(np.uint8), "tiff"), format="tiff")
    whole, bands, record = both("x.tif", "--task", "denoise")
    assert record["sigma_estimated"]
    assert record["sigma"] == pytest.approx(20, abs=4)
    np.testing.assert_array_equal(bands.pixels, whole.pixels)


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.jpg"])
@pytest.mark.parametrize("strip", [(), ("--strip",)])
def test_profile_exif_and_resolution_travel_unless_stripped(both, name, strip):
    exif = Image.Exif()
    exif[0x013B] = "A. Photographer"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photo(3)).save(name, icc_profile=profile, exif=exif, dpi=(72, 144))
    whole, bands, _ = both(name, *WAYS["sr"], *strip)
    assert (bands.icc, bands.exif, bands.dpi) == (whole.icc, whole.exif, whole.dpi)
    assert (bands.icc is None) == bool(strip)


def test_a_big_tiff_is_read_and_written(both, monkeypatch):
    monkeypatch.setattr("thinlens.image.tiff.CLASSIC_BYTES", 1000)
    pyvips.Image.new_from_array(photo(3)).tiffsave("x.tif", bigtiff=True)
    whole, bands, _ = both("x.tif", *WAYS["sr"])
    np.testing.assert_array_equal(bands.pixels, whole.pixels)


def test_bound_and_time_are_told_first(thinlens, small_bands):
    picture("x.png", 61, 47)
    small_bands()
    done = thinlens("restore", "x.png", "-o", "y.png", "--model", "x2.safetensors")
    assert done.code == 0
    assert done.line.startswith("thinlens: `x.png`: 47x61 to 94x122 in bands, at most ")
    assert " MB, about 1 s" in done.line


def test_a_dry_run_tells_the_bound(thinlens, small_bands):
    picture("x.png", 61, 47)
    small_bands()
    done = thinlens("restore", "x.png", "-o", "y.png", "--model", "x2.safetensors", "--dry-run", "--json")
    assert done.records[0]["memory_bytes"] > huge.PROGRAM_BYTES
    assert files() == ["x.png"]


@pytest.mark.parametrize(
    ("save", "reason"),
    [
        (lambda: Image.fromarray(photo(3)).save("x.jpg", progressive=True), "a progressive JPEG is decoded as a whole"),
        (lambda: picture("x.webp"), "a webp file is written as a whole"),
        (lambda: pyvips.Image.new_from_array(photo(3)).pngsave("x.png", interlace=True), "an interlaced PNG"),
    ],
)
def test_what_needs_the_whole_image_says_so_and_is_restored(restore, small_bands, save, reason):
    save()
    small_bands()
    (name,) = files()
    done = restore(name, "-o", "out", "--json")
    assert done.code == 0
    assert reason in done.records[0]["note"]
    assert "memory_bytes" not in done.records[0]
    refused = restore(name, "-o", "other", "--max-memory", "1kB")
    assert refused.code == 1
    assert reason in refused.line


def test_max_memory_asks_for_bands(restore, small_bands):
    write_image("x.png", ImageFile(np.zeros((4000, 1000, 3), np.uint8), "png"), format="png")
    done = restore("x.png", "-o", "y.png", "--max-memory", "130MB", "--json")
    assert done.code == 0, done.err
    assert done.records[0]["memory_bytes"] <= 130e6
    assert "--max-memory" in restore("x.png", "-o", "z.png", "--max-memory", "30MB").line


def test_max_pixels_needs_an_override_and_says_so(restore, small_bands):
    small_bands()
    picture("x.png", 61, 47)
    assert "`--max-pixels` accepts 100; raise it" in restore("x.png", "-o", "y.png", "--max-pixels", "100").line


def test_damage_within_leaves_nothing_behind(restore, small_bands):
    write_image("x.png", ImageFile(photo(3), "png"), format="png")
    data = Path("x.png").read_bytes()
    Path("x.png").write_bytes(data[: len(data) // 2])
    small_bands()
    done = restore("x.png", "-o", "y.png")
    assert done.code == 1
    assert "truncated" in done.err
    assert files() == ["x.png"]


def test_a_file_of_many_bands_is_the_same_whatever_the_threads(restore, small_bands):
    write_image("x.png", ImageFile(photo(3), "png"), format="png")
    small_bands()
    for threads in ("1", "3"):
        assert restore("x.png", "-o", f"{threads}.png", "-j", threads).code == 0
    assert Path("1.png").read_bytes() == Path("3.png").read_bytes()
