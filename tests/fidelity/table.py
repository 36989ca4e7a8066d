"""Scores as text: who keeps what, and where it breaks."""

from tests.fidelity.inputs import FORMATS
from tests.fidelity.suite import Result

Scores = dict[str, list[Result]]  # upscaler -> results


def summary(scores: Scores) -> str:
    """One row an upscaler: files all of whose checks hold, then how often each check holds."""
    names = list(dict.fromkeys(name for results in scores.values() for result in results for name in result.checks))
    rows = []
    for upscaler, results in scores.items():
        cells = [f"**{sum(not r.failed for r in results)}/{len(results)}**"]
        for name in names:
            held = [not result.checks[name] for result in results if name in result.checks]
            cells.append(f"{sum(held)}/{len(held)}")
        rows.append([upscaler, *cells])
    return markdown(["upscaler", "files all right", *names], rows)


def grid(results: list[Result]) -> str:
    """Kinds down, formats across: ``ok``, or which checks fail."""
    kinds = dict.fromkeys(result.kind for result in results)
    rows = []
    for kind in kinds:
        cells = [[r for r in results if (r.kind, r.format) == (kind, format)] for format in FORMATS]
        rows.append([kind, *(_cell(found) for found in cells)])
    return markdown(["", *FORMATS], rows)


def details(results: list[Result]) -> str:
    """What went in, what came out, and what is wrong with it."""
    rows = []
    for r in results:
        wrong = "; ".join(f"{name}: {text}" for name, text in r.failed.items() if r.checks["done"] == "")
        rows.append([r.kind, f"`{r.format}/{r.name}`", r.went_in, r.came_out, wrong or ("failed" if r.failed else "")])
    return markdown(["kind", "file", "in", "out", "wrong"], rows)


def _cell(results):
    if not results:
        return "–"
    bad = [result for result in results if result.failed]
    if not bad:
        return "ok"
    names = dict.fromkeys(n for r in bad for n in (["done"] if r.checks["done"] else r.failed))
    count = f" ({len(bad)} of {len(results)})" if len(results) > 1 else ""
    return ", ".join("no output" if name == "done" else name for name in names) + count


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
