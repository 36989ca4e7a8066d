import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.fixtures import files, picture, size_of
from tests.conftest import template_matching_model
from thinlens.runtime.session import Session


def test_one_file_to_one_file(restore):
    picture("a.jpg")
    done = restore("a.jpg", "-o", "b.png")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("a.jpg -> b.png (14x10, ")
    assert size_of("b.png") == (14, 10)
    assert files() == ["a.jpg", "b.png"]


def test_pixels_are_those_of_the_session(restore):
    picture("a.png")
    assert restore("a.png", "-o", "b.png", "-j", 2).code == 0
    expected = Session(template_matching_model()).run(np.asarray(Image.open("a.png")))
    np.testing.assert_array_equal(np.asarray(Image.open("b.png")), expected)


def test_one_file_into_a_folder_keeps_its_name(restore):
    picture("a.b.jpg")
    assert restore("a.b.jpg", "-o", "out").code == 0
    assert files("out") == ["a.b.jpg"]


def test_an_existing_folder_is_a_folder_whatever_its_name(restore, bench):
    picture("a.jpg")
    (bench / "out.png").mkdir()
    assert restore("a.jpg", "-o", "out.png").code == 0
    assert files("out.png") == ["a.jpg"]


def test_several_files_make_the_output_a_folder(restore):
    picture("a.jpg")
    picture("b.png")
    done = restore("a.jpg", "b.png", "-o", "new/out.png")
    assert done.code == 0
    assert files("new/out.png") == ["a.jpg", "b.png"]
    assert done.out.splitlines()[-1].startswith("2 restored; edge_sr_tm_k5_c2_x2, ")


def test_folder_takes_its_own_images_only(restore, bench):
    for name in ("in/b.PNG", "in/a.jpg", "in/.hidden.png", "in/sub/c.png"):
        picture(name)
    (bench / "in/notes.txt").write_text("no image")
    assert restore("in", "-o", "out").code == 0
    assert files("out") == ["a.jpg", "b.PNG"]


def test_recursive_keeps_the_layout_and_leaves_the_output_folder_out(restore):
    for name in ("in/a.png", "in/sub/a.png", "in/sub/deep/b.jpg"):
        picture(name)
    for _ in range(2):
        assert restore("in", "-r", "-o", "in/out", "-f").code == 0
        assert files("in/out") == ["a.png", "sub/a.png", "sub/deep/b.jpg"]


def test_globs_are_expanded(restore):
    for name in ("a1.png", "a2.png", "b.png"):
        picture(name)
    assert restore("a?.png", "-o", "out").code == 0
    assert files("out") == ["a1.png", "a2.png"]


def test_a_name_with_brackets_is_a_name(restore):
    picture("a[1].png")
    assert restore("a[1].png", "-o", "out").code == 0
    assert files("out") == ["a[1].png"]


def test_a_file_named_twice_is_restored_once(restore):
    picture("in/a.png")
    done = restore("in/a.png", "in", "./in/a.png", "-o", "out", "--json")
    assert [r.get("status") for r in done.records] == ["restored", None]


@pytest.mark.parametrize(
    ("format_name", "name"), [("png", "a.png"), ("jpeg", "a.jpeg"), ("tiff", "a.tif"), ("webp", "a.webp")]
)
def test_format_changes_the_suffix_only_where_the_format_changes(restore, format_name, name):
    picture("a.jpeg")
    assert restore("a.jpeg", "-o", "out", "--format", format_name).code == 0
    assert files("out") == [name]
    with Image.open(f"out/{name}") as image:
        assert image.format.lower() == format_name


def test_a_suffix_that_contradicts_the_format_is_refused(restore):
    picture("a.jpg")
    done = restore("a.jpg", "-o", "b.png", "--format", "jpeg")
    assert done.code == 2
    assert "`b.png` does not end as `--format jpeg` does" in done.line
    assert files() == ["a.jpg"]


def test_two_inputs_with_one_output_are_refused_before_any_work(restore):
    for name in ("a.png", "x/b.png", "y/b.png"):
        picture(name)
    done = restore("a.png", "x", "y", "-o", "out")
    assert done.code == 2
    assert "`x/b.png` and `y/b.png` would both write `out/b.png`" in done.line
    assert files() == ["a.png", "x/b.png", "y/b.png"]


def test_a_format_can_make_two_outputs_one(restore):
    picture("in/a.png")
    picture("in/a.jpg")
    done = restore("in", "-o", "out", "--format", "png")
    assert done.code == 2
    assert "would both write `out/a.png`" in done.line


def test_an_existing_output_is_kept_and_the_others_are_done(restore, bench):
    picture("a.png")
    picture("b.png")
    (bench / "out").mkdir()
    (bench / "out/a.png").write_text("old")
    done = restore("a.png", "b.png", "-o", "out")
    assert done.code == 1
    assert "`out/a.png` exists; `--overwrite` replaces it, `--skip-existing` leaves it" in done.line
    assert (bench / "out/a.png").read_text() == "old"
    assert size_of("out/b.png") == (14, 10)
    assert done.out.splitlines()[-1].startswith("1 restored, 1 failed; ")


def test_skip_existing_leaves_the_output(restore, bench):
    picture("a.png")
    (bench / "out.png").write_text("old")
    done = restore("a.png", "-o", "out.png", "--skip-existing")
    assert (done.code, done.out, done.err) == (0, "a.png -> out.png (skipped)\n", "")
    assert (bench / "out.png").read_text() == "old"


def test_overwrite_replaces_the_output(restore, bench):
    picture("a.png")
    (bench / "out.png").write_text("old")
    assert restore("a.png", "-o", "out.png", "--overwrite").code == 0
    assert size_of("out.png") == (14, 10)


