r"""What goes into a file must come out of it: score any upscaler's command on files of every kind that people have.

    python benchmarks/fidelity.py -o docs/results/fidelity.md \
        --command 'thinlens=thinlens restore {input} -o {output} --scale {scale}'

``NAME=COMMAND`` may be given several times; ``{input}``, ``{output}`` and ``{scale}`` are filled in, no shell is
involved, and each file is one run. Writes the tables, and the same as JSON beside them. What is checked, and how
strictly, stands in ``tests/fidelity/checks.py``.
"""

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fidelity import table
from tests.fidelity.suite import command, run_suite

INTRODUCTION = """# File fidelity

Does what goes into a file come out of it? {count} input files of every kind that people have, enlarged x{scale} by each
command, one run a file. `mode`: same file format, gray stays gray, colour stays colour, alpha stays. `depth`: 16 bits
stay 16. `colour`: near bicubic of the input. `alpha`: exactly 0 and 255 where the input is. `fringe`: no dark border
around what is cut out. `upright`: shown as the input is, whatever its EXIF orientation. `ICC`, `EXIF`: kept.

Reproduce it with `python benchmarks/fidelity.py -o docs/results/fidelity.md` and these commands, as
`--command 'NAME=COMMAND'`:

{commands}

{note}Measured on {host}.
"""


def main() -> int:
    """Score each command; ends with 1 if any file of the first one is not all right."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--command", metavar="NAME=COMMAND", action="append", required=True)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--note", default="", help="a sentence for the top of the page")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a Markdown file; JSON is written beside it")
    options = parser.parse_args()
    commands = dict(text.split("=", 1) for text in options.command)
    scores = {}
    for name, template in commands.items():
        with tempfile.TemporaryDirectory() as folder:
            scores[name] = run_suite(command(template), Path(folder), options.scale)
        print(table.summary({name: scores[name]}), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(_text(commands, scores, options.scale, options.note), encoding="utf-8")
    record = {"scale": options.scale, "host": _host(), "note": options.note, "commands": commands}
    record["results"] = {name: [result.to_dict() for result in results] for name, results in scores.items()}
    text = json.dumps(record, indent=1, ensure_ascii=False)
    options.output.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    first = next(iter(scores.values()))
    return int(any(result.failed for result in first))


def _text(commands: dict[str, str], scores: table.Scores, scale: int, note: str) -> str:
    listed = "\n".join(f"- {name}: `{template}`" for name, template in commands.items())
    count = len(next(iter(scores.values())))
    note = f"{note} " if note else ""
    head = INTRODUCTION.format(count=count, scale=scale, commands=listed, note=note, host=_host())
    parts = [head, table.summary(scores)]
    for name, results in scores.items():
        parts += [f"## {name}\n", table.grid(results), f"<details><summary>Each file of {name}</summary>\n"]
        parts += [table.details(results), "</details>\n"]
    return "\n".join(parts)


def _host() -> str:
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
