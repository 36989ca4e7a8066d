import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from thinlens.cli.options import RAW_FORMATS
from thinlens.model.file import Model, write_model
from thinlens.runtime.session import Session, open_model

pytestmark = pytest.mark.usefixtures("native")


class Pipe(io.BytesIO):
    """Standard input from a pipe that gives few bytes at a time."""

    def __init__(self, data, at_once):
        super().__init__(data)
        self.at_once = at_once

    @property
    def buffer(self):
        return self

    def read1(self, size=-1):
        return super().read1(min(size, self.at_once))


@pytest.fixture
def stream(bench, monkeypatch, capfdbinary):
    """Run `thinlens stream` with the x2 model on bytes; code, bytes that came out, line on stderr."""
    from thinlens.cli.app import run

    def call(data, *arguments, at_once=1 << 20):
        monkeypatch.setattr(sys, "stdin", Pipe(data, at_once))
        code = run(["stream", "x2.safetensors", *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        return code, out, err.decode()

    return call


def picture(height, width, format_):
    channels, dtype = RAW_FORMATS[format_]
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("format_", RAW_FORMATS)
@pytest.mark.parametrize("at_once", [7, 1 << 20])
def test_what_comes_out_is_the_image_that_run_makes(stream, format_, at_once):
    image = picture(11, 6, format_)
    data = image.astype(image.dtype.newbyteorder("<")).tobytes()
    for height in ((), ("--height", 11)):
        code, out, err = stream(data, "--width", 6, "--format", format_, *height, at_once=at_once)
        assert (code, err) == (0, "")
        whole = open_model("x2.safetensors").run(image)
        np.testing.assert_array_equal(np.frombuffer(out, whole.dtype.newbyteorder("<")).reshape(whole.shape), whole)


@pytest.mark.parametrize(
    ("data", "height", "message"),
    [
        (b"a" * 25, (), "stdin ends 1 bytes into a row of 6; check `--width` and `--format`"),
        (b"a" * 23, (), "stdin ends 5 bytes into a row of 6"),
        (b"", (), "flush: got 0 rows"),
        (b"a" * 24, ("--height", 5), "flush: got 4 rows; accepted: 5"),
        (b"a" * 24, ("--height", 3), "rows: got 4 after 0; accepted: 3 in all"),
    ],
)
def test_other_than_whole_images_fail(stream, data, height, message):
    code, _, err = stream(data, "--width", 6, "--format", "gray8", *height)
    assert code == 1
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--width", 6), "Missing option '--format'"),
        (("--format", "gray8"), "Missing option '--width'"),
        (("--width", 0, "--format", "gray8"), "0 is not in the range"),
        (("--width", 6, "--format", "yuv"), "'yuv' is not one of 'gray8', 'gray16', 'rgb24', 'rgb48'"),
    ],
)
def test_usage(stream, arguments, message):
    code, out, err = stream(b"", *arguments)
    assert (code, out) == (2, b"")
    assert message in err


def test_without_the_engine_it_says_so(stream, reference):
    code, _, err = stream(b"a" * 6, "--width", 6, "--format", "gray8")
    assert code == 1
    assert "rows one by one need the native engine" in err


def test_no_raw_rows_on_a_terminal(stream, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, out, err = stream(b"", "--width", 6, "--format", "gray8")
    assert (code, out) == (2, b"")
    assert "stdout is a terminal" in err


def test_a_reader_that_goes_away_ends_it_quietly(bench):
    """Endless rows in; whoever reads them takes a few and goes."""
    command = [sys.executable, "-m", "thinlens", "stream", "x2.safetensors", "--width", "500", "--format", "gray8"]
    with (
        Path("/dev/zero").open("rb") as endless,
        subprocess.Popen(command, stdin=endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        assert process.stdout.read(1000) == bytes(1000)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_rows_come_out_before_the_input_ends(bench):
    command = [sys.executable, "-m", "thinlens", "stream", "x2.safetensors", "--width", "8", "--format", "gray8"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(bytes(8 * 3))
        process.stdin.flush()
        assert len(process.stdout.read(32)) == 32  # of the first row: its context is there
        process.stdin.write(bytes(8))
        process.stdin.close()
        assert len(process.stdout.read()) == 8 * 16 - 32
        assert process.wait() == 0


def test_nothing_else_is_printed(stream, monkeypatch):
    monkeypatch.setattr(Session, "describe", lambda self: pytest.fail("not asked for"))
    assert stream(bytes(60), "--width", 6, "--format", "gray8")[2] == ""


def test_a_report_says_what_a_pipeline_must_provide_for(stream):
    image = picture(11, 6, "gray8")
    code, out, err = stream(image.tobytes(), "--width", 6, "--format", "gray8", "--report")
    rows = open_model("x2.safetensors").rows(6, channels=1)
    assert code == 0
    assert err == (
        f"thinlens: latency {rows.latency_rows} rows, state {rows.state_bytes} bytes, "
        f"buffers {rows.buffer_bytes} bytes\n"
    )
    assert len(out) == 4 * image.size
    assert 0 < rows.state_bytes <= min(len(rows.save()), rows.buffer_bytes)


@pytest.mark.parametrize("format_", RAW_FORMATS)
def test_a_denoiser_with_a_memory_streams_raw_rows(bench, monkeypatch, capfdbinary, format_):
    """Line by line, of any kind, with what it needs told beforehand."""
    import torch

    from tests.conftest import template_matching_model
    from thinlens.cli.app import run
    from thinlens.train.lower import lower
    from thinlens.train.networks.line_dl import LineConfig

    torch.manual_seed(0)
    card = replace(template_matching_model().card, name="line_dn_w4", task="denoise", scale=1, colour="rgb")
    plan, tensors = lower(LineConfig(width=4).create(), 3)
    write_model(Path("line.safetensors"), Model({"main": plan}, tensors, card))
    image = picture(14, 9, format_)
    monkeypatch.setattr(sys, "stdin", Pipe(image.astype(image.dtype.newbyteorder("<")).tobytes(), 50))
    assert run(["stream", "line.safetensors", "--width", "9", "--format", format_, "--report"]) == 0
    out, err = capfdbinary.readouterr()
    whole = open_model("line.safetensors").run(image)
    np.testing.assert_array_equal(np.frombuffer(out, whole.dtype.newbyteorder("<")).reshape(whole.shape), whole)
    assert err.startswith(b"thinlens: latency 4 rows, state ")
