"""What studies by training have in common: every variant with every seed, resumable; measured; a record and a page.

Used by the scripts that say what is compared, ``rep_rfn_studies.py`` and ``bbcu_studies.py``.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import torch

from thinlens.bench.quality import evaluate, list_images
from thinlens.model.file import Model, read_model, write_model
from thinlens.runtime.session import Session
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

Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One network of a study; what of the loop is changed for it."""

    name: str
    network: str
    loop: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """What is compared, the first variant being the one that others are held against, and what the paper found.

    ``more`` makes what follows the study's table of its rows.
    """

    title: str
    paper: str
    variants: tuple[Variant, ...]
    equal_time: bool = False
    more: Callable[[list[Row]], str] | None = None


@dataclass(frozen=True)
class Campaign:
    """Studies that share a record in ``docs/results``, its title, and the loop that all train by."""

    record: str
    title: str
    studies: dict[str, Study]
    loop: dict[str, object]


def recipe_for(campaign: Campaign, variant: Variant, steps: int, seed: int) -> Recipe:
    """The recipe of one training."""
    data = {"train": FOLDERS, "val": ["val"], "terms": "permissive"}
    loop = campaign.loop | variant.loop | {"steps": steps}
    return to_recipe({"network": variant.network, "data": data, "loop": loop, "seed": seed, "schedule": "short"})


@lru_cache(maxsize=1)
def pairs_of(data: Path, scale: int = 4, channels: int = 3) -> list[Pair]:
    """All training pairs of a scale; three channels are colour."""
    folders = find_images(data, tuple(FOLDERS), permissive=True)
    return list(iter_pairs((path for folder in folders for path in folder.files), scale, channels))


def train(recipe: Recipe, data: Path, directory: Path) -> Model:
    """Train, or go on, or take what an earlier call has trained, in the training's own folder."""
    path = directory / "model.safetensors"
    if not path.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        begun, configuration = time.monotonic(), find_configuration(recipe.network)
        pairs = pairs_of(data, configuration.scale, configuration.channels)
        network = train_network(recipe, configuration, pairs, [], Watch(folder=directory))
        minutes = round((time.monotonic() - begun) / 60, 2)
        sources = tuple(folder.source() for folder in find_images(data, recipe.data.train))
        write_model(path, to_model(network, recipe, sources, minutes))
    return read_model(path)


