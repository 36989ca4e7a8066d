"""Train the one-layer upscalers beside the official weights and measure both by protocol P1.

    python benchmarks/one_layer.py --data DIR --runs DIR --official DIR

``--data`` holds train, train_extra, val, Set5 and Set14; ``--runs`` keeps what was trained (a second call goes on where
the first was stopped); ``--official`` holds the published ``eSR-*.model`` files. Writes ``docs/results/one_layer.json``
and ``one_layer.md``. One core, all networks on both sets of training images: about an hour.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from thinlens.bench.quality import Quality, evaluate, list_images
from thinlens.model.file import Model, read_model, write_model
from thinlens.train.datasets.images import find_images
from thinlens.train.datasets.pairs import Pair, iter_pairs
from thinlens.train.importer import import_weights, official_name
from thinlens.train.loop import Watch
from thinlens.train.networks import find_configuration
from thinlens.train.pipeline import to_model, train_network
from thinlens.train.recipe import Recipe, read_recipe, to_recipe
from thinlens.train.thaw import thaw

Column = Literal["permissive", "all"]
Float32Image = npt.NDArray[np.float32]

ROOT = Path(__file__).parents[1]
SCALES = (2, 3, 4)
SETS = ("Set5", "Set14", "val")
FOLDERS: dict[Column, list[str]] = {
    "permissive": ["train/cid22", "train/clic2025_half", "train_extra"],
    "all": ["train", "train_extra"],
}

# (kind, K, C); official weights exist for all but the last.
NETWORKS = [
    *(("max", k, c) for k, c in ((3, 1), (5, 2), (7, 2), (7, 4))),
    *(("tm", k, c) for k, c in ((5, 2), (5, 4), (7, 4))),
    *(("tr", k, c) for k, c in ((5, 2), (5, 4), (7, 2), (7, 5), (7, 16))),
]
HEAD = """# One-layer upscalers: ours beside the official weights

`python benchmarks/one_layer.py` trains, measures and writes this page; the record beside it holds every figure, the
hashes of the recipes and the host. PSNR in dB on Set5 / Set14 by protocol P1 (luma of the 8-bit image, border of
`scale` pixels cut). *Permissive*: trained on images that let the weights be used in products; shipped models are among
these. *All*: on BSDS500 and T91 as well, as in the papers. The gain is that of the permissive column over the official
weights. MACs are per output pixel.
"""


def names(scales: Iterable[int]) -> list[str]:
    """The configurations of the table, cheap kinds first within a scale."""
    return [f"edge_sr_{kind}_k{k}_c{c}_x{scale}" for scale in scales for kind, k, c in NETWORKS]


def recipe_for(name: str, column: Column) -> Recipe:
    """The shipped recipe where there is one, else a shorter one of the same kind."""
    shipped = ROOT / "recipes" / f"{name}.toml"
    if column == "permissive" and shipped.is_file():
        return read_recipe(shipped)
    loop = {"kind": "shared_phase", "steps": 10_000, "patches": 8_000_000, "starts": 2}
    if "_max_" in name:
        loop |= {"steps": 6_000, "patches": 4_000_000, "starts": 4}
    data = {"train": FOLDERS[column], "val": ["val"], "terms": "permissive" if column == "permissive" else "any"}
    return to_recipe({"network": name, "data": data, "loop": loop})


@lru_cache(maxsize=4)
def pairs_of(root: Path, folders: tuple[str, ...], scale: int) -> list[Pair]:
    """Pairs of all images of some folders; kept, because many networks are trained on the same."""
    return list(iter_pairs((path for folder in find_images(root, folders) for path in folder.files), scale))


def path_of(name: str, column: Column, runs: Path) -> Path:
    """Where a network is kept: in a folder that bears its recipe's hash."""
    return runs / column / f"{name}-{recipe_for(name, column).sha256()[:8]}" / "model.safetensors"


def train(name: str, column: Column, data: Path, runs: Path) -> Model:
    """Train a network, or take it from an earlier call."""
    recipe, path = recipe_for(name, column), path_of(name, column, runs)
    directory = path.parent
    if not path.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        configuration, begun = find_configuration(name), time.monotonic()
        pairs = pairs_of(data, recipe.data.train, configuration.scale)
        val = pairs_of(data, recipe.data.val, configuration.scale)
        network = train_network(recipe, configuration, pairs, val, Watch("training", directory))
        minutes = round((time.monotonic() - begun) / 60, 2)
        sources = tuple(folder.source() for folder in find_images(data, recipe.data.train))
        write_model(path, to_model(network, recipe, sources, minutes))
    return read_model(path)


