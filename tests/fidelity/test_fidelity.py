import sys
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.conftest import template_matching_model
from tests.fidelity import table
from tests.fidelity.checks import applicable
from tests.fidelity.inputs import FORMATS, iter_cases, profile
from tests.fidelity.outputs import read_output
from tests.fidelity.suite import Result, command, run_suite
from thinlens.cli.app import run
from thinlens.model.file import write_model

CASES = list(iter_cases())


def id_of(case):
    return f"{case.format}-{case.name}"


def picked(*kinds, format=None):
    return [case for case in CASES if case.kind in kinds and format in (None, case.format)]


@pytest.mark.parametrize("case", CASES, ids=id_of)
def test_inputs_are_what_they_say(case, tmp_path):
    """An input passes its own checks at scale 1: the judge can read them, and nothing is wrong with them."""
    path = tmp_path / "x"
    path.write_bytes(case.data)
    found = read_output(path)
    assert found.orientation == case.orientation
    expected = {"fringe"} if case.alpha is not None else set()  # black lies under their transparent pixels
    assert {name for name, check in applicable(case).items() if check(case, found, 1)} - expected == set()


def test_every_kind_in_every_format_that_can_hold_it():
    found = {kind: {case.format for case in CASES if case.kind == kind} for kind in {case.kind for case in CASES}}
    everywhere = set(FORMATS)
    assert found == {
        "gray": everywhere - {"webp"},
        "gray + alpha": {"png", "tiff"},
        "palette": {"png", "tiff"},
        "palette + transparency": {"png"},
        "RGB": everywhere,
        "RGBA": everywhere - {"jpeg"},
        "16-bit gray": {"png", "tiff"},
        "16-bit RGB": {"png", "tiff"},
        "CMYK": {"jpeg"},
        "ICC": everywhere,
        "EXIF orientation": everywhere,
        "non-ASCII name": everywhere,
        "odd sizes": everywhere,
    }
    assert len(picked("EXIF orientation")) == 8 * len(FORMATS)


@pytest.mark.parametrize("scale", [2, 3])
def test_thinlens_keeps_everything(tmp_path, scale, capfd):
    model = tmp_path / "x.safetensors"
    write_model(model, template_matching_model(scale))

    def upscale(source, target, _):
        code = run(["restore", str(source), "-o", str(target), "--model", str(model)])
        return f"exit code {code}" if code else ""

    cases = CASES if scale == 2 else [case for case in CASES if case.kind != "EXIF orientation"]
    results = run_suite(upscale, tmp_path, scale, cases)
    assert {result.name: result.failed for result in results if result.failed} == {}
    assert capfd.readouterr().err == ""
    turned = [read_output(tmp_path / "out" / case.format / case.name) for case in cases if case.exif]
    assert {output.orientation for output in turned} <= {1}


def naive(change=lambda image: image, **options):
    """The usual script, with a twist."""

    def upscale(source, target, scale):
        with warnings.catch_warnings(), Image.open(source) as image:
            warnings.simplefilter("ignore")
            kept = {"exif": image.getexif(), "icc_profile": image.info.get("icc_profile")} | options
            changed = change(image)
            changed.resize((scale * changed.width, scale * changed.height), Image.Resampling.BICUBIC).save(
                target, **kept
            )
        return ""

    return upscale


def channel_by_channel(source, target, scale):
    with Image.open(source) as image:
        size = scale * image.width, scale * image.height
        Image.merge("RGBA", [plane.resize(size, Image.Resampling.BICUBIC) for plane in image.split()]).save(target)
    return ""


def shifted(image):
    return Image.fromarray(np.roll(np.asarray(image), 1, axis=1))


def swapped(image):
    return Image.merge("RGB", image.split()[::-1])


def turned_twice(image):
    return ImageOps.exif_transpose(image)  # and the tag is kept


