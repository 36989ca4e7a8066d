import pytest

from thinlens.cli import output


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("a\nb  c", "a b c"), ("\x1b[31mred", "\\x1b[31mred"), ("\udcff", "\\udcff"), ("größe", "größe"), ("", "")],
)
def test_clean_makes_one_printable_line(text, cleaned):
    assert output.clean(text) == cleaned


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (20_500_000, "20.5 MB"), (3e15, "3000.0 TB")]
)
def test_bytes_for_people(count, text):
    assert output.to_bytes_text(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (999, "999"), (1000, "1 k"), (361_267_200, "361 M"), (4.56e9, "4.56 G")]
)
def test_counts_for_people(count, text):
    assert output.to_count_text(count) == text


def test_tables_are_not_cut_off_the_terminal(capfd):
    output.print_table(("name", ">n"), [("x" * 300, 1), (None, "[b]")])
    head, first, second = capfd.readouterr().out.splitlines()
    assert head.split() == ["name", "n"]
    assert first.split() == ["x" * 300, "1"]
    assert second.split() == ["[b]"]


def test_fields_are_aligned_and_empty_ones_left_out(capfd):
    output.print_fields([("a", 1), ("long", "x\ny"), ("none", None)])
    assert capfd.readouterr().out == "a     1\nlong  x y\n"


def test_json_is_one_line_without_numbers_that_json_lacks(capfd):
    output.print_json({"a": [float("inf"), 1.5], "b": (float("nan"), "ä\n\udcff")})
    assert capfd.readouterr().out == '{"a": [null, 1.5], "b": [null, "\\u00e4\\n\\udcff"]}\n'
