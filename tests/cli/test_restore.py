import json

import numpy as np
import pytest
from PIL import Image

from tests.cli.fixtures import files, picture, size_of
from tests.conftest import same_size_model, template_matching_model
from tests.image.pictures import smooth
from thinlens.degrade.noise import gaussian_noise
from thinlens.image.files import read_header
from thinlens.model.file import write_model
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
    assert done.out.splitlines()[-1].startswith("2 restored; edge_sr_tm_k5_c2_x2; ")


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
    assert (done.code, done.out) == (0, "in/a.png -> out/a.webp (planned, 14x10)\n")
    assert files() == ["in/a.png"]


def test_dry_run_finds_what_would_fail(restore, bench):
    picture("in/a.png", mode="RGBA")
    picture("in/b.png")
    (bench / "in/c.png").write_text("no image")
    done = restore("in", "-o", "out", "--dry-run", "--format", "jpeg", "--json")
    assert done.code == 1
    assert [record.get("status") for record in done.records] == ["failed", "planned", "failed", None]
    assert "jpeg cannot hold RGB with alpha" in done.records[0]["error"]
    assert "`in/c.png`: not an image" in done.records[2]["error"]
    assert files() == ["in/a.png", "in/b.png", "in/c.png"]


def test_what_forbids_a_file_is_found_before_any_work(restore, bench, monkeypatch):
    picture("a.png")
    (bench / "b.png").write_text("no image")
    seen = []
    run = Session.run
    monkeypatch.setattr("thinlens.cli.checks.read_header", lambda path: seen.append(path.name) or read_header(path))
    monkeypatch.setattr(Session, "run", lambda *a, **k: seen.append("run") or run(*a, **k))
    assert restore("a.png", "b.png", "-o", "out").code == 1
    assert seen == ["a.png", "b.png", "run"]


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
        "model": "edge_sr_tm_k5_c2_x2",
    }
    assert second["status"] == "failed"
    assert f"thinlens: {second['error']}" == done.line
    assert last["summary"].pop("seconds") >= 0
    assert last == {
        "summary": {
            "task": "sr",
            "models": ["edge_sr_tm_k5_c2_x2"],
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
        (("--scale", "3"), "scale 3: model `edge_sr_tm_k5_c2_x2` has scale 2; use one of a larger scale"),
        (("--scale", "2.01"), "scale 2.01: model `edge_sr_tm_k5_c2_x2` has scale 2"),
        (("--task", "denoise"), "task denoise: model `edge_sr_tm_k5_c2_x2` does sr"),
        (("--prefer", "speed"), "`--prefer` chooses a model and `--model` names one"),
        (("--scale", "0"), "scale: got 0.0; accepted: a number above 0"),
        (("--scale", "nan"), "scale: got nan"),
        (("--scale", "2", "--size", "9x9"), "scale and size both say how large"),
        (("--size", "9x0"), "got '9x0'; accepted: width x height in pixels, such as 1280x720"),
        (("--size", "9"), "got '9'; accepted: width x height"),
        (("--sigma", "25"), "`sigma` goes with task `denoise`; the task is `sr`"),
        (("--quality", "25"), "`quality` goes with task `deblock`; the task is `sr`"),
        (("--sigma", "256"), "256.0 is not in the range"),
        (("--quality", "0"), "0 is not in the range"),
        (("--max-memory", "much"), "got 'much'; accepted: a size such as 64MB or 2GiB"),
    ],
)
def test_options_that_contradict_the_model(restore, options, message):
    picture("a.png")
    done = restore("a.png", "-o", "b.png", *options)
    assert done.code == 2
    assert message in done.line
    assert files() == ["a.png"]


def test_without_a_default_model_the_list_is_shown(thinlens):
    picture("a.png")
    done = thinlens("restore", "a.png", "-o", "b.png", "--scale", "5")
    assert done.code == 2
    assert "there are: sr x2 (speed, balanced, quality)" in done.line


def test_size_and_scale_go_with_sr(thinlens):
    picture("a.png")
    for options in (("--scale", "2"), ("--size", "9x9")):
        done = thinlens("restore", "a.png", "-o", "b.png", "--task", "deblock", *options)
        assert done.code == 2
        assert "task `deblock` keeps the size" in done.line


@pytest.fixture
def asked(monkeypatch):
    """What the catalogue is asked for; it answers with a model of the bench."""
    seen = []

    def choose(task, scale, prefer):
        seen.append((task, scale, prefer))
        return f"x{scale}.safetensors"

    monkeypatch.setattr("thinlens.runtime.restore.default_model", choose)
    return seen


