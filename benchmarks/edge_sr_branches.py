"""One-layer upscalers: trained through branches, plainly, and by the whitened trainer, for the same time.

    python benchmarks/edge_sr_branches.py --data DIR [--seconds 10] [--seeds 0 1 2]

Each way gets so many steps that it takes ``--seconds`` of one processor, drawing its patches included, by what its
first steps take. Whitened: the shared-phase trainer, two starts. The others train the network end to end on crops, at
the best of three rates on val. Writes ``docs/results/edge_sr_branches.json`` and ``.md``; what they hold is not
trained again.
"""

import argparse
import json
import statistics
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from studies import FOLDERS, RESULTS, against

from thinlens.bench.quality import evaluate, list_images
from thinlens.runtime.session import Session
from thinlens.train.blocks.rep_conv import BRANCHES
from thinlens.train.datasets.images import find_images
from thinlens.train.datasets.pairs import Pair, iter_pairs
from thinlens.train.loop import Watch
from thinlens.train.networks import find_configuration
from thinlens.train.pipeline import to_model, train_network
from thinlens.train.recipe import Recipe, to_recipe

NETWORKS = ("edge_sr_max_k3_c1_x2", "edge_sr_max_k3_c4_x2")
SETS = ("val", "Set5", "Set14")
WHITENED: dict[str, Any] = {"kind": "shared_phase", "patches": 1_000_000, "val_patches": 100_000}
CROPS: dict[str, Any] = {"kind": "plain", "batch": 16, "crop": 32, "warmup": 20}
BRANCHED = {"branches": list(BRANCHES)}
RATES = (1e-3, 3e-3, 1e-2)
WAYS: dict[str, list[dict[str, Any]]] = {
    "whitened": [WHITENED],
    "SOAP, plain": [CROPS | {"lr": lr} for lr in RATES],
    "SOAP, nine branches": [CROPS | BRANCHED | {"lr": lr} for lr in RATES],
    "Adam, plain": [CROPS | {"optimiser": "adam", "lr": lr} for lr in RATES],
    "Adam, nine branches": [CROPS | BRANCHED | {"optimiser": "adam", "lr": lr} for lr in RATES],
}
TRIAL = (20, 420)  # steps by which the time of a step, and of what comes before, are told
Row = dict[str, Any]


@lru_cache(maxsize=2)
def pairs_of(data: Path, folders: tuple[str, ...], scale: int) -> list[Pair]:
    """Luma pairs of some folders."""
    found = find_images(data, folders, permissive=folders != ("val",))
    return list(iter_pairs((path for folder in found for path in folder.files), scale, 1))


def recipe_of(network: str, loop: dict[str, Any], steps: int, seed: int) -> Recipe:
    """The recipe of one training."""
    data = {"train": FOLDERS, "val": ["val"], "terms": "permissive"}
    loop = loop | {"steps": steps, "checkpoint_every": steps}
    return to_recipe({"network": network, "data": data, "loop": loop, "seed": seed, "schedule": "short"})


def train(recipe: Recipe, data: Path) -> tuple[Any, float]:
    """The trained network, and the processor's seconds."""
    configuration = find_configuration(recipe.network)
    pairs, val = (pairs_of(data, tuple(folders), configuration.scale) for folders in (FOLDERS, ["val"]))
    begun = time.process_time()
    network = train_network(recipe, configuration, pairs, val, Watch())
    return network, time.process_time() - begun


def steps_in(seconds: float, network: str, loop: dict[str, Any], data: Path) -> int:
    """Steps that fit into a time."""
    few, more = (train(recipe_of(network, loop, steps, 0), data)[1] for steps in TRIAL)
    step = max(1e-5, (more - few) / (TRIAL[1] - TRIAL[0]))
    return max(TRIAL[1], round((seconds - (few - TRIAL[0] * step)) / step))


