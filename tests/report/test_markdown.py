import pytest

from thinlens.errors import RecordError
from thinlens.report.markdown import split_title, to_html
from thinlens.report.records import Picture


def picture(name):
    if name != "plot.svg":
        raise RecordError(name)
    return Picture("image/svg+xml", b"<svg/>", None)


def html(text):
    return to_html(text, "The page", ["memory"], picture)


def test_a_title():
    assert split_title("# `thinlens restore`: *huge*\n\nText") == ("thinlens restore: huge", "\nText")


def test_tables_have_captions_scopes_and_a_box_to_scroll_in():
    made = html("## Speed & more\n\n| | ms |\n|---|--:|\n| one | 2 |\n")
    assert made.startswith("<h4>Speed &amp; more</h4>\n")
    assert '<div class="scroll" role="group" tabindex="0" aria-label="Speed &amp; more"><table>' in made
    assert '<caption class="unseen">Speed &amp; more</caption>' in made
    assert '<td></td>\n<th class="num" scope="col">ms</th>' in made  # an empty cell heads nothing
    assert '<th scope="row">one</th>\n<td class="num">2</td>' in made
    assert "style=" not in made


def test_a_table_before_any_heading_has_the_title_of_the_page():
    assert '<caption class="unseen">The page</caption>' in html("| a |\n|---|\n| 1 |\n")


def test_headings_stay_within_the_six_levels():
    assert "<h6>" in html("###### Deep")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[here](memory.md)", '<p><a href="#page-memory">here</a></p>\n'),
        ("[*there*](../methods/edge_sr.md)", "<p><em>there</em></p>\n"),
        ("[out](https://example.org/a)", '<p><a href="https://example.org/a">out</a></p>\n'),
        ("[bad](javascript:alert(1))", "<p>[bad](javascript:alert(1))</p>\n"),
        ("[bad](file:///etc/passwd)", "<p>[bad](file:///etc/passwd)</p>\n"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>\n"),
        ("<script>\nalert(1)\n</script>", "<p>&lt;script&gt;\nalert(1)\n&lt;/script&gt;</p>\n"),
        ("![A plot](plot.svg)", '<p><img src="data:image/svg+xml;base64,PHN2Zy8+" alt="A plot"></p>\n'),
        ("![A plot](https://example.org/plot.png)", "<p>[A plot]</p>\n"),
    ],
)
def test_nothing_leads_out_or_runs(text, expected):
    assert html(text) == expected