def step_seconds(campaign: Campaign, variant: Variant, data: Path) -> float:
    """What a step of a variant takes, the first ones left out."""
    times = []
    recipe = recipe_for(campaign, variant, TRIAL_STEPS, 0)
    for steps in (TRIAL_STEPS // 3, TRIAL_STEPS):
        loop = msgspec.structs.replace(recipe.loop, steps=steps)
        begun = time.monotonic()
        trial = msgspec.structs.replace(recipe, loop=loop)
        configuration = find_configuration(recipe.network)
        pairs = pairs_of(data, configuration.scale, configuration.channels)
        train_network(trial, configuration, pairs, [], Watch())
        times.append(time.monotonic() - begun)
    return (times[1] - times[0]) / (TRIAL_STEPS - TRIAL_STEPS // 3)


def steps_of(campaign: Campaign, study: Study, steps: int, data: Path, runs: Path) -> dict[str, int]:
    """Steps of each variant; where the time is to be equal, kept, so that a second call trains the same."""
    if not study.equal_time:
        return dict.fromkeys((variant.name for variant in study.variants), steps)
    path = runs / f"equal_time-{steps}.json"
    if not path.is_file():
        seconds = {variant.name: step_seconds(campaign, variant, data) for variant in study.variants}
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


def iter_rows(
    campaign: Campaign, names: Sequence[str], arguments: argparse.Namespace, known: Sequence[Row]
) -> Iterator[Row]:
    """One row a training, all variants of a seed before the next seed; none for those that are known."""
    for name in names:
        study = campaign.studies[name]
        done = {row["variant"]: row for row in known if (row["study"], row["of"]) == (name, arguments.steps)}
        if study.equal_time and all(variant.name in done for variant in study.variants):
            steps = {variant: row["steps"] for variant, row in done.items()}
        else:
            steps = steps_of(campaign, study, arguments.steps, arguments.data, arguments.runs)
        recipes = {row["recipe_sha256"] for row in known if row["study"] == name}
        for seed in arguments.seeds:
            for variant in study.variants:
                recipe = recipe_for(campaign, variant, steps[variant.name], seed)
                if recipe.sha256() in recipes:
                    continue
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


def to_page(campaign: Campaign, rows: list[Row]) -> str:
    """The record as a page."""
    page = (
        f"# {campaign.title}\n\n"
        f"`python benchmarks/{campaign.record}.py` trains, measures and writes this page; every figure, recipe hash\n"
        "and minute is in the record beside it. PSNR of Y in dB (Matlab's bicubic, border: the scale), mean over the\n"
        "seeds and, behind ±, their standard deviation. *Against*: difference to the first line, seed by seed, and\n"
        "the half width of its 95 % interval; where that covers it, the study cannot tell the two apart: `=`.\n"
    )
    for name, study in campaign.studies.items():
        for steps in sorted({row["of"] for row in rows if row["study"] == name}):
            own = [row for row in rows if (row["study"], row["of"]) == (name, steps)]
            unit = f"{steps:,} steps each" if not study.equal_time else f"the time of {steps:,} steps of the fastest"
            seeds = len({row["seed"] for row in own})
            page += f"\n## {study.title}\n\n{seeds} seeds, {unit}. The paper: {study.paper}.\n\n"
            page += f"| | steps | minutes | {' | '.join(SETS)} | against, on val |\n"
            page += f"|---|--:|--:|{'--:|' * len(SETS)}---|\n"
            page += "".join(f"{line}\n" for line in _lines(study, own))
            page += "" if study.more is None else study.more(own)
    return page


def _lines(study: Study, rows: list[Row]) -> Iterator[str]:
    first = by_seed(rows, study.variants[0].name, "val")
    for variant in study.variants:
        own = [row for row in rows if row["variant"] == variant.name]
        if not own:
            continue
        cells = [variant.name, f"{own[0]['steps']:,}", f"{statistics.mean(row['minutes'] for row in own):.1f}"]
        for name in SETS:
            values = list(by_seed(rows, variant.name, name).values())
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        mine = by_seed(rows, variant.name, "val")
        cells.append(against([mine[seed] - first[seed] for seed in mine if seed in first]))
        yield f"| {' | '.join(cells)} |"


def by_seed(rows: list[Row], variant: str, name: str) -> dict[int, float]:
    """PSNR on Y of a variant on a set, for each seed."""
    return {row["seed"]: row["quality"][name]["psnr_y_db"] for row in rows if row["variant"] == variant}


def against(differences: list[float]) -> str:
    """Mean difference, the half width of its 95 % interval (Student's t), and whether that covers it."""
    if not any(differences):
        return ""
    mean = statistics.mean(differences)
    if len(differences) == 1:
        return f"{mean:+.3f}"
    error = STUDENT.get(len(differences), 2.0) * statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean:+.3f} ± {error:.3f}{' =' if abs(mean) <= error else ''}"


def run(campaign: Campaign, usage: str) -> None:
    """Train, measure, write what the command line asks for."""
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=[*campaign.studies, "all"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    record = arguments.output / f"{campaign.record}.json"
    rows = json.loads(record.read_text()) if record.exists() else []
    names = list(campaign.studies) if "all" in arguments.studies else arguments.studies
    keys = ("study", "variant", "seed", "of")
    for row in iter_rows(campaign, names, arguments, rows):
        rows = [*(old for old in rows if any(old[key] != row[key] for key in keys)), row]
        figures = ", ".join(f"{name} {row['quality'][name]['psnr_y_db']:.3f} dB" for name in SETS)
        print(f"{row['study']:10} {row['variant']:36} seed {row['seed']}: {figures}, {row['minutes']} min", flush=True)
        record.write_text(json.dumps(rows, indent=1) + "\n")
        record.with_suffix(".md").write_text(to_page(campaign, rows))
