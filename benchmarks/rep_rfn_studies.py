"""The studies of RepRFN's paper at 16 channels: equal steps, three seeds, mean and spread.

    python benchmarks/rep_rfn_studies.py STUDY ... --data DIR --runs DIR [--steps 3000] [--seeds 0 1 2]

STUDY is one of blocks, redundancy, branches, losses, optimisers, or ``all``. ``--data`` holds train, train_extra, val,
Set5 and Set14; ``--runs`` keeps what was trained: a second call goes on where the first was stopped, whatever the
moment. Writes ``docs/results/rep_rfn_studies.json`` and ``.md`` after each network; what they hold of other networks
stays. In ``optimisers`` the time is equal and not the steps: those of the slower ones are cut by what a step takes.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import torch

from thinlens.bench.quality import evaluate, list_images
from thinlens.model.file import Model, read_model, write_model
from thinlens.runtime.session import Session
from thinlens.train.blocks.rep_conv import BRANCHES
from thinlens.train.datasets.images import find_images
from thinlens.train.datasets.pairs import Pair, iter_pairs
from thinlens.train.loop import Watch
from thinlens.train.networks import find_configuration
from thinlens.train.pipeline import to_model, train_network
from thinlens.train.recipe import Recipe, to_recipe

RESULTS = Path(__file__).parents[1] / "docs" / "results"
FOLDERS = ["train/cid22", "train/clic2025_half", "train_extra"]
SETS = ("val", "Set5", "Set14")
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36}  # 95 %, by the number of seeds
TRIAL_STEPS = 30  # by which the time of a step is taken

# All studies train alike but for what they study: the paper's loss, RepRFN's own optimiser here.
LOOP = {
    "kind": "plain",
    "batch": 8,
    "crop": 32,
    "lr": 3e-3,
    "warmup": 100,
    "optimiser": "soap",
    "loss": "charbonnier",
    "fourier": 0.1,
    "checkpoint_every": 500,
}
REP_RFN, PLAIN = "rep_rfn_w16_x4", "rfn_rfb1_unmixed_reduced_w16_x4"


@dataclass(frozen=True)
class Variant:
    """One network of a study; what of the loop is changed for it."""

    name: str
    network: str
    loop: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """What is compared, the first variant being the one that others are held against, and what the paper found."""

    title: str
    paper: str
    variants: tuple[Variant, ...]
    equal_time: bool = False


STUDIES = {
    "blocks": Study(
        "Residual feature blocks",
        "RFB1 = RFB3, RFB2 slightly below; RFDN* about 0.02 dB above RFN (DIV2K validation, 48 channels)",
        (
            *(Variant(block, f"rfn_{block}_w16_x4") for block in ("plain", "rfb1", "rfb2", "rfb3")),
            Variant("rfb1, a skip around each convolution", "rfn_rfb1_each_w16_x4"),
            Variant("RFDN*", "rfdn_w16_x4"),
        ),
    ),
    "redundancy": Study(
        "What the authors left out",
        "the 1x1 convolution and two of the attention's three go without loss",
        (
            Variant("rfb1", "rfn_rfb1_w16_x4"),
            Variant("without the 1x1 convolution", "rfn_rfb1_unmixed_w16_x4"),
            Variant("attention reduced", "rfn_rfb1_reduced_w16_x4"),
            Variant("both", PLAIN),
            Variant("RFDN*", "rfdn_w16_x4"),
            Variant("RFDN*, attention reduced", "rfdn_reduced_w16_x4"),
        ),
    ),
    "branches": Study(
        "Branches, each left out",
        "not told one by one",
        (
            Variant("all nine", REP_RFN),
            *(
                Variant(f"without {gone}", REP_RFN, {"branches": [b for b in BRANCHES if b != gone]})
                for gone in BRANCHES
            ),
            Variant("3x3 alone", REP_RFN, {"branches": ["3x3"]}),
        ),
    ),
    "losses": Study(
        "Losses, with and without the Fourier loss",
        "Charbonnier above L1; the Fourier loss above none",
        tuple(
            Variant(f"{loss}{' + Fourier' if weight else ''}", REP_RFN, {"loss": loss, "fourier": weight})
            for loss in ("charbonnier", "l1", "l2")
            for weight in (0.1, 0.0)
        ),
    ),
    "optimisers": Study(
        "Branches and optimisers, equal time",
        "trained by Adam, with branches",
        tuple(
            Variant(f"{optimiser}, {'branches' if branches else 'plain'}", network, {"optimiser": optimiser, "lr": lr})
            for optimiser, lr in (("adam", 5e-4), ("soap", LOOP["lr"]))
            for branches, network in ((True, REP_RFN), (False, PLAIN))
        ),
        equal_time=True,
    ),
}


def recipe_for(variant: Variant, steps: int, seed: int) -> Recipe:
    """The recipe of one training."""
    data = {"train": FOLDERS, "val": ["val"], "terms": "permissive"}
    loop = LOOP | variant.loop | {"steps": steps}
    return to_recipe({"network": variant.network, "data": data, "loop": loop, "seed": seed, "schedule": "short"})


@lru_cache(maxsize=1)
def pairs_of(data: Path) -> list[Pair]:
    """All training pairs, in colour, at x4."""
    folders = find_images(data, tuple(FOLDERS), permissive=True)
    return list(iter_pairs((path for folder in folders for path in folder.files), 4, 3))


def train(recipe: Recipe, data: Path, directory: Path) -> Model:
    """Train, or go on, or take what an earlier call has trained, in the training's own folder."""
    path = directory / "model.safetensors"
    if not path.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        network = train_network(recipe, find_configuration(recipe.network), pairs_of(data), [], Watch(folder=directory))
        minutes = round((time.monotonic() - begun) / 60, 2)
        sources = tuple(folder.source() for folder in find_images(data, recipe.data.train))
        write_model(path, to_model(network, recipe, sources, minutes))
    return read_model(path)


