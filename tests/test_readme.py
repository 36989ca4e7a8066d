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
        if card.task != "sr":
            continue
        on_set5 = next(m for m in card.quality if m.data == "Set5")
        figures = f"{on_set5.psnr_y_db:.2f} dB | {on_set5.ssim_y:.4f}"
        lines.append(f"| `{card.name}` | {card.params:,} | {card.macs_per_pixel:,.0f} | {figures} |")
    return "\n".join(lines)


def damage_table():
    """The same for denoisers (PSNR over RGB) and deblockers (of luma): the first figure of each card."""
    lines = ["| model | parameters | MACs | on | PSNR |", "|---|--:|--:|---|--:|"]
    for card in list_models():
        if card.task != "sr":
            first = card.quality[0]
            psnr_db = first.psnr_y_db if first.psnr_rgb_db is None else first.psnr_rgb_db
            cost = f"{card.params:,} | {card.macs_per_pixel:,.0f}"
            lines.append(f"| `{card.name}` | {cost} | {first.data} | {psnr_db:.2f} dB |")
    return "\n".join(lines)


@pytest.mark.parametrize(("mark", "table"), [("models", model_table), ("damage", damage_table)])
def test_the_model_tables_are_those_of_the_cards(mark, table):
    assert README.split(f"<!-- {mark} -->\n")[1].split(f"\n<!-- /{mark} -->")[0] == table()


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
