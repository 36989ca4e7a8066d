import pytest
import typer

from thinlens.cli.options import parse_bytes, parse_size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000", 1000),
        ("64MB", 64_000_000),
        ("2GiB", 2 << 30),
        ("1.5 kb", 1500),
        ("3k", 3000),
        ("1TiB", 1 << 40),
        ("7B", 7),
    ],
)
def test_sizes_in_bytes(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "-1", "1e3", "MB", "5 XB", "1.MB", "9" * 40, "٣MB"])
def test_no_sizes_in_bytes(text):
    with pytest.raises(typer.BadParameter, match="accepted: a size such as 64MB or 2GiB"):
        parse_bytes(text)


def test_sizes_in_pixels():
    assert parse_size("1280x720") == (720, 1280)
    assert parse_size(" 3X4 ") == (4, 3)


@pytest.mark.parametrize("text", ["", "1280", "x720", "0x5", "5x0", "-1x5", "1.5x5", "1280x720x3", "1" * 12 + "x1"])
def test_no_sizes_in_pixels(text):
    with pytest.raises(typer.BadParameter, match="accepted: width x height in pixels"):
        parse_size(text)
