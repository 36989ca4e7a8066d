"""Bad and odd images: one clear line, the right exit code, nothing half-written; small ones work."""

import struct
import zlib

import pytest

from tests.cli.fixtures import files, picture, size_of


def png(width, height, data=b"\0"):
    """A PNG that says it is this large."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


BROKEN = {
    "empty.png": b"",
    "text.jpg": b"this is no image",
    "model.png": b"\x10\0\0\0\0\0\0\0{}",
    "script.webp": b"#!/bin/sh\necho",
    "magic.png": b"\x89PNG\r\n\x1a\n",
    "magic.jpg": b"\xff\xd8\xff\xe0",
    "magic.tif": b"II*\0\xff\xff\xff\xff",
    "magic.bmp": b"BM",
    "short.ppm": b"P6 9 9 255\n123",
    "no_pixels.png": png(0, 0),
    "too_few_rows.png": png(9, 9),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_image(restore, bench, name):
    (bench / name).write_bytes(BROKEN[name])
    done = restore(name, "-o", "out.png")
    assert (done.code, done.out) == (1, "")
    assert f"`{name}`" in done.line
    assert files() == [name]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp", "ppm"])
def test_truncated_image(restore, bench, suffix):
    picture(f"a.{suffix}", 64, 64)
    data = (bench / f"a.{suffix}").read_bytes()
    (bench / f"a.{suffix}").write_bytes(data[: len(data) // 2])
    done = restore(f"a.{suffix}", "-o", f"b.{suffix}")
    assert (done.code, done.out) == (1, "")
    assert f"`a.{suffix}`" in done.line
    assert files() == [f"a.{suffix}"]


def test_misnamed_image_is_told_by_its_content(restore, bench):
    picture("a.png")
    (bench / "a.png").rename(bench / "a.jpg")
    assert restore("a.jpg", "-o", "out").code == 0
    assert size_of("out/a.jpg") == (14, 10)
    assert (bench / "out/a.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


def test_image_without_a_suffix_keeps_its_format(restore, bench):
    picture("a.png")
    (bench / "a.png").rename(bench / "photo")
    assert restore("photo", "-o", "out").code == 0
    assert (bench / "out/photo").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9), (9, 1), (2, 3)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_tiny_images_work(restore, width, height, mode):
    picture("a.png", height, width, mode)
    assert restore("a.png", "-o", "b.png").code == 0
    assert size_of("b.png") == (2 * width, 2 * height)


def test_too_many_pixels(restore):
    picture("a.png", 10, 10)
    done = restore("a.png", "-o", "b.png", "--max-pixels", "399")
    assert done.code == 1
    assert "`a.png`: 10x10 to 20x20 is 400 pixels, `--max-pixels` accepts 399; raise it" in done.line
    assert restore("a.png", "-o", "b.png", "--max-pixels", "400").code == 0


def test_the_cap_counts_the_input_where_that_is_larger(restore):
    picture("a.png", 10, 10)
    done = restore("a.png", "-o", "b.png", "--size", "2x2", "--max-pixels", "99")
    assert (done.code, done.out) == (1, "")
    assert "10x10 to 2x2 is 100 pixels, `--max-pixels` accepts 99" in done.line


def test_a_bomb_is_refused_by_its_header(restore, bench):
    (bench / "a.png").write_bytes(png(1 << 30, 1 << 30))
    done = restore("a.png", "-o", "b.png")
    assert done.code == 1
    assert "1073741824x1073741824" in done.line
    assert files() == ["a.png"]


def test_a_format_that_cannot_hold_the_image_is_refused_before_work(restore, monkeypatch):
    picture("a.png", mode="RGBA")
    monkeypatch.setattr("thinlens.runtime.session.Session.run", lambda *_, **__: pytest.fail("worked in vain"))
    done = restore("a.png", "-o", "b.jpg")
    assert done.code == 1
    assert "jpeg" in done.line
    assert files() == ["a.png"]


def test_pipes_and_devices_are_no_images(restore, bench):
    done = restore("/dev/zero", "-o", "b.png")
    assert done.code == 1
    assert "`/dev/zero`" in done.line
