import sys
from pathlib import Path

import pytest

from tests.cli.fixtures import files
from tests.report.folder import make_records, write


@pytest.fixture
def records(bench, monkeypatch):
    """A workbench with records; plots are drawn but not rendered, which takes most of a report's time."""
    monkeypatch.setattr("thinlens.report.page.save", lambda figure, kind: b"a plot")
    make_records(bench / "docs" / "results")
    return bench


def test_a_report_of_the_records_of_the_current_folder(thinlens, records):
    done = thinlens("report", "-o", "new/report")
    assert (done.code, done.err) == (0, "")
    first, sections, left_out = done.out.splitlines()
    assert first.startswith("new/report/index.html: ")
    assert first.endswith(", and 8 plots beside it")
    assert "Quality against speed; Side by side" in sections
    assert "bbcu_studies.md" in left_out
    names = [f"front{scale}.{kind}" for scale in ("", "_x2", "_x3") for kind in ("png", "svg")]
    assert files("new/report") == [*names, "index.html", "memory.png", "memory.svg"]


def test_json(thinlens, records):
    (made,) = thinlens("report", "docs/results", "-o", "out", "--json").records
    assert made["page"] == "out/index.html"
    assert made["files"][-1] == "out/index.html"
    assert all(Path(name).is_file() for name in made["files"])
    assert "Side by side" in made["sections"]
    assert "choose.md" in made["missing"]


def test_nothing_is_overwritten_unless_told(thinlens, records):
    write(records, "out/index.html", "old")
    done = thinlens("report", "-o", "out")
    assert (done.code, done.out) == (2, "")
    assert "`out/index.html` exists; `--overwrite` replaces it, `-o` names another folder" in done.line
    assert files("out") == ["index.html"]
    assert (records / "out/index.html").read_text() == "old"
    assert thinlens("report", "-o", "out", "-f").code == 0
    assert (records / "out/index.html").read_text() != "old"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere", "-o", "out"), 2, "`nowhere`: not a folder; accepted: a folder of records"),
        (("docs", "-o", "out"), 1, "`docs`: no records; accepted: a folder of `*.json`"),
        (("-o", "file/out"), 1, "`file/out`: the folder cannot be made"),
        (("docs/results",), 2, "Missing option '-o' / '--output'"),
    ],
)
def test_bad_arguments(thinlens, records, arguments, code, message):
    write(records, "file", "text")
    done = thinlens("report", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.line


def test_a_damaged_record_is_an_error_that_names_it(thinlens, records):
    write(records, "docs/results/pool.json", "{")
    done = thinlens("report", "-o", "out")
    assert (done.code, done.out) == (1, "")
    assert "`docs/results/pool.json`: damaged: " in done.line
    assert not Path("out").exists()


@pytest.mark.parametrize("package", ["jinja2", "matplotlib", "markdown_it"])
def test_without_the_extra(thinlens, records, monkeypatch, package):
    for name in [name for name in sys.modules if name.startswith("thinlens.report.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    done = thinlens("report", "-o", "out")
    assert (done.code, done.out) == (2, "")
    assert "`thinlens report` needs the extra `report`: pip install 'thinlens[report]'" in done.line