@pytest.mark.parametrize(
    ("arguments", "chosen", "size"),
    [
        ((), ("sr", 2, "balanced"), (14, 10)),
        (("--scale", "3", "--prefer", "speed"), ("sr", 3, "speed"), (21, 15)),
        (("--scale", "2.5"), ("sr", 3, "balanced"), (18, 12)),
        (("--scale", "1.01"), ("sr", 2, "balanced"), (7, 5)),
        (("--size", "15x10"), ("sr", 3, "balanced"), (15, 10)),
        (("--size", "14x10"), ("sr", 2, "balanced"), (14, 10)),
        (("--size", "3x9"), ("sr", 2, "balanced"), (3, 9)),
    ],
)
def test_the_catalogue_chooses(thinlens, asked, arguments, chosen, size):
    picture("a.png")
    assert thinlens("restore", "a.png", "-o", "b.png", *arguments).code == 0
    assert set(asked) == {chosen}
    assert size_of("b.png") == size


def test_a_size_takes_the_network_that_each_image_needs(thinlens, asked):
    picture("in/a.png", 10, 10)
    picture("in/b.png", 20, 20)
    picture("in/c.png", 30, 30)
    picture("in/d.png", 9, 9)
    done = thinlens("restore", "in", "-o", "out", "--size", "27x27", "--json")
    notes = [(record.get("model"), record.get("note")) for record in done.records]
    assert notes == [
        ("edge_sr_tm_k5_c2_x3", "x3 by the network, then down by bicubic"),
        ("edge_sr_tm_k5_c2_x2", "x2 by the network, then down by bicubic"),
        (None, "not larger than the image: bicubic alone, no network"),
        ("edge_sr_tm_k5_c2_x3", None),
        (None, None),
    ]
    assert done.records[-1]["summary"]["models"] == ["edge_sr_tm_k5_c2_x2", "edge_sr_tm_k5_c2_x3"]
    assert {size_of(f"out/{name}.png") for name in "abcd"} == {(27, 27)}


def test_a_size_that_no_network_reaches_fails_that_file(thinlens):
    picture("a.png")
    done = thinlens("restore", "a.png", "-o", "b.png", "--size", "700x500")
    assert (done.code, done.out) == (1, "")
    assert "`a.png`: no model is shipped for task `sr`, scale 100" in done.line


def test_without_a_network_the_line_says_so(restore):
    picture("a.png")
    done = restore("a.png", "-o", "b.png", "--scale", "0.5")
    assert done.out.endswith(" s, not larger than the image: bicubic alone, no network)\n")
    assert size_of("b.png") == (4, 2)


def test_max_memory_is_checked_before_any_work(restore, monkeypatch):
    picture("a.png", 100, 100)
    monkeypatch.setattr(Session, "run", lambda *_, **__: pytest.fail("worked in vain"))
    done = restore("a.png", "-o", "b.png", "--max-memory", "50MB", "-j", "2")
    assert (done.code, done.out) == (1, "")
    assert "`a.png`: 100x100 to 200x200 takes about" in done.line
    assert "`--max-memory` accepts 50.0 MB; use fewer threads (`-j 1`), or raise it" in done.line
    assert "accepts 50.0 MB; raise it" in restore("a.png", "-o", "b.png", "--max-memory", "50MB", "-j", "1").line


def test_max_memory_counts_what_the_format_takes(restore):
    picture("a.png", 1000, 1000, "L")
    assert restore("a.png", "-o", "b.png", "--max-memory", "120MB", "-j", 1, "--dry-run").code == 0
    done = restore("a.png", "-o", "b.webp", "--max-memory", "120MB", "-j", 1, "--dry-run")
    assert (done.code, done.out) == (1, "")
    assert "1000x1000 to 2000x2000 takes about 150.0 MB" in done.line


def test_max_memory_lets_pass_what_fits(restore):
    picture("a.png")
    assert restore("a.png", "-o", "b.png", "--max-memory", "1GiB").code == 0


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


@pytest.fixture
def damaged(bench):
    """A denoiser and a deblocker that change nothing, and pictures with damage."""
    write_model(bench / "dn.safetensors", same_size_model("dn", "denoise", colour=3, sigma_range=(0.0, 55.0)))
    write_model(bench / "db.safetensors", same_size_model("db", "deblock", quality_range=(5, 90)))
    clean = smooth(96, 128)
    Image.fromarray(gaussian_noise(clean, 20, seed=0, rounded=True)).save("noisy.png")
    Image.fromarray(clean).save("blocky.jpg", quality=30)


def test_sigma_is_estimated_and_told(thinlens, damaged):
    done = thinlens("restore", "noisy.png", "-o", "out.png", "--model", "dn.safetensors", "--json")
    record, summary = done.records
    assert (record["model"], record["sigma_estimated"], summary["summary"]["task"]) == ("dn", True, "denoise")
    assert 17 < record["sigma"] < 21
    assert done.err == f"thinlens: `noisy.png`: sigma {record['sigma']:g}, estimated\n"
    assert np.array_equal(np.asarray(Image.open("out.png")), np.asarray(Image.open("noisy.png")))


def test_sigma_may_be_given(thinlens, damaged):
    words = ("restore", "noisy.png", "-o", "out.png", "--model", "dn.safetensors", "--task", "denoise", "--sigma", "70")
    done = thinlens(*words, "--json")
    assert (done.records[0]["sigma"], done.records[0]["sigma_estimated"]) == (70, False)
    assert "`noisy.png`: sigma 70, as given; outside of 0 to 55, which model `dn` was trained on" in done.err


