"""What a file holds beside its picture comes out as it went in."""

from fractions import Fraction

import av
import pytest
from av.packet import Packet
from av.stream import Disposition
from PIL import Image

from tests.video.clips import HEVC_TAGS, QUARTER_TURN, STEP, clip, contents, facts, shown
from thinlens.video import mux


def kept_facts(path):
    found = facts(path)
    return {key: found[key] for key in ("tags", "aspect", "matrix", "pixels", "clock")}


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("in.mp4", {"audio": 2, "subtitles": "mov_text", "chapters": True, "matrix": QUARTER_TURN}),
        ("in.mov", {"audio": 2, "subtitles": "mov_text", "matrix": QUARTER_TURN}),
        ("in.mkv", {"audio": 2, "subtitles": "subrip", "chapters": True, "attachment": True, "matrix": QUARTER_TURN}),
    ],
)
def test_everything_is_kept(restore, bench, name, holds):
    source = clip(bench / name, **holds)
    target = bench / f"out{source.suffix}"
    done = restore(name, "-o", target.name)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{name} -> {target.name} (64x48, 12 frames, ")
    assert contents(target) == contents(source)
    assert len(contents(target)["tracks"]) == 4 + holds.get("attachment", False)
    assert kept_facts(target) == kept_facts(source)
    assert facts(target)["size"] == (64, 48)
    assert [time for time, _ in shown(target)] == [time for time, _ in shown(source)]
    assert [path.name for path in bench.iterdir() if "work" in path.name or path.name.startswith(".")] == []


def test_frames_keep_their_times_where_the_rate_varies(restore, bench):
    times = [0, 1, 2, 3, 700, 5000, 5001, 5002, 90000, 90001, 90002, 90500]
    clip(bench / "in.mp4", times=times)
    assert restore("in.mp4", "-o", "out.mp4", "--segment", 4).code == 0
    assert [time * 12800 for time, _ in shown(bench / "out.mp4")] == times
    assert facts(bench / "out.mp4")["clock"] == facts(bench / "in.mp4")["clock"]


def test_a_late_start_stays_late(restore, bench):
    clip(bench / "in.mkv", times=[STEP * (10 + i) for i in range(6)], audio=1)
    assert restore("in.mkv", "-o", "out.mkv").code == 0
    assert [time for time, _ in shown(bench / "out.mkv")] == [time for time, _ in shown(bench / "in.mkv")]


@pytest.mark.parametrize(
    ("pixels", "codec", "name"),
    [
        ("yuv422p", "libx264", "mp4"),
        ("yuv444p", "libx264", "mkv"),
        ("yuv420p10le", "libx264", "mp4"),
        ("yuv422p10le", "libx265", "mp4"),
        ("yuvj420p", "libx264", "mp4"),
        ("gray", "ffv1", "mkv"),
    ],
)
def test_depth_and_subsampling_are_kept(restore, bench, pixels, codec, name):
    aspect = None if codec == "ffv1" else Fraction(4, 3)
    tags = HEVC_TAGS if "10" in pixels else (1, 1, 1, 2 if "j" in pixels else 1)
    source = clip(bench / f"in.{name}", frames=3, pixels=pixels, codec=codec, tags=tags, aspect=aspect)
    settings = {"libx264": ("h264", "--crf", 4), "libx265": ("hevc", "--crf", 4), "ffv1": ("ffv1",)}[codec]
    done = restore(source.name, "-o", f"out.{name}", "--codec", *settings)
    assert done.code == 0
    target = facts(bench / f"out.{name}")
    assert target["tags"] == facts(source)["tags"]
    assert target["tags"][3] == tags[3]
    assert target["pixels"].replace("j", "") == pixels.replace("j", "")
    small, large = shown(source)[1][1], shown(bench / f"out.{name}")[1][1]
    peak = 1023 if "10" in pixels else 255
    levels = [plane[: len(plane) * 2 // 3].astype(float).mean() / peak for plane in (small, large)]
    assert abs(levels[0] - levels[1]) < 0.01


@pytest.mark.parametrize(("codec", "name"), [("av1", "mp4"), ("vp9", "mkv"), ("ffv1", "mkv"), ("hevc", "mov")])
def test_other_codecs(restore, bench, codec, name):
    clip(bench / "in.mkv", frames=5, width=64, height=64, aspect=None, audio=1)
    done = restore("in.mkv", "-o", f"out.{name}", "--codec", codec, "--segment", 2)
    assert (done.code, done.err) == (0, "")
    assert facts(bench / f"out.{name}")["codec"] in (codec, "libdav1d", "av1")
    assert [time for time, _ in shown(bench / f"out.{name}")] == [time for time, _ in shown(bench / "in.mkv")]


def test_webm_becomes_vp9(restore, bench):
    clip(bench / "in.webm", frames=5, codec="libvpx-vp9", audio=1, aspect=None)
    assert restore("in.webm", "-o", "out.webm").code == 0
    assert facts(bench / "out.webm")["codec"] == "vp9"
    assert contents(bench / "out.webm") == contents(bench / "in.webm")


def test_what_the_container_does_not_take_is_named_before_any_work(restore, bench):
    clip(bench / "in.mkv", audio=1, subtitles="subrip", attachment=True)
    done = restore("in.mkv", "-o", "out.mp4")
    assert done.code == 1
    assert (
        "`in.mkv`: .mp4 does not take subtitle track 2 (srt), attachment track 3 (font.ttf); give an output"
        in done.line
    )
    assert not (bench / "out.mp4").exists()
    done = restore("in.mkv", "-o", "out.mp4", "--drop-tracks")
    assert done.code == 0
    assert "left out: subtitle track 2 (srt)" in done.line
    assert [track["type"] for track in contents(bench / "out.mp4")["tracks"]] == ["video", "audio"]


def test_a_codec_that_the_container_does_not_take_is_refused(restore, bench):
    clip(bench / "in.webm", frames=2, codec="libvpx-vp9")
    done = restore("in.webm", "-o", "out.webm", "--codec", "h264")
    assert done.code == 1
    assert "'webm' format does not support 'libx264' codec; give another `--codec`" in done.line


def test_an_aspect_that_only_the_container_could_hold_is_named(restore, bench):
    clip(bench / "in.mp4", frames=2)
    done = restore("in.mp4", "-o", "out.webm")
    assert done.code == 0
    assert "pixels of 4:3 come out square: .webm holds no aspect for this codec here" in done.line
    assert restore("in.mp4", "-o", "out.mkv").err == ""
    assert facts(bench / "out.mkv")["aspect"] == Fraction(4, 3)


def test_an_untagged_picture_that_grows_to_hd_is_tagged(restore, bench):
    clip(bench / "in.mp4", frames=2, width=640, height=480, tags=(2, 2, 2, 0), aspect=None)
    done = restore("in.mp4", "-o", "out.mp4", "--preset", "ultrafast")
    assert done.code == 0
    assert "tagged BT.601" in done.line
    assert facts(bench / "out.mp4")["tags"][:3] == (2, 2, 6)


def test_rare_tags_are_kept(restore, bench):
    clip(bench / "plain.mp4", frames=2)
    with (
        av.open(str(bench / "plain.mp4")) as source,
        av.open(str(bench / "in.mov"), "w", container_options={"movflags": "use_metadata_tags"}) as out,
    ):
        out.metadata["com.apple.quicktime.model"] = "A camera"
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert restore("in.mov", "-o", "out.mov").code == 0
    with av.open(str(bench / "out.mov")) as out:
        assert out.metadata["com.apple.quicktime.model"] == "A camera"


def test_a_cover_is_kept_rather_than_a_rare_tag(restore, bench, monkeypatch):
    Image.new("RGB", (16, 16), "red").save(bench / "cover.png")
    clip(bench / "plain.mp4", frames=2, audio=1)
    with av.open(str(bench / "plain.mp4")) as source, av.open(str(bench / "in.mp4"), "w") as out:
        copies = [out.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        with av.open(str(bench / "cover.png")) as cover:
            picture = out.add_stream_from_template(cover.streams.video[0], opaque=True)
            picture.disposition = Disposition.attached_pic
            monkeypatch.setattr(mux, "COMMON_TAGS", mux.COMMON_TAGS - {"title"})
            out.metadata["title"] = "A title"
            for packet in source.demux():
                if packet.size:
                    packet.stream = copies[packet.stream_index]
                    out.mux(packet)
            image = Packet((bench / "cover.png").read_bytes())
            image.pts = image.dts = 0
            image.stream = picture
            out.mux(image)
    done = restore("in.mp4", "-o", "out.mp4")
    assert done.code == 0
    assert "left out: tags title, which .mp4 does not take beside a cover" in done.line
    with av.open(str(bench / "out.mp4")) as file:
        covers = [stream for stream in file.streams if stream.disposition & Disposition.attached_pic]
        data = [bytes(packet) for packet in file.demux(covers) if packet.size]
    assert data == [(bench / "cover.png").read_bytes()]


def test_a_time_code_is_kept(restore, bench):
    clip(bench / "in.mov", frames=3, timecode="01:00:00:00")
    with av.open(str(bench / "in.mov")) as file:
        assert [stream.type for stream in file.streams] == ["video", "data"]
    done = restore("in.mov", "-o", "out.mov")
    assert (done.code, done.err) == (0, "")
    with av.open(str(bench / "out.mov")) as file:
        assert [stream.metadata["timecode"] for stream in file.streams] == ["01:00:00:00", "01:00:00:00"]