def measure(model: Any, data: Path, sets: tuple[str, ...]) -> dict[str, float]:
    """PSNR on luma, dB."""
    run, scale = Session(model, threads=1).run, model.card.scale
    found = {name: evaluate(run, list_images(data / name), scale=scale, colour=False) for name in sets}
    return {name: round(quality.psnr_y_db, 4) for name, quality in found.items()}


def row_of(arguments: argparse.Namespace, network: str, way: str, loop: dict[str, Any], steps: int, seed: int) -> Row:
    """Train and measure once."""
    recipe = recipe_of(network, loop, steps, seed)
    trained, seconds = train(recipe, arguments.data)
    model = to_model(trained, recipe, (), None)
    row = {"network": network, "way": way, "seed": seed, "steps": steps, "seconds": round(seconds, 1)}
    row |= {"lr": recipe.loop.lr, "budget": arguments.seconds, "recipe_sha256": recipe.sha256()}
    return row | {"psnr_y_db": measure(model, arguments.data, SETS)}


def best_loop(arguments: argparse.Namespace, network: str, loops: list[dict[str, Any]], steps: int) -> dict[str, Any]:
    """The rate that is best on val after a third of the steps, seed 0."""
    if len(loops) == 1:
        return loops[0]

    def psnr(loop: dict[str, Any]) -> float:
        recipe = recipe_of(network, loop, max(1, steps // 3), 0)
        model = to_model(train(recipe, arguments.data)[0], recipe, (), None)
        return measure(model, arguments.data, ("val",))["val"]

    return max(loops, key=psnr)


def to_page(rows: list[Row]) -> str:
    """The record as a page."""
    page = (
        "# One-layer upscalers: branches against the whitened trainer, for the same time\n\n"
        "`python benchmarks/edge_sr_branches.py` trains, measures and writes this page. PSNR of luma in dB, mean over\n"
        "the seeds and their standard deviation; *against*: difference to the whitened trainer on val, seed by seed,\n"
        "and the half width of its 95 % interval (`=`: it covers the difference). Seconds: of one processor.\n"
    )
    for network in dict.fromkeys(row["network"] for row in rows):
        page += f"\n## {network}\n\n| | rate | steps | seconds | {' | '.join(SETS)} | against |\n"
        page += f"|---|--:|--:|--:|{'--:|' * len(SETS)}---|\n"
        own = [row for row in rows if row["network"] == network]
        first = {row["seed"]: row["psnr_y_db"]["val"] for row in own if row["way"] == "whitened"}
        for way in dict.fromkeys(row["way"] for row in own):
            page += _line(way, [row for row in own if row["way"] == way], first)
    return page


def _line(way: str, rows: list[Row], first: dict[int, float]) -> str:
    cells = [way, f"{rows[0]['lr']:g}", f"{rows[0]['steps']:,}", f"{statistics.mean(r['seconds'] for r in rows):.0f}"]
    for name in SETS:
        values = [row["psnr_y_db"][name] for row in rows]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.3f}{spread}")
    cells.append(against([row["psnr_y_db"]["val"] - first[row["seed"]] for row in rows if row["seed"] in first]))
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    record = arguments.output / "edge_sr_branches.json"
    rows: list[Row] = json.loads(record.read_text()) if record.exists() else []
    for network in arguments.networks:
        for way, loops in WAYS.items():
            known = {row["seed"] for row in rows if (row["network"], row["way"]) == (network, way)}
            seeds = [seed for seed in arguments.seeds if seed not in known]
            if not seeds:
                continue
            steps = steps_in(arguments.seconds, network, loops[0], arguments.data)
            loop = best_loop(arguments, network, loops, steps)
            for seed in seeds:
                rows.append(row_of(arguments, network, way, loop, steps, seed))
                print(rows[-1], flush=True)
                record.write_text(json.dumps(rows, indent=1) + "\n")
                record.with_suffix(".md").write_text(to_page(rows))


if __name__ == "__main__":
    main()
