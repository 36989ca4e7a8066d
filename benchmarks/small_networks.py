"""Measure trained small networks beside the official weights of the same configuration.

    python benchmarks/small_networks.py RUN/model.safetensors ... --data DIR --official DIR

``--data`` holds Set5, Set14 and val; ``--official`` the published files. Writes ``small_networks.json`` and ``.md`` in
``docs/results``; what they hold of other networks stays. The recipes of the same names in ``recipes/`` train them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from thinlens.bench.quality import evaluate, list_images
from thinlens.model.file import Model, read_model
from thinlens.runtime.session import Session
from thinlens.train.importer import import_weights, official_name
from thinlens.train.networks import find_configuration

SETS = ("Set5", "Set14", "val")
RESULTS = Path(__file__).parents[1] / "docs" / "results"
TOLERANCE_DB = 0.05
HEAD = """# Small networks: ours beside the official weights

PSNR in dB on Set5 / Set14 / our validation images by protocol P1 (luma of the 8-bit image, border of `scale` pixels
cut). Ours are trained on permissively licensed images only, by the recipes of the same names. MACs: per output pixel.
`python benchmarks/small_networks.py` measures and writes this page. All schedules are short. Official weights pad with
zeros, as published. What was tried where ours fall short: [the method's page](../methods/edge_sr.md).

| network | MACs | steps | minutes | ours | official |
|---|--:|--:|--:|---|---|
"""


def measure(model: Model, data: Path) -> dict[str, float]:
    """PSNR on all sets, dB."""
    run, scale = Session(model).run, model.card.scale
    return {
        name: round(evaluate(run, list_images(data / name), scale=scale, colour=False).psnr_y_db, 4) for name in SETS
    }


def compare(ours: Model, data: Path, folder: Path) -> dict[str, Any]:
    """One network's record: what it costs, and its quality beside the official weights in a folder."""
    name, training = ours.card.name, ours.card.training
    stem = official_name(find_configuration(name))
    official = import_weights(folder / f"{stem}.model", name=name).model
    return {
        "network": name,
        "macs_per_pixel": ours.card.macs_per_pixel,
        "steps": training.steps,
        "minutes": training.minutes,
        "recipe_sha256": training.recipe_sha256,
        "ours": measure(ours, data),
        "official": measure(official, data),
    }


def line_of(entry: dict[str, Any]) -> str:
    """A record as a row of the table."""
    ours, official = (" / ".join(f"{entry[of][name]:.3f}" for name in SETS) for of in ("ours", "official"))
    cost = f"{entry['macs_per_pixel']:,.0f} | {entry['steps']:,} | {entry['minutes']}"
    return f"| `{entry['network']}` | {cost} | {ours} | {official} |"


def shortfall(entry: dict[str, Any]) -> str:
    """A line about a network that ends more than 0.05 dB below the official one on a benchmark set; else nothing."""
    below = {name: entry["official"][name] - entry["ours"][name] for name in SETS if name != "val"}
    short = ", ".join(f"{db:.3f} dB on {name}" for name, db in below.items() if db > TOLERANCE_DB)
    curve = f"{entry['network']}_curve.svg"
    picture = f"; [its training curve]({curve})" if (RESULTS / curve).is_file() else ""
    return f"- `{entry['network']}` falls short by {short}{picture}.\n" if short else ""


def page(entries: list[dict[str, Any]]) -> str:
    """The whole page: the table, and which networks fall short."""
    short = "".join(map(shortfall, entries)) or f"None falls short by more than {TOLERANCE_DB} dB on Set5 or Set14.\n"
    return HEAD + "\n".join(map(line_of, entries)) + f"\n\n{short}"


def main() -> None:
    """Measure, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--official", type=Path, required=True)
    arguments = parser.parse_args()
    record = RESULTS / "small_networks.json"
    records = {entry["network"]: entry for entry in json.loads(record.read_text())} if record.exists() else {}
    for path in arguments.models:
        entry = compare(read_model(path), arguments.data, arguments.official)
        records[entry["network"]] = entry
        print(line_of(entry), flush=True)
    ordered = [records[name] for name in sorted(records)]
    record.write_text(json.dumps(ordered, indent=1) + "\n")
    (RESULTS / "small_networks.md").write_text(page(ordered))


if __name__ == "__main__":
    main()