def measure(model: Model, data: Path) -> dict[str, Any]:
    """PSNR and SSIM of a model on all sets, through its torch form."""
    module = thaw(model.plan, model.tensors)

    def run(lq: Float32Image) -> Float32Image:
        with torch.inference_mode():
            restored: Float32Image = module(torch.from_numpy(lq)[None, None])[0, 0].numpy()
        return restored

    scale = model.card.scale
    found: dict[str, Quality] = {
        name: evaluate(run, list_images(data / name), scale=scale, colour=False)
        for name in SETS
        if (data / name).is_dir()
    }
    return {
        name: {"psnr_y_db": round(q.psnr_y_db, 4), "ssim_y": round(q.ssim_y, 5), "count": q.count}
        for name, q in found.items()
    }


def iter_rows(wanted: list[str], columns: list[Column], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a network and column, as they come; the official weights are a column of their own."""
    for name in wanted:
        official = arguments.official and arguments.official / f"{official_name(find_configuration(name))}.model"
        if official and official.is_file():
            model = import_weights(official, name=name).model
            yield to_row(name, "official", model, arguments.data)
    for column in columns:
        for name in wanted:
            if arguments.trained and not path_of(name, column, arguments.runs).is_file():
                continue
            yield to_row(name, column, train(name, column, arguments.data, arguments.runs), arguments.data)


def to_row(name: str, column: str, model: Model, data: Path) -> dict[str, Any]:
    """What the record holds about one network."""
    card = model.card
    return {
        "network": name,
        "column": column,
        "scale": card.scale,
        "params": card.params,
        "macs_per_pixel": card.macs_per_pixel,
        "recipe_sha256": card.training.recipe_sha256,
        "minutes": card.training.minutes,
        "quality": measure(model, data),
    }


def to_page(rows: list[dict[str, Any]]) -> str:
    """The record as a Markdown page: one table a scale."""
    by_key = {(row["network"], row["column"]): row for row in rows}
    page = HEAD
    for scale in sorted({row["scale"] for row in rows}):
        page += f"\n## x{scale}\n\n| network | parameters | MACs | permissive | all | official | gain |\n"
        page += "|---|--:|--:|--:|--:|--:|--:|\n"
        for name in dict.fromkeys(row["network"] for row in rows if row["scale"] == scale):
            ours, everything, official = (by_key.get((name, c)) for c in ("permissive", "all", "official"))
            known = ours or everything or official or {}
            cells = [f"`{name}`", f"{known['params']}", f"{known['macs_per_pixel']:g}"]
            cells += [_figures(row) for row in (ours, everything, official)]
            page += f"| {' | '.join([*cells, _gain(ours or everything, official)])} |\n"
    return page


def _figures(row: dict[str, Any] | None) -> str:
    return " / ".join(f"{row['quality'][s]['psnr_y_db']:.3f}" for s in SETS[:2]) if row else ""


def _gain(ours: dict[str, Any] | None, official: dict[str, Any] | None) -> str:
    if ours is None or official is None:
        return ""
    gains = (ours["quality"][s]["psnr_y_db"] - official["quality"][s]["psnr_y_db"] for s in SETS[:2])
    return " / ".join(f"{gain:+.3f}" for gain in gains)


def write_results(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write record and page."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    record = {
        "what": "PSNR and SSIM of one-layer upscalers, ours and the official weights",
        "protocol": "P1: 8-bit luma, border of `scale` pixels cut, mapped to studio range; mean over images",
        "host": {"machine": platform.machine(), "system": platform.system(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "commit": commit,
        "rows": rows,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one_layer.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / "one_layer.md").write_text(to_page(rows), encoding="utf-8")


def main() -> int:
    """Train, measure, write; ends with 1 if a network of ours is not above its official one on both sets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that holds train, train_extra, val, Set5, Set14"
    )
    parser.add_argument("--runs", type=Path, required=True, help="where trained networks are kept")
    parser.add_argument("--official", type=Path, help="folder of the official .model files")
    parser.add_argument("--columns", nargs="*", choices=list(FOLDERS), default=list(FOLDERS))
    parser.add_argument("--scales", nargs="*", type=int, choices=SCALES, default=list(SCALES))
    parser.add_argument("--only", default="", help="only networks whose name holds this")
    parser.add_argument("--trained", action="store_true", help="train nothing: only what RUNS already holds")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [name for name in names(arguments.scales) if arguments.only in name]
    rows = []
    for row in iter_rows(wanted, arguments.columns, arguments):
        rows.append(row)
        print(f"{row['network']:24} {row['column']:10} {_figures(row)}", flush=True)
    write_results(rows, arguments.output)
    official = {row["network"]: row for row in rows if row["column"] == "official"}
    gains = [_gain(row, official.get(row["network"])) for row in rows if row["column"] != "official"]
    return 1 if any("-" in gain for gain in gains) else 0


if __name__ == "__main__":
    sys.exit(main())
