"""Measure trained small networks beside the official weights of the same configuration.

    python benchmarks/small_networks.py RUN/model.safetensors ... --data DIR --official DIR

``--data`` holds Set5, Set14 and val; ``--official`` the published files. Writes ``small_networks.json`` and ``.md`` in
``docs/results``. The recipes of the same names in ``recipes/`` train the networks.
"""

import argparse
import json
from pathlib import Path

from thinlens.bench.quality import evaluate, list_images
from thinlens.model.file import Model, read_model
from thinlens.runtime.session import Session
from thinlens.train.importer import import_weights, official_name
from thinlens.train.networks import find_configuration

SETS = ("Set5", "Set14", "val")
RESULTS = Path(__file__).parents[1] / "docs" / "results"
HEAD = """# Small networks: ours beside the official weights

PSNR in dB on Set5 / Set14 / our validation images by protocol P1 (luma of the 8-bit image, border of `scale` pixels
cut). Ours are trained on permissively licensed images only, by the recipes of the same names. MACs: per output pixel.
`python benchmarks/small_networks.py` measures and writes this page.

| network | MACs | steps | minutes | ours | official |
|---|--:|--:|--:|---|---|
"""


def measure(model: Model, data: Path) -> dict[str, float]:
    """PSNR on all sets, dB."""
    run, scale = Session(model).run, model.card.scale
    return {
        name: round(evaluate(run, list_images(data / name), scale=scale, colour=False).psnr_y_db, 4) for name in SETS
    }


def main() -> None:
    """Measure, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--official", type=Path, required=True)
    arguments = parser.parse_args()
    records, lines = [], []
    for path in sorted(arguments.models):
        ours = read_model(path)
        name = ours.card.name
        stem = official_name(find_configuration(name))
        official = import_weights(arguments.official / f"{stem}.model", name=name).model
        figures = [measure(model, arguments.data) for model in (ours, official)]
        training = ours.card.training
        records.append(
            {
                "network": name,
                "macs_per_pixel": ours.card.macs_per_pixel,
                "steps": training.steps,
                "minutes": training.minutes,
                "recipe_sha256": training.recipe_sha256,
                "ours": figures[0],
                "official": figures[1],
            }
        )
        cells = [" / ".join(f"{figure[s]:.3f}" for s in SETS) for figure in figures]
        cost = f"{ours.card.macs_per_pixel:,.0f} | {training.steps:,} | {training.minutes}"
        lines.append(f"| `{name}` | {cost} | {cells[0]} | {cells[1]} |")
        print(lines[-1], flush=True)
    (RESULTS / "small_networks.json").write_text(json.dumps(records, indent=1) + "\n")
    (RESULTS / "small_networks.md").write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
