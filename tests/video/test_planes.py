import av
import numpy as np
import pytest

from tests.conftest import same_size_model, template_matching_model
from tests.video.clips import clip, facts, frame_of, shown
from thinlens.image.resample import Resampler
from thinlens.model.file import write_model
from thinlens.runtime.session import Session
from thinlens.video.chroma import CENTRE, LEFT, PlaneScaler
from thinlens.video.formats import LAYOUTS
from thinlens.video.levels import Levels
from thinlens.video.planes import planes_of


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_limited_luma_goes_to_full_range_and_back(bits):
    low, high = 16 << (bits - 8), 235 << (bits - 8)
    levels, luma = Levels(bits, full=False), np.arange(1 << bits)
    luma = luma.astype(np.uint8 if bits == 8 else np.uint16).reshape(4, -1)
    stretched = levels.to_full(luma)
    assert (stretched.min(), stretched.max()) == (0, np.iinfo(luma.dtype).max)
    np.testing.assert_allclose(
        stretched, (luma.clip(low, high) - low) / (high - low) * np.iinfo(luma.dtype).max, atol=0.5
    )
    back = np.empty_like(luma)
    levels.from_full(stretched, back)
    np.testing.assert_array_equal(back, luma.clip(low, high))


@pytest.mark.parametrize("at", [(0, 64), (1, 64), (0, 63)])
def test_bytes_by_pairs_are_bytes_one_by_one(at):
    levels = Levels(8, full=False)
    luma = np.random.default_rng(0).integers(0, 256, (9, 64), np.uint8)[:, slice(*at)]
    one = np.array([[levels.to_full(value.reshape(1, 1))[0, 0] for value in row] for row in luma])
    np.testing.assert_array_equal(levels.to_full(luma), one)


def test_full_range_of_8_bits_is_left_alone():
    luma = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert Levels(8, full=True).to_full(luma) is luma


@pytest.mark.parametrize("pixels", ["yuv420p", "nv12", "yuv444p", "yuv420p10le", "p010le", "gray"])
def test_planes_are_the_values_of_the_frame(pixels):
    planar = LAYOUTS[pixels].planar
    frame = frame_of(0, 30, 20, planar)
    planes = planes_of(frame.reformat(format=pixels) if pixels != planar else frame, LAYOUTS[pixels])
    expected = planes_of(frame, LAYOUTS[planar])
    assert len(planes) == len(expected) == (1 if pixels == "gray" else 3)
    for plane, values in zip(planes, expected, strict=True):
        np.testing.assert_array_equal(plane, values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [2, 3])
def test_chroma_of_whole_scales_is_bicubic_about_its_own_samples(backend, dtype, scale):
    y, x = np.mgrid[:12, :16]
    plane = np.rint(110 + 40 * np.sin(x / 3) + 30 * np.cos(y / 4)).astype(dtype)
    out = np.empty((12 * scale, 16 * scale), dtype)
    PlaneScaler(plane.shape, out.shape, (CENTRE, LEFT), 255, 1).run(plane, out)
    at = (np.arange(16 * scale) + LEFT) / scale - LEFT, (np.arange(12 * scale) + CENTRE) / scale - CENTRE
    wave = 110 + 40 * np.sin(at[0][None] / 3) + 30 * np.cos(at[1][:, None] / 4)
    inside = np.s_[2 * scale : -2 * scale, 2 * scale : -2 * scale]
    assert np.abs(out - wave)[inside].max() < 1.5  # rounded twice
    centred = Resampler(12, 16, *out.shape).rows(plane.astype(np.float64), 0, 0, len(out))
    assert np.abs(centred - wave)[inside].max() > 2


def test_chroma_of_other_scales_lies_where_it_lay():
    x = np.arange(40)
    plane = np.rint(100 + 60 * np.sin(x / 5)).astype(np.uint8)[None].repeat(8, axis=0)
    out = np.empty((12, 60), np.uint8)
    PlaneScaler(plane.shape, out.shape, (CENTRE, LEFT), 255, 1).run(plane, out)
    wave = 100 + 60 * np.sin(((np.arange(60) + LEFT) / 1.5 - LEFT) / 5)
    assert np.abs(out - wave)[:, 4:-4].max() < 1.5