# kind, an upscaler that gets one thing wrong, and the check that must say so
SABOTEURS = {
    "swapped channels": ("RGB", naive(swapped), "colour"),
    "shift": ("RGB", naive(shifted), "colour"),
    "one pixel short": ("odd sizes", lambda a, b, s: naive(lambda i: i.crop((0, 0, 36, 23)))(a, b, s), "size"),
    "gray to RGB": ("gray", naive(lambda image: image.convert("RGB")), "mode"),
    "RGB to gray": ("RGB", naive(lambda image: image.convert("L")), "mode"),
    "alpha dropped": ("RGBA", naive(lambda image: image.convert("RGB")), "mode"),
    "alpha made up": ("RGB", naive(lambda image: image.convert("RGBA")), "mode"),
    "another format": ("RGB", naive(format="bmp"), "mode"),
    "16 bits to 8": ("16-bit gray", naive(lambda image: image.point(lambda v: v / 257).convert("L")), "depth"),
    "dark fringe": ("RGBA", channel_by_channel, "fringe"),
    "alpha not clean": ("RGBA", naive(lambda image: image.point(lambda v: min(v, 254))), "alpha"),
    "profile lost": ("ICC", naive(icc_profile=None), "ICC"),
    "profile of its own": ("ICC", naive(icc_profile=profile()[::-1]), "ICC"),
    "EXIF lost": ("EXIF orientation", naive(exif=b""), "EXIF"),
    "EXIF lost, not turned": ("EXIF orientation", naive(exif=b""), "upright"),
    "turned twice": ("EXIF orientation", naive(turned_twice), "upright"),
    "nothing written": ("RGB", lambda a, b, s: "", "done"),
    "no image": ("RGB", lambda a, b, s: b.write_text("done") and "", "done"),
}


@pytest.mark.parametrize("name", SABOTEURS)
def test_the_judge_notices(name, tmp_path):
    kind, upscale, check = SABOTEURS[name]
    case = [case for case in picked(kind, format="png") if case.orientation in (1, 6)][-1]
    (result,) = run_suite(upscale, tmp_path, 2, [case])
    assert check in result.failed, result


def test_the_usual_script_passes_where_it_is_right(tmp_path):
    results = run_suite(naive(), tmp_path, 2, picked("RGB", "gray", "ICC", "EXIF orientation", format="png"))
    assert [result.failed for result in results] == [{}] * len(results)


def test_commands(tmp_path):
    script = "import sys; from PIL import Image; i = Image.open(sys.argv[1]); s = int(sys.argv[3])"
    script += "; i.resize((s * i.width, s * i.height), 3).save(sys.argv[2])"
    upscale = command(f'"{sys.executable}" -c "{script}" {{input}} {{output}} {{scale}}')
    (result,) = run_suite(upscale, tmp_path, 3, picked("non-ASCII name", format="png"))
    assert result.failed == {}
    (result,) = run_suite(command("no_such_program {input}"), tmp_path / "b", 2, picked("RGB", format="png"))
    assert "no_such_program" in result.checks["done"]
    failing = command(f'"{sys.executable}" -c "raise SystemExit(chr(98))"')
    (result,) = run_suite(failing, tmp_path / "c", 2, picked("RGB", format="png"))
    assert result.came_out == "exit code 1: b"


def test_tables():
    good = Result("RGB", "png", "a.png", "RGB 4x4", "RGB, 8 bits, 8x8", {"done": "", "size": ""})
    bad = Result("RGB", "png", "b.png", "RGB 5x4", "gray, 8 bits, 8x8", {"done": "", "size": "8x8, not 10x8"})
    dead = Result("RGB", "tiff", "c.tif", "RGB 5x4", "exit code 1: a|b", {"done": "exit", "size": "no output"})
    scores = {"ours": [good], "theirs": [good, bad, dead]}
    assert table.summary(scores).splitlines() == [
        "| upscaler | files all right | done | size |",
        "| --- | --- | --- | --- |",
        "| ours | **1/1** | 1/1 | 1/1 |",
        "| theirs | **1/3** | 2/3 | 1/3 |",
    ]
    assert table.grid(scores["theirs"]).splitlines()[2] == "| RGB | size (1 of 2) | no output | – | – |"
    assert table.grid([good]).splitlines()[2] == "| RGB | ok | – | – | – |"
    assert table.details(scores["theirs"]).splitlines()[3:] == [
        "| RGB | `png/b.png` | RGB 5x4 | gray, 8 bits, 8x8 | size: 8x8, not 10x8 |",
        "| RGB | `tiff/c.tif` | RGB 5x4 | exit code 1: a\\|b | failed |",
    ]
