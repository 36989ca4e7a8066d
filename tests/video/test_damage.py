"""Damaged inputs, missing parts, disks that are full: told in one line, nothing half-written left."""

import resource
import sys

import av
import numpy as np
import pytest

from tests.cli.fixtures import files
from tests.video.clips import clip
from thinlens.cli.app import run
from thinlens.video import encode, source
from thinlens.video.formats import ENCODERS, Encoder


def left(bench):
    """What lies in the folder besides the inputs."""
    return [name for name in files(bench) if not name.startswith("in.")]


def test_a_file_that_is_no_video(restore, bench):
    (bench / "in.mp4").write_text("no video\n" * 100)
    done = restore("in.mp4", "-o", "out.mp4")
    assert done.code == 1
    assert "`in.mp4`: no video that can be read" in done.line
    assert left(bench) == []


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "ffconcat version 1.0\nfile '/etc/hostname'\n"]
)
def test_a_list_of_other_files_is_no_video(restore, bench, text):
    (bench / "in.mp4").write_text(text)
    done = restore("in.mp4", "-o", "out.mp4")
    assert done.code == 1
    assert "no video that can be read" in done.line


def test_a_file_that_is_not_there(restore, bench):
    done = restore("in.mp4", "-o", "out.mp4")
    assert done.code == 1
    assert "`in.mp4`: no such file; give a video file" in done.line


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_file_that_was_cut_off(restore, bench, share):
    data = clip(bench / "in.mp4", frames=60, width=96, height=64).read_bytes()
    (bench / "in.mp4").write_bytes(data[: int(len(data) * share)])
    done = restore("in.mp4", "-o", "out.mp4")
    assert done.code == 1
    assert "`in.mp4`: " in done.line
    assert "no video that can be read" in done.line or "damaged" in done.line
    assert left(bench) == []


def test_what_was_made_of_a_damaged_file_is_kept(restore, bench):
    data = clip(bench / "in.mp4", frames=60, width=96, height=64).read_bytes()
    (bench / "in.mp4").write_bytes(data[: int(len(data) * 0.9)])
    done = restore("in.mp4", "-o", "out.mp4", "--segment", 5)
    assert done.code == 1
    assert "frames are kept in `out.mp4.work`; `--resume` goes on with them" in done.line
    assert (bench / "out.mp4.work" / "00000.segment").is_file()
    assert not (bench / "out.mp4").exists()


def test_no_video_track(restore, bench):
    with av.open(str(bench / "in.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    done = restore("in.mp4", "-o", "out.mp4")
    assert done.code == 1
    assert "`in.mp4`: no video track; give a file that has one" in done.line


def test_no_frame(restore, bench):
    clip(bench / "in.mkv", frames=0, audio=1)
    done = restore("in.mkv", "-o", "out.mkv")
    assert done.code == 1
    assert "`in.mkv`: the video track has no frame" in done.line or "no video that can be read" in done.line


def test_a_picture_that_changes_its_size(restore, bench):
    """Two streams of VP9 joined, as some recorders leave them."""
    clip(bench / "in.small.mkv", frames=4, codec="libvpx-vp9")
    times = [512 * (4 + number) for number in range(4)]
    clip(bench / "in.large.mkv", frames=4, width=48, height=32, times=times, codec="libvpx-vp9")
    with av.open(str(bench / "in.mkv"), "w") as out:
        stream = None
        for name in ("in.small.mkv", "in.large.mkv"):
            with av.open(str(bench / name)) as source:
                picture = source.streams.video[0]
                stream = stream or out.add_stream_from_template(picture, opaque=True)
                for packet in source.demux(picture):
                    if packet.size:
                        packet.stream = stream
                        out.mux(packet)
    done = restore("in.mkv", "-o", "out.mkv")
    assert done.code == 1
    assert "frame 4 is 48x32 yuv420p, those before are 32x24 yuv420p; cut the file there" in done.line
    assert not (bench / "out.mkv").exists()


def test_an_encoder_that_is_not_there_lists_those_that_are(restore, bench, monkeypatch):
    clip(bench / "in.mp4", frames=2)
    monkeypatch.setitem(ENCODERS, "av1", Encoder("libnone", 28, None, ()))
    done = restore("in.mp4", "-o", "out.mp4", "--codec", "av1")
    assert done.code == 1
    assert "codec av1: this PyAV has no encoder `libnone`; it has: h264, hevc, vp9, ffv1; see `--codec`" in done.line
    assert not encode.has_encoder("av1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "fastest"), "codec h264: preset `fastest`; accepted: ultrafast, superfast"),
        (("--codec", "av1", "--preset", "slow"), "codec av1: preset `slow`; accepted: 0, 1"),
        (("--codec", "ffv1", "--crf", 3), "codec ffv1 is lossless and has no `--crf`; leave it out"),
        (("--codec", "ffv1", "--preset", "slow"), "codec ffv1: preset `slow`; it has none; leave it out"),
        (("--size", "33x25"), "the encoder `libx264` does not take 33x25 yuv420p"),
        (("--max-pixels", 1000), "32x24 to 64x48, `--max-pixels` accepts 1000 pixels"),
    ],
)
def test_settings_that_do_not_go(restore, bench, options, message):
    clip(bench / "in.mp4", frames=2)
    done = restore("in.mp4", "-o", "out.mp4", *options)
    assert done.code == 1
    assert message in done.line
    assert left(bench) == []


def test_10_bits_and_an_encoder_of_8(restore, bench):
    clip(bench / "in.mkv", frames=2, pixels="yuv422p10le", aspect=None)
    done = restore("in.mkv", "-o", "out.mkv", "--codec", "vp9")
    assert done.code == 1
    assert "codec vp9 does not take pixel format yuv422p10le; these do: h264, hevc, ffv1; see `--codec`" in done.line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("in.mp4", "in.png", "-o", "out"), "videos and pictures in one list (`in.png` is no video)"),
        (("in.png", "-o", "out", "--crf", 20), "`--crf` goes with videos, and no input is one; leave it out"),
        (("in.mp4", "-o", "out.gif"), "`out.gif`: a video's output is a file in .mp4, .m4v, .mkv, .mov, .webm"),
        (("in.mp4", "in.mkv", "-o", "out.mp4"), "`out.mp4` is one file for 2 videos; give a folder"),
        (("in.mp4", "-o", "in.mp4", "-f"), "`in.mp4`: its output `in.mp4` would replace `in.mp4`"),
        (("in.mp4", "-o", "out.mp4", "--strip"), "`--strip` goes with pictures, not with videos"),
        (("in.%d.png", "-o", "out.%d.png"), "numbered pictures to numbered pictures is what a folder does"),
        (("in.%d.png", "-o", "out"), "`out`: a video's output is a file"),
        (("in.mp4", "-o", "out.mp4", "--fps", "fast"), "`--fps`: got 'fast'; accepted: frames a second"),
    ],
)
def test_usage(restore, bench, arguments, message):
    done = restore(*arguments)
    assert done.code == 2
    assert message in done.line


