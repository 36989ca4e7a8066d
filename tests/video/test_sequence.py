"""Numbered pictures in, and out."""

import numpy as np
import pytest
from PIL import Image

from tests.cli.fixtures import files
from tests.video.clips import clip, facts, shown
from thinlens.image.files import ImageFile, read_image, write_image


def pictures(folder, count=4, first=1, height=16, width=24, dtype=np.uint8):
    folder.mkdir(exist_ok=True)
    y, x = np.mgrid[:height, :width]
    for number in range(first, first + count):
        wave = [0.5 + 0.3 * np.sin(x / 5 + number), 0.5 + 0.3 * np.cos(y / 4), 0.4 + 0 * x]
        pixels = np.rint(np.stack(wave, -1) * np.iinfo(dtype).max).astype(dtype)
        write_image(folder / f"{number:03d}.png", ImageFile(pixels, "png"), format="png", overwrite=True)


@pytest.mark.parametrize(("dtype", "pixels"), [(np.uint8, "yuv420p"), (np.uint16, "yuv420p10le")])
def test_pictures_become_a_video(restore, bench, dtype, pixels):
    pictures(bench / "in", dtype=dtype)
    done = restore("in/%03d.png", "-o", "out.mp4", "--fps", "24000/1001", "--crf", 1)
    assert (done.code, done.err) == (0, "")
    found = facts(bench / "out.mp4")
    assert (found["size"], found["pixels"], found["tags"]) == ((48, 32), pixels, (1, 1, 1, 1))
    assert [round(float(time) * 24000 / 1001) for time, _ in shown(bench / "out.mp4")] == [0, 1, 2, 3]
    restore("in/002.png", "-o", "one.png")
    expected = read_image(bench / "one.png", max_pixels=10_000).pixels
    restore("out.mp4", "-o", "back/%d.png", "--size", "48x32")
    back = read_image(bench / "back" / "2.png", max_pixels=10_000).pixels
    assert back.dtype == dtype
    assert np.abs(back.astype(float) - expected)[4:-4, 4:-4].mean() / np.iinfo(dtype).max < 0.02


def test_a_video_becomes_pictures(restore, bench):
    clip(bench / "in.mp4", frames=3, audio=1)
    done = restore("in.mp4", "-o", "out/%05d.png")
    assert done.code == 0
    assert "sound, subtitles and tags stay behind" in done.line
    assert files(bench / "out") == ["00001.png", "00002.png", "00003.png"]
    with Image.open(bench / "out/00002.png") as image:
        assert (image.mode, image.size) == ("RGB", (64, 48))
    done = restore("in.mp4", "-o", "out/%05d.png")
    assert done.code == 1
    assert "`out/00001.png` exists" in done.line


def test_pictures_are_resumed_one_by_one(restore, bench):
    clip(bench / "in.mp4", frames=5)
    assert restore("in.mp4", "-o", "out/%d.png").code == 0
    whole = [(bench / f"out/{number}.png").read_bytes() for number in range(1, 6)]
    for number in (4, 5):
        (bench / f"out/{number}.png").unlink()
    done = restore("in.mp4", "-o", "out/%d.png", "--resume", "--json")
    assert done.code == 0
    assert done.records[0]["frames_resumed"] == 3
    assert [(bench / f"out/{number}.png").read_bytes() for number in range(1, 6)] == whole


def test_numbers_from_0_and_a_gap_that_ends(restore, bench):
    pictures(bench / "in", count=3, first=0)
    pictures(bench / "in", count=1, first=7)
    assert restore("in/%03d.png", "-o", "out.mp4", "--json").records[0]["frames"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "001.png").unlink(), "neither `in/000.png` nor `in/001.png` is there"),
        (lambda folder: (folder / "002.png").write_text("no picture"), "`in/002.png`"),
        (lambda folder: Image.new("RGB", (30, 16)).save(folder / "003.png"), "`in/003.png` is 30x16 of 8 bits"),
        (lambda folder: Image.new("RGBA", (24, 16)).save(folder / "003.png"), "`in/003.png`: has transparency"),
    ],
)
def test_pictures_that_do_not_make_a_video(restore, bench, change, message):
    pictures(bench / "in")
    change(bench / "in")
    done = restore("in/%03d.png", "-o", "out.mp4")
    assert done.code == 1
    assert message in done.line
    assert not (bench / "out.mp4").exists()
    assert not (bench / "out.mp4.work").exists()


def test_gray_pictures_go(restore, bench):
    (bench / "in").mkdir()
    for number in (1, 2):
        Image.new("L", (24, 16), 90 + number).save(bench / f"in/{number}.png")
    assert restore("in/%d.png", "-o", "out.mp4").code == 0
    luma = shown(bench / "out.mp4")[0][1][:32]
    assert abs(float(luma.mean()) - (91 / 255 * 219 + 16)) < 2


def test_a_file_whose_name_holds_the_sign_is_a_picture(restore, bench):
    Image.new("L", (24, 16), 90).save(bench / "a%d.png")
    assert restore("a%d.png", "-o", "out.png").code == 0
