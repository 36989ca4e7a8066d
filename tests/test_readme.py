"""What the README claims is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from thinlens.models import list_models

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def model_table():
    """The table between the README's markers, from the cards."""
    lines = ["| model | parameters | MACs | PSNR | SSIM |", "|---|--:|--:|--:|--:|"]
    for card in list_models():
        on_set5 = next(m for m in card.quality if m.data == "Set5")
        figures = f"{on_set5.psnr_y_db:.2f} dB | {on_set5.ssim_y:.4f}"
        lines.append(f"| `{card.name}` | {card.params:,} | {card.macs_per_pixel:,.0f} | {figures} |")
    return "\n".join(lines)


def test_the_model_table_is_that_of_the_cards():
    table = README.split("<!-- models -->\n")[1].split("\n<!-- /models -->")[0]
    assert table == model_table()


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_ci_runs_the_test_command_of_the_readme():
    assert "\n```sh\nscripts/test\n```" in README
    assert "\nscripts/test\n" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("command", re.findall(r"^thinlens ([^#\n]+?) *(?:#|$)", README, re.MULTILINE))
def test_commands_are_understood(command, tmp_path):
    """Each command's verb and options exist."""
    verb, *rest = command.split()
    options = [word for word in rest if word.startswith("-")]
    call = [sys.executable, "-m", "thinlens", verb, "--help"]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=tmp_path)
    for option in options:
        assert option in done.stdout


def test_the_page_of_records_is_that_of_the_records():
    done = subprocess.run(
        [sys.executable, "-c", "import records; print(records.current(), end='')"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "benchmarks",
    )
    assert done.stdout == (ROOT / "docs" / "results" / "bench.md").read_text()