def test_skip_existing_and_overwrite_contradict_each_other(restore):
    assert "contradict each other" in restore("a.png", "-o", "b.png", "-f", "--skip-existing").line


def test_dry_run_writes_nothing(restore):
    picture("in/a.png")
    done = restore("in", "-o", "out", "--dry-run", "--format", "webp")
    assert (done.code, done.out) == (0, "in/a.png -> out/a.webp (planned)\n")
    assert files() == ["in/a.png"]


def test_json_is_one_object_a_file_and_a_summary(restore, bench):
    picture("in/a.png")
    (bench / "in/b.png").write_bytes(b"")
    done = restore("in", "-o", "out", "--json")
    first, second, last = done.records
    assert first.pop("seconds") >= 0
    assert first == {
        "input": "in/a.png",
        "output": "out/a.png",
        "status": "restored",
        "width": 14,
        "height": 10,
    }
    assert second["status"] == "failed"
    assert f"thinlens: {second['error']}" == done.line
    assert last["summary"].pop("seconds") >= 0
    assert last == {
        "summary": {
            "model": "edge_sr_tm_k5_c2_x2",
            "task": "sr",
            "scale": 2,
            "restored": 1,
            "planned": 0,
            "skipped": 0,
            "failed": 1,
        }
    }
    assert done.code == 1


def test_failures_are_listed_at_the_end_one_line_each(restore, bench):
    for name in ("a.png", "c.png"):
        (bench / name).write_text("no image")
    picture("b.png")
    done = restore("a.png", "b.png", "c.png", "missing.png", "-o", "out")
    assert done.code == 1
    assert [line.split("`")[1] for line in done.err.splitlines()] == ["a.png", "c.png", "missing.png"]
    assert files("out") == ["b.png"]


def test_whatever_is_wrong_with_one_file_the_others_are_done(restore, monkeypatch):
    picture("a.png")
    picture("b.png", height=6)
    run = Session.run

    def broken(self, image, **options):
        if image.shape[0] == 5:
            raise KeyError("a bug")
        return run(self, image, **options)

    monkeypatch.setattr(Session, "run", broken)
    done = restore("a.png", "b.png", "-o", "out")
    assert done.code == 1
    assert "`a.png`: unexpected KeyError: 'a bug'; this is a bug: rerun with `--debug`" in done.line
    assert files("out") == ["b.png"]


def test_folder_without_images_is_a_failed_input(restore, bench):
    (bench / "in/sub").mkdir(parents=True)
    picture("in/sub/a.png")
    done = restore("in", "-o", "out")
    assert done.code == 1
    assert "`in`: no image in this folder; `-r` goes into subfolders" in done.line


def test_scale_defaults_to_the_models_own(thinlens):
    picture("a.png")
    assert thinlens("restore", "a.png", "-o", "b.png", "--model", "x3.safetensors").code == 0
    assert size_of("b.png") == (21, 15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scale", "3"), "`--scale 3`: model `edge_sr_tm_k5_c2_x2` has scale 2"),
        (("--task", "denoise"), "`--task denoise`: model `edge_sr_tm_k5_c2_x2` does sr"),
        (("--prefer", "speed"), "`--prefer` chooses a model and `--model` names one"),
    ],
)
def test_options_that_contradict_the_model(restore, options, message):
    picture("a.png")
    done = restore("a.png", "-o", "b.png", *options)
    assert done.code == 2
    assert message in done.line
    assert files() == ["a.png"]


@pytest.mark.parametrize(
    "options", [("--scale", "5"), ("--scale", "0"), ("--task", "denoise"), ("--task", "deblock", "--scale", "2")]
)
def test_without_a_default_model_the_list_is_shown(thinlens, options):
    picture("a.png")
    done = thinlens("restore", "a.png", "-o", "b.png", *options)
    assert done.code == 2
    assert "there are: sr x2 (speed, balanced, quality)" in done.line


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [((), ("sr", 2, "balanced")), (("--scale", "4", "--prefer", "speed"), ("sr", 4, "speed"))],
)
def test_the_catalogue_chooses(thinlens, monkeypatch, arguments, asked):
    picture("a.png")
    seen = []
    monkeypatch.setattr("thinlens.models.default_model", lambda *a: seen.append(a) or "x2.safetensors")
    assert thinlens("restore", "a.png", "-o", "b.png", *arguments).code == 0
    assert seen == [asked]


def test_profile_and_exif_travel_unless_stripped(restore):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.new("RGB", (4, 4)).save("a.jpg", exif=exif, icc_profile=_srgb())
    for options, kept in (((), True), (("--strip",), False)):
        assert restore("a.jpg", "-o", "b.jpg", "-f", *options).code == 0
        with Image.open("b.jpg") as image:
            assert ("icc_profile" in image.info, 0x010F in image.getexif()) == (kept, kept)


def _srgb():
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_jpeg_quality_counts(restore, bench):
    picture("a.png", 64, 64)
    sizes = []
    for quality in (10, 95):
        assert restore("a.png", "-o", "b.jpg", "-f", "--jpeg-quality", quality).code == 0
        sizes.append((bench / "b.jpg").stat().st_size)
    assert sizes[0] < sizes[1] / 2


def test_control_characters_in_names_do_not_reach_the_terminal(restore):
    picture("a\x1b[31m.png")
    done = restore("a\x1b[31m.png", "missing\x1b.png", "-o", "out")
    assert "\x1b" not in done.out + done.err


def test_json_keeps_the_name_as_it_is(restore):
    picture("ä\n.png")
    done = restore("ä\n.png", "-o", "out", "--json")
    assert json.loads(done.out.splitlines()[0])["input"] == "ä\n.png"
