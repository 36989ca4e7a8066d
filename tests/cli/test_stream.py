import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from thinlens.cli.options import RAW_FORMATS
from thinlens.model.file import Model, write_model
from thinlens.runtime.restore import resample
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

    def call(data, *arguments, at_once=1 << 20, model="x2.safetensors"):
        monkeypatch.setattr(sys, "stdin", Pipe(data, at_once))
        code = run(["stream", model, *map(str, arguments)])
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
        (b"", ("--height", 5), "stdin ends within frame 1: 30 of its 30 bytes are missing"),
        (b"a" * 24, ("--height", 5), "stdin ends within frame 1: 6 of its 30 bytes are missing; check `--width`"),
        (b"a" * 23, ("--height", 3), "stdin ends within frame 2: 13 of its 18 bytes are missing"),
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
        (("--width", 6, "--format", "yuv"), "'yuv' is not one of 'gray8', 'gray16', 'rgb24', 'rgb48', 'yuv420p'"),
        (("--width", 6, "--format", "yuv420p"), "`--height` must say where they end"),
        (("--width", 6, "--format", "rgb24", "--range", "full"), "`--range` goes with `--format yuv420p`"),
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


@pytest.mark.parametrize("format_", RAW_FORMATS)
@pytest.mark.parametrize("at_once", [7, 1 << 20])
def test_frame_after_frame_each_on_its_own(stream, format_, at_once):
    frames = [picture(11, 6, format_), 7 * picture(11, 6, format_), picture(11, 6, format_)[::-1]]
    data = b"".join(frame.astype(frame.dtype.newbyteorder("<")).tobytes() for frame in frames)
    code, out, err = stream(data, "--width", 6, "--height", 11, "--format", format_, at_once=at_once)
    assert (code, err) == (0, "")
    whole = np.stack([open_model("x2.safetensors").run(np.ascontiguousarray(frame)) for frame in frames])
    np.testing.assert_array_equal(np.frombuffer(out, whole.dtype.newbyteorder("<")).reshape(whole.shape), whole)


def planes_of(data, height, width):
    """Y, U and V of one frame."""
    chroma = -(-height // 2), -(-width // 2)
    parts = np.split(np.frombuffer(data, np.uint8), np.cumsum([height * width, chroma[0] * chroma[1]]))
    return [part.reshape(size) for part, size in zip(parts, [(height, width), chroma, chroma], strict=True)]


@pytest.mark.parametrize("range_", ["limited", "full"])
@pytest.mark.parametrize("size", [(12, 8), (11, 7), (1, 1), (2, 1)])
@pytest.mark.parametrize("scale", [2, 3])
def test_planes_luma_by_the_network_chroma_by_bicubic(stream, range_, size, scale):
    (height, width), model = size, f"x{scale}.safetensors"
    chroma = -(-height // 2), -(-width // 2)
    frame = np.random.default_rng(0).integers(0, 256, height * width + 2 * chroma[0] * chroma[1], np.uint8)
    arguments = ("--width", width, "--height", height, "--format", "yuv420p")
    limits = () if range_ == "limited" else ("--range", range_)
    code, out, err = stream(2 * frame.tobytes(), *arguments, *limits, model=model, at_once=5)
    assert (code, err) == (0, "")
    assert out[: len(out) // 2] == out[len(out) // 2 :]
    y, *uv = planes_of(frame.tobytes(), height, width)
    found, *found_uv = planes_of(out[: len(out) // 2], scale * height, scale * width)
    if range_ == "full":
        expected = open_model(model).run(y)
    else:
        full = np.clip((y.astype(np.float32) - 16) / np.float32(219), 0, 1)
        expected = np.rint(open_model(model).run(full) * np.float32(219) + 16).astype(np.uint8)
    np.testing.assert_array_equal(found, expected)
    for plane, enlarged in zip(uv, found_uv, strict=True):
        whole = resample(plane, (scale * chroma[0], scale * chroma[1]), 1)
        np.testing.assert_array_equal(enlarged, whole[: enlarged.shape[0], : enlarged.shape[1]])


def test_limited_black_and_white_stay(stream):
    frame = np.repeat(np.array([[16, 235]], np.uint8), 6, axis=1).repeat(12, axis=0)
    data = frame.tobytes() + bytes([128]) * 72
    code, out, _ = stream(data, "--width", 12, "--height", 12, "--format", "yuv420p")
    y, u, v = planes_of(out, 24, 24)
    assert code == 0
    assert abs(int(y[12, 2]) - 16) <= 1
    assert abs(int(y[12, 21]) - 235) <= 1
    assert (u == 128).all()
    assert (v == 128).all()


def test_planes_that_end_early(stream):
    code, _, err = stream(bytes(100), "--width", 8, "--height", 6, "--format", "yuv420p")
    assert code == 1
    assert "stdin ends within frame 2: 44 of its 72 bytes are missing" in err


def test_planes_want_a_luma_network(bench, monkeypatch, capfdbinary):
    from thinlens.cli.app import run

    monkeypatch.setattr(sys, "stdin", Pipe(bytes(72), 72))
    arguments = ["--width", "8", "--height", "6", "--format", "yuv420p"]
    assert run(["stream", "dncnn_d10_w16_denoise", *arguments]) == 2
    assert b"take a luma network" in capfdbinary.readouterr()[1]