def test_quality_is_read_from_the_file(thinlens, damaged):
    done = thinlens("restore", "blocky.jpg", "-o", "out.png", "--model", "db.safetensors", "--json")
    assert (done.records[0]["quality"], done.records[0]["quality_estimated"]) == (30, True)
    assert done.err == "thinlens: `blocky.jpg`: quality 30, estimated\n"
    given = thinlens("restore", "blocky.jpg", "-o", "out.png", "-f", "--model", "db.safetensors", "--quality", "8")
    assert given.err == "thinlens: `blocky.jpg`: quality 8, as given\n"


def test_a_quality_that_is_not_known_is_told(thinlens, damaged):
    done = thinlens("restore", "noisy.png", "-o", "out.png", "--model", "db.safetensors", "--json")
    assert (done.code, done.records[0]["quality"], done.records[0]["quality_estimated"]) == (0, None, False)
    assert "`noisy.png`: quality not known; the input is no JPEG file; `--quality` says it; taken to lie" in done.line


def test_a_table_that_is_not_libjpegs_is_told(thinlens, damaged):
    Image.fromarray(smooth(40, 40)).save("odd.jpg", qtables=[[9] * 64, [9] * 64])
    done = thinlens("restore", "odd.jpg", "-o", "out.png", "--model", "db.safetensors")
    assert "the nearest: the file's quantisation table is not libjpeg's" in done.line


def test_certify_reports_and_draws(restore):
    picture("a.png", 20, 30)
    done = restore("a.png", "-o", "b.png", "--certify", "report")
    assert (done.code, files()) == (0, ["a.png", "b.png", "b_certify.png"])
    assert "consistent to " in done.out
    assert " levels off, by bicubic)" in done.out
    assert size_of("b_certify.png") == (30, 20)
    plain = restore("a.png", "-o", "c.png")
    assert "consist" not in plain.out
    np.testing.assert_array_equal(np.asarray(Image.open("c.png")), np.asarray(Image.open("b.png")))


def test_certify_repairs_and_tells_before_and_after(restore):
    picture("a.png", 20, 30)
    record = restore("a.png", "-o", "b.png", "--certify", "repair", "--json").records[0]
    found = record["certify"]
    assert found["psnr_db"] > found["before"]["psnr_db"] + 5
    assert (found["by"], found["heat_map"], record["status"]) == ("bicubic", "b_certify.png", "restored")
    restore("a.png", "-o", "c.png")
    assert (np.asarray(Image.open("c.png")) != np.asarray(Image.open("b.png"))).any()


def test_certify_works_after_a_decimal_scale(restore):
    picture("a.png", 20, 30)
    record = restore("a.png", "-o", "b.png", "--scale", 1.5, "--certify", "repair", "--json").records[0]
    assert (record["width"], record["certify"]["by"]) == (45, "bicubic")


def test_certify_refuses_what_is_not_enlarged(restore, thinlens, bench):
    picture("a.png")
    assert "`a.png`: `--certify` brings enlarged images back down; 7x5 to 7x5 is not larger; leave it out" in (
        restore("a.png", "-o", "b.png", "--scale", 1, "--certify", "report").line
    )
    write_model(bench / "same.safetensors", same_size_model("same", "denoise"))
    done = thinlens("restore", "a.png", "-o", "b.png", "--model", "same.safetensors", "--certify", "report")
    assert done.code == 2
    assert "`--certify` brings enlarged images back down; task denoise keeps the size; leave it out" in done.line
    assert files() == ["a.png"]


def test_certify_overwrites_nothing_unless_told(restore):
    picture("a.png")
    picture("b_certify.png")
    done = restore("a.png", "-o", "b.png", "--certify", "report")
    assert (done.code, files()) == (1, ["a.png", "b_certify.png"])
    assert "`b_certify.png` exists; `--overwrite` replaces it" in done.line
    assert restore("a.png", "-o", "b.png", "--certify", "report", "-f").code == 0


def test_certify_pictures_are_not_written_over_results(restore):
    for name in ("in/a.png", "in/a_certify.png"):
        picture(name)
    done = restore("in", "-o", "out", "--certify", "report", "-f")
    assert done.code == 2
    assert "`out/a_certify.png` would be written twice, or over an input" in done.line
    for name in ("in2/a.png", "in2/a.jpg"):
        picture(name)
    assert "`out/a_certify.png` would be written twice" in restore("in2", "-o", "out", "--certify", "report").line


def test_certify_counts_in_the_memory_that_is_accepted(restore):
    picture("a.png", 400, 400)
    plain = restore("a.png", "-o", "b.png", "--max-memory", "1MB").line
    certified = restore("a.png", "-o", "b.png", "--max-memory", "1MB", "--certify", "repair").line

    def needed(line):
        return float(line.split("takes about ")[1].split(" MB")[0])

    assert needed(certified) > needed(plain) + 5
