import itertools
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report.folder import HOSTILE, make_records, member, write
from thinlens.report.page import build_report, to_script_data
from thinlens.report.records import Records

ROOT = Path(__file__).parents[2]
VOID = {"meta", "link", "img", "input", "br", "hr", "source"}


class Outline(HTMLParser):
    """Elements with their attributes, texts of headings and scripts, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(autouse=True)
def _plots_as_text(monkeypatch):
    """Plots are drawn but not rendered, which takes most of a report's time."""
    monkeypatch.setattr("thinlens.report.page.save", lambda figure, kind: b"a plot")


def report(folder):
    return build_report(Records(folder), "1.2")


def outline(folder):
    return Outline(report(folder).files["index.html"].decode())


def test_the_page_and_its_plots(tmp_path):
    made = report(make_records(tmp_path))
    names = [f"{name}.{kind}" for name in ("front", "front_x2", "front_x3", "memory") for kind in ("svg", "png")]
    assert list(made.files) == [*names, "index.html"]
    assert made.sections == [
        "Quality against speed", "Side by side", "What one layer looks for", "Memory against image size",
        "One layer and small networks", "The engine beside other runtimes",
    ]  # fmt: skip
    assert "bbcu_studies.md" in made.missing
    assert not [name for name in made.missing if name.endswith(")")]


@pytest.mark.parametrize(
    ("name", "section", "anchor"),
    [
        ("pool.json", "Quality against speed", "map"),
        ("crops.json", "Side by side", "crops"),
        ("templates.json", "What one layer looks for", "filters"),
        ("one_layer.md", None, "page-one_layer"),
    ],
)
def test_a_missing_record_leaves_its_section_out(tmp_path, name, section, anchor):
    folder = make_records(tmp_path)
    (folder / name).unlink()
    made = report(folder)
    assert (f"{section} ({name})" if section else name) in made.missing
    assert section not in made.sections
    ids = {attributes.get("id") for _, attributes in Outline(made.files["index.html"].decode()).elements}
    assert anchor not in ids
    assert ("front.svg" in made.files) == (name != "pool.json")


def test_pictures_may_be_vectors(tmp_path):
    folder = make_records(tmp_path)
    write(folder, "templates/keys.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")
    write(folder, "templates.json", [{"name": "tm", "pictures": ["keys.svg"], "text": ""}])
    (shown,) = (it for it in outline(folder).all("img") if it["alt"] == "tm: keys")
    assert shown["src"].startswith("data:image/svg+xml;base64,")
    assert "width" not in shown


def test_a_pool_without_quality_is_left_out(tmp_path):
    write(tmp_path, "pool.json", {"members": [member(quality={})]})
    assert "Quality against speed (pool.json)" in report(tmp_path).missing


def test_nothing_in_a_record_becomes_an_element(tmp_path):
    plain, hostile = make_records(tmp_path / "plain"), make_records(tmp_path / "hostile", HOSTILE)
    pool = json.loads((hostile / "pool.json").read_text())
    for it in pool["members"]:
        it["name"] += HOSTILE
        it["training"] = it["training"] and it["training"] | {"schedule": HOSTILE}
    write(hostile, "pool.json", pool)
    tags = [[tag for tag, _ in outline(folder).elements] for folder in (plain, hostile)]
    assert tags[0] == tags[1]
    data = next(text for text in outline(hostile).texts["script"] if text.startswith("{"))
    assert json.loads(data)["members"][0]["name"] == f"bicubic_1_x2{HOSTILE}"


def test_script_data_holds_no_sign_that_html_knows():
    assert to_script_data({"a": "</script><!--&"}) == r'{"a":"\u003c/script\u003e\u003c!--\u0026"}'


def test_the_page_asks_for_nothing(tmp_path):
    page = outline(make_records(tmp_path))
    for _, attributes in page.elements:
        for name in ("src", "srcset", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    (policy,) = (it["content"] for it in page.all("meta") if it.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_names_and_structure_for_everybody(tmp_path):
    page = outline(make_records(tmp_path))
    tags = [tag for tag, _ in page.elements]
    levels = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {it["href"][1:] for it in page.all("a")} <= set(ids)
    assert {it["for"] for it in page.all("label") if "for" in it} <= set(ids)
    assert all("alt" in it for it in page.all("img"))
    assert all("scope" in it for it in page.all("th"))
    assert (
        tags.count("table")
        == tags.count("caption")
        == sum(it.get("class", "").startswith("scroll") for it in page.all("div")) - 1
    )
    assert [tag for tag in tags if tag in ("header", "nav", "main", "footer")] == ["header", "nav", "main", "footer"]


def test_the_records_of_the_repository_make_a_report():
    made = report(ROOT / "docs" / "results")
    assert "Files, folders, videos" in made.sections
    Outline(made.files["index.html"].decode())