def test_chroma_stays_within_its_bits():
    plane = np.zeros((8, 8), np.uint16)
    plane[:, 4:] = 1023
    out = np.empty((16, 16), np.uint16)
    PlaneScaler(plane.shape, out.shape, (CENTRE, LEFT), 1023, 1).run(plane, out)
    assert out.max() == 1023


def test_luma_is_the_networks_and_nothing_else(restore, bench):
    """Lossless in, lossless out: the Y plane is the session's of the stretched Y plane."""
    source = clip(bench / "in.mkv", frames=2, codec="ffv1", aspect=None)
    assert restore("in.mkv", "-o", "out.mkv", "--codec", "ffv1").code == 0
    luma, levels = shown(source)[1][1][:24], Levels(8, full=False)
    expected = np.empty((48, 64), np.uint8)
    levels.from_full(Session(template_matching_model()).run(levels.to_full(luma)), expected)
    np.testing.assert_array_equal(shown(bench / "out.mkv")[1][1][:48], expected)


def test_a_decimal_scale_and_a_size(restore, bench):
    clip(bench / "in.mp4", frames=2, audio=1)
    done = restore("in.mp4", "-o", "out.mp4", "--scale", 1.5)
    assert done.code == 0
    assert "x2 by the network, then down by bicubic" in done.line
    assert facts(bench / "out.mp4")["size"] == (48, 36)
    assert restore("in.mp4", "-o", "size.mp4", "--size", "50x40").code == 0
    assert facts(bench / "size.mp4")["size"] == (50, 40)


@pytest.mark.parametrize("colour", [1, 3])
def test_tasks_that_keep_the_size(thinlens, bench, colour):
    """A network that changes nothing changes nothing, on planes; through RGB it costs a rounding."""
    write_model(bench / "same.safetensors", same_size_model("same", "denoise", colour=colour))
    source = clip(bench / "in.mkv", frames=2, codec="ffv1", aspect=None, pixels="yuv444p")
    done = thinlens("restore", "in.mkv", "-o", "out.mkv", "--codec", "ffv1", "--model", "same.safetensors")
    assert done.code == 0
    assert "first frame: sigma" in done.err
    before, after = (shown(path)[1][1].astype(int) for path in (source, bench / "out.mkv"))
    if colour == 1:
        np.testing.assert_array_equal(after[0], before[0].clip(16, 235))
        np.testing.assert_array_equal(after[1:], before[1:])
    else:
        inside = (before[0] > 60) & (before[0] < 190)
        assert np.abs(after - before)[:, inside].mean() < 1


def test_deblock_takes_the_quality_that_is_given(thinlens, bench):
    write_model(bench / "same.safetensors", same_size_model("same", "deblock", quality_range=(10, 40)))
    clip(bench / "in.mp4", frames=2)
    done = thinlens("restore", "in.mp4", "-o", "out.mp4", "--model", "same.safetensors", "--quality", 30, "--json")
    assert done.code == 0
    assert done.records[0]["quality"] == 30
    assert done.records[0]["frames"] == 2


def test_a_frame_is_restored_the_same_by_the_reference(restore, bench, monkeypatch):
    clip(bench / "in.mkv", frames=1, codec="ffv1", aspect=None)
    assert restore("in.mkv", "-o", "a.mkv", "--codec", "ffv1").code == 0
    monkeypatch.setenv("THINLENS_ISA", "reference")
    assert restore("in.mkv", "-o", "b.mkv", "--codec", "ffv1").code == 0
    one, other = (shown(bench / name)[0][1].astype(int) for name in ("a.mkv", "b.mkv"))
    assert np.abs(one - other).max() <= 1


def test_the_planes_of_a_frame_are_not_copied():
    frame = av.VideoFrame(32, 24, "yuv420p")
    planes_of(frame, LAYOUTS["yuv420p"])[0][:] = 77
    assert bytes(frame.planes[0])[0] == 77