def test_an_output_that_is_there(restore, bench):
    clip(bench / "in.mp4", frames=2)
    (bench / "out.mp4").write_text("old")
    done = restore("in.mp4", "-o", "out.mp4")
    assert done.code == 1
    assert "`out.mp4` exists; `--overwrite` replaces it, `--skip-existing` leaves it" in done.line
    assert restore("in.mp4", "-o", "out.mp4", "--skip-existing").out == "in.mp4 -> out.mp4 (skipped)\n"
    assert (bench / "out.mp4").read_text() == "old"
    assert restore("in.mp4", "-o", "out.mp4", "-f").code == 0
    assert (bench / "out.mp4").stat().st_size > 3


def test_dry_run_writes_nothing(restore, bench):
    clip(bench / "in.mp4", frames=2)
    done = restore("in.mp4", "-o", "new/out.mp4", "--dry-run")
    assert (done.code, done.out) == (0, "in.mp4 -> new/out.mp4 (planned, 64x48)\n")
    assert left(bench) == []


def test_several_videos_go_into_a_folder_and_one_that_fails_stops_no_other(restore, bench):
    clip(bench / "in.a.mp4", frames=2)
    (bench / "in.b.mp4").write_text("no video")
    clip(bench / "in.c.mkv", frames=2)
    done = restore("in.a.mp4", "in.b.mp4", "in.?.mkv", "-o", "out", "--json")
    assert done.code == 1
    assert [record.get("status") for record in done.records] == ["restored", "failed", "restored", None]
    assert done.records[-1]["summary"]["restored"] == 2
    assert done.records[0]["encoder"] == "libx264"
    assert {"frames", "seconds", "fps", "width", "height", "model"} <= set(done.records[0])
    assert left(bench) == ["out/in.a.mp4", "out/in.c.mkv"]


def test_a_folder_that_cannot_be_written_to(restore, bench, monkeypatch):
    clip(bench / "in.mp4", frames=2)
    (bench / "shut").mkdir()
    monkeypatch.setattr("os.access", lambda *_: False)
    done = restore("in.mp4", "-o", "shut/out.mp4")
    assert done.code == 1
    assert "`shut`: the folder cannot be written to; give another output" in done.line


@pytest.mark.parametrize("limit", [3_000, 12_000])
def test_a_full_disk(restore, bench, limit):
    """No file may grow larger: first no segment fits, then the output does not."""
    clip(bench / "in.mp4", frames=24, width=64, height=48, audio=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        done = restore("in.mp4", "-o", "out.mp4", "--segment", 6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.code == 1
    assert "cannot be written" in done.line or "came out short" in done.line
    assert not (bench / "out.mp4").exists()
    assert not list(bench.rglob("*.part"))
    assert restore("in.mp4", "-o", "out.mp4", "--segment", 6, "--resume").code == 0
    assert left(bench) == ["out.mp4"]


def test_without_pyav_the_pip_command_is_named(restore, bench, monkeypatch):
    clip(bench / "in.mp4", frames=2)
    monkeypatch.setitem(sys.modules, "av", None)
    done = restore("in.mp4", "-o", "out.mp4")
    assert done.code == 2
    assert "restoring videos needs the extra `video`: pip install 'thinlens[video]'" in done.line


def test_interlaced_pictures_are_refused(restore, bench, monkeypatch):
    clip(bench / "in.mp4", frames=2)

    class Interlaced:
        interlaced_frame = True

        def __init__(self, frame):
            self._frame = frame

        def __getattr__(self, name):
            return getattr(self._frame, name)

    decoded = source._decoded
    monkeypatch.setattr(source, "_decoded", lambda *a: map(Interlaced, decoded(*a)))
    done = restore("in.mp4", "-o", "out.mp4")
    assert done.code == 1
    assert "the picture is interlaced; deinterlace it first" in done.line


def test_help_names_videos(capsys):
    run(["restore", "--help"])
    assert "in.mp4 -o out.mp4" in capsys.readouterr().out
