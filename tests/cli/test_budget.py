import pytest
import typer

from thinlens.cli.budget import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("20ms@1080p,64MB", (1080, 1920, 0.02, 64_000_000)),
        ("64MB@4K, 1.5 s", (2160, 3840, 1.5, 64_000_000)),
        ("20MS@1280x720", (720, 1280, 0.02, None)),
        (" 2GiB @ 720p", (720, 1280, None, 2 << 30)),
    ],
)
def test_a_time_a_memory_or_both_and_a_size(text, budget):
    assert parse_budget(text) == Budget(text.strip(), *budget)


@pytest.mark.parametrize(
    "text",
    [
        *("", "20ms", "@1080p", "20ms@", "20@1080p", "20m@1080p", "64@1080p", "20ms@1080", "20ms@8k", "20ms@0x5"),
        *("20ms@1080p,30ms", "1MB@1080p,2MB", "20ms@1080p,64MB@4k", "20ms@1080p,", "-20ms@1080p", "20ms@1080p@4k"),
    ],
)
def test_no_budgets(text):
    with pytest.raises(typer.BadParameter, match="such as 20ms@1080p,64MB; sizes: 720p, 1080p, 4k, or width x height"):
        parse_budget(text)