def step_seconds(variant: Variant, data: Path) -> float:
    """What a step of a variant takes, the first ones left out."""
    times = []
    recipe = recipe_for(variant, TRIAL_STEPS, 0)
    for steps in (TRIAL_STEPS // 3, TRIAL_STEPS):
        loop = msgspec.structs.replace(recipe.loop, steps=steps)
        begun = time.monotonic()
        trial = msgspec.structs.replace(recipe, loop=loop)
        train_network(trial, find_configuration(recipe.network), pairs_of(data), [], Watch())
        times.append(time.monotonic() - begun)
    return (times[1] - times[0]) / (TRIAL_STEPS - TRIAL_STEPS // 3)


def steps_of(study: Study, steps: int, data: Path, runs: Path) -> dict[str, int]:
    """Steps of each variant; where the time is to be equal, kept, so that a second call trains the same."""
    if not study.equal_time:
        return dict.fromkeys((variant.name for variant in study.variants), steps)
    path = runs / f"equal_time-{steps}.json"
    if not path.is_file():
        seconds = {variant.name: step_seconds(variant, data) for variant in study.variants}
        fastest = min(seconds.values())
        runs.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({name: round(steps * fastest / taken) for name, taken in seconds.items()}))
    found: dict[str, int] = json.loads(path.read_text())
    return found


def measure(model: Model, data: Path, kept: Path) -> dict[str, dict[str, float]]:
    """PSNR on Y and RGB, and SSIM, on all sets; kept in a file, because studies share trainings."""
    if kept.is_file():
        known: dict[str, dict[str, float]] = json.loads(kept.read_text())
        return known
    session, found = Session(model, threads=1), {}
    for name in SETS:
        quality = evaluate(session.run, list_images(data / name), scale=model.card.scale, colour=True)
        found[name] = {
            "psnr_y_db": round(quality.psnr_y_db, 4),
            "psnr_rgb_db": round(quality.psnr_rgb_db or 0.0, 4),
            "ssim_y": round(quality.ssim_y, 5),
        }
    kept.write_text(json.dumps(found))
    return found


def iter_rows(names: Sequence[str], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a training, all variants of a seed before the next seed."""
    for name in names:
        study = STUDIES[name]
        steps = steps_of(study, arguments.steps, arguments.data, arguments.runs)
        for seed in arguments.seeds:
            for variant in study.variants:
                recipe = recipe_for(variant, steps[variant.name], seed)
                directory = arguments.runs / f"{recipe.network}-{recipe.sha256()[:12]}"
                model = train(recipe, arguments.data, directory)
                yield {
                    "study": name,
                    "variant": variant.name,
                    "network": variant.network,
                    "seed": seed,
                    "steps": recipe.loop.steps,
                    "of": arguments.steps,
                    "minutes": model.card.training.minutes,
                    "recipe_sha256": recipe.sha256(),
                    "host": f"{platform.machine()}, torch {torch.__version__}",
                    "quality": measure(model, arguments.data, directory / "quality.json"),
                }


def to_page(rows: list[dict[str, Any]]) -> str:
    """The record as a page."""
    page = (
        "# RepRFN's studies at 16 channels, x4\n\n"
        "`python benchmarks/rep_rfn_studies.py` trains, measures and writes this page; every figure, recipe hash and\n"
        "minute is in the record beside it. PSNR of Y in dB (Matlab's bicubic, border of 4 cut), mean over the seeds\n"
        "and, behind ±, their standard deviation. *Against*: difference to the first line, seed by seed, and the\n"
        "half width of its 95 % interval; where that covers it, the study cannot tell the two apart: `=`.\n"
    )
    for name, study in STUDIES.items():
        for steps in sorted({row["of"] for row in rows if row["study"] == name}):
            own = [row for row in rows if (row["study"], row["of"]) == (name, steps)]
            unit = f"{steps:,} steps each" if not study.equal_time else f"the time of {steps:,} steps of the fastest"
            seeds = len({row["seed"] for row in own})
            page += f"\n## {study.title}\n\n{seeds} seeds, {unit}. The paper: {study.paper}.\n\n"
            page += f"| | steps | minutes | {' | '.join(SETS)} | against, on val |\n"
            page += f"|---|--:|--:|{'--:|' * len(SETS)}---|\n"
            page += "".join(f"{line}\n" for line in _lines(study, own))
    return page


def _lines(study: Study, rows: list[dict[str, Any]]) -> Iterator[str]:
    first = _by_seed(rows, study.variants[0].name, "val")
    for variant in study.variants:
        own = [row for row in rows if row["variant"] == variant.name]
        if not own:
            continue
        cells = [variant.name, f"{own[0]['steps']:,}", f"{statistics.mean(row['minutes'] for row in own):.1f}"]
        for name in SETS:
            values = list(_by_seed(rows, variant.name, name).values())
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        mine = _by_seed(rows, variant.name, "val")
        cells.append(_against([mine[seed] - first[seed] for seed in mine if seed in first]))
        yield f"| {' | '.join(cells)} |"


def _by_seed(rows: list[dict[str, Any]], variant: str, name: str) -> dict[int, float]:
    return {row["seed"]: row["quality"][name]["psnr_y_db"] for row in rows if row["variant"] == variant}


def _against(differences: list[float]) -> str:
    """Mean difference, the half width of its 95 % interval (Student's t), and whether that covers it."""
    if not any(differences):
        return ""
    mean = statistics.mean(differences)
    if len(differences) == 1:
        return f"{mean:+.3f}"
    error = STUDENT.get(len(differences), 2.0) * statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean:+.3f} ± {error:.3f}{' =' if abs(mean) <= error else ''}"


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=[*STUDIES, "all"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    record = arguments.output / "rep_rfn_studies.json"
    rows = json.loads(record.read_text()) if record.exists() else []
    names = list(STUDIES) if "all" in arguments.studies else arguments.studies
    keys = ("study", "variant", "seed", "of")
    for row in iter_rows(names, arguments):
        rows = [*(old for old in rows if any(old[key] != row[key] for key in keys)), row]
        figures = ", ".join(f"{name} {row['quality'][name]['psnr_y_db']:.3f} dB" for name in SETS)
        print(f"{row['study']:10} {row['variant']:36} seed {row['seed']}: {figures}, {row['minutes']} min", flush=True)
        record.write_text(json.dumps(rows, indent=1) + "\n")
        record.with_suffix(".md").write_text(to_page(rows))


if __name__ == "__main__":
    main()
