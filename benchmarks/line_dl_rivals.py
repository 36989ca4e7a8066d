"""LineDL beside ordinary networks after equal minutes of training: denoising, and x4 beside small upscalers.

    python benchmarks/line_dl_rivals.py denoise|sr ... --data DIR --runs DIR [--minutes 5] [--seeds 0]

A few steps of each network are timed first, in processor time of one thread, and its training is as long as fits the
minutes. ``--data`` holds train, train_extra, val and the sets that are measured on; ``--runs`` keeps the steps and what
was trained: a second call goes on where the first was stopped. Writes ``docs/results/line_dl_rivals.json`` and ``.md``
after each network; what they hold of other networks stays.
"""

import argparse
import json
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from studies import FOLDERS, RESULTS, pairs_of

from thinlens.bench.quality import evaluate, list_images
from thinlens.model.file import Model, read_model, write_model
from thinlens.runtime.session import Session
from thinlens.train.datasets.images import find_images
from thinlens.train.loop import Watch
from thinlens.train.networks import find_configuration
from thinlens.train.pipeline import to_model, train_network
from thinlens.train.recipe import Recipe, to_recipe

SIGMA, TRIAL = 25.0, (5, 25)  # of the noise; steps of two trials, whose difference is timed
Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """Networks that do the same, the first of them LineDL's.

    Args:
        title: of its table.
        networks: name of a configuration -> what of the loop is its own.
        loop: how all of them train.
        data: the damage, as a recipe has it.
        sets: measured on.
        channel: of the PSNR, ``rgb`` or ``y``.
    """

    title: str
    networks: dict[str, dict[str, Any]]
    loop: dict[str, Any]
    sets: tuple[str, ...]
    channel: str
    data: dict[str, Any] = field(default_factory=dict)


TASKS = {
    "denoise": Task(
        f"RGB noise of sigma {SIGMA:g}, PSNR over RGB in dB",
        {
            "line_dn_w16": {"bands": 8, "lr": 3e-3},
            "dncnn_d20_w16_denoise": {"lr": 5e-3},
            "unet_denoise_w8": {"lr": 3e-3},
        },
        {"batch": 8, "crop": 48, "warmup": 100, "loss": "l2"},
        ("val", "CBSD68", "McMaster"),
        "rgb",
        {"sigma": [SIGMA, SIGMA]},
    ),
    "sr": Task(
        "x4, PSNR of Y in dB",
        {
            "line_sr_w16_x4": {"bands": 8, "lr": 3e-3},
            "rfdn_w16_x4": {"lr": 3e-3},
            "imdn_w16_x4": {"lr": 3e-3},
            "fsrcnn_d56_s12_m4_x4": {"lr": 3e-3},
            "espcn_d64_s32_x4": {"lr": 3e-3},
        },
        {"batch": 8, "crop": 24, "warmup": 100, "loss": "l1"},
        ("val", "Set5", "Set14", "B100"),
        "y",
    ),
}


def recipe_for(task: Task, network: str, steps: int, seed: int) -> Recipe:
    """The recipe of one training."""
    loop = {"kind": "plain", "checkpoint_every": 500, "steps": steps, **task.loop, **task.networks[network]}
    data = {"train": FOLDERS, "val": ["val"], "terms": "permissive", **task.data}
    return to_recipe({"network": network, "data": data, "loop": loop, "seed": seed, "schedule": "short"})


def train(recipe: Recipe, data: Path, watch: Watch) -> Model:
    """Train by a recipe."""
    configuration, begun = find_configuration(recipe.network), time.process_time()
    network = train_network(
        recipe, configuration, pairs_of(data, configuration.scale, configuration.channels), [], watch
    )
    sources = tuple(folder.source() for folder in find_images(data, recipe.data.train))
    return to_model(network, recipe, sources, round((time.process_time() - begun) / 60, 2))


def steps_for(task: Task, network: str, arguments: argparse.Namespace) -> int:
    """How many steps fit the minutes; found once."""
    kept = arguments.runs / f"steps-{network}-{arguments.minutes:g}.json"
    if not kept.is_file():
        taken = []
        for steps in TRIAL:
            begun = time.process_time()
            train(recipe_for(task, network, steps, 0), arguments.data, Watch())
            taken.append(time.process_time() - begun)
        one = (taken[1] - taken[0]) / (TRIAL[1] - TRIAL[0])
        kept.write_text(json.dumps(round(60 * arguments.minutes / one, -1)))
    return int(json.loads(kept.read_text()))


def measure(model: Model, task: Task, data: Path) -> dict[str, float]:
    """PSNR by set."""
    session, colour = Session(model, threads=1), model.card.colour == "rgb"
    asked: dict[str, Any] = {"sigma": SIGMA} if task.data else {"scale": model.card.scale}
    found = {}
    for name in task.sets:
        quality = evaluate(session.run, list_images(data / name), colour=colour, **asked)
        found[name] = round((quality.psnr_rgb_db if task.channel == "rgb" else quality.psnr_y_db) or 0.0, 4)
    return found


def row_of(task: Task, network: str, seed: int, arguments: argparse.Namespace) -> Row:
    """Train and measure one network; what is done is found again."""
    pairs_of(arguments.data, find_configuration(network).scale, find_configuration(network).channels)
    recipe = recipe_for(task, network, steps_for(task, network, arguments), seed)
    folder = arguments.runs / f"{network}-{recipe.sha256()[:12]}"
    folder.mkdir(exist_ok=True)
    path, kept = folder / "model.safetensors", folder / "quality.json"
    if not path.is_file():
        write_model(path, train(recipe, arguments.data, Watch(folder=folder)))
    model = read_model(path)
    if not kept.is_file():
        kept.write_text(json.dumps(measure(model, task, arguments.data)))
    return {
        "network": network,
        "seed": seed,
        "minutes": arguments.minutes,
        "steps": recipe.loop.steps,
        "params": model.card.params,
        "macs_per_pixel": round(model.card.macs_per_pixel, 1),
        "recipe_sha256": recipe.sha256(),
        "host": f"{platform.machine()}, torch {torch.__version__}",
        "quality": json.loads(kept.read_text()),
    }


def to_page(rows: list[Row]) -> str:
    """The record as a page."""
    page = (
        "# LineDL beside ordinary networks, equal minutes\n\n"
        "`python benchmarks/line_dl_rivals.py` trains, measures and writes this page. Minutes: processor time of one\n"
        "thread; the hashes of the recipes are in the record beside it. Mean over the seeds.\n"
    )
    for task in TASKS.values():
        for minutes in sorted({row["minutes"] for row in rows if row["network"] in task.networks}):
            page += f"\n## {task.title}, {minutes:g} minutes\n\n"
            page += f"| network | steps | seeds | parameters | MACs a pixel | {' | '.join(task.sets)} |\n"
            page += f"|---|--:|--:|--:|--:|{'--:|' * len(task.sets)}\n"
            for network in task.networks:
                own = [row for row in rows if (row["network"], row["minutes"]) == (network, minutes)]
                if own:
                    cells = [f"`{network}`", f"{own[0]['steps']:,}", f"{len(own)}", f"{own[0]['params']:,}"]
                    cells.append(f"{own[0]['macs_per_pixel']:,.0f}")
                    cells += [f"{statistics.mean(row['quality'][name] for row in own):.2f}" for name in task.sets]
                    page += f"| {' | '.join(cells)} |\n"
    return page


def main() -> None:
    """Train, measure, write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", choices=TASKS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    record = arguments.output / "line_dl_rivals.json"
    rows: list[Row] = json.loads(record.read_text()) if record.exists() else []
    for seed in arguments.seeds:
        for task in (TASKS[name] for name in arguments.tasks):
            for network in task.networks:
                wanted = {"network": network, "seed": seed, "minutes": arguments.minutes}
                if any(wanted.items() <= row.items() for row in rows):
                    continue
                rows.append(row_of(task, network, seed, arguments))
                print(network, rows[-1]["steps"], rows[-1]["quality"], flush=True)
                record.write_text(json.dumps(rows, indent=1) + "\n")
                record.with_suffix(".md").write_text(to_page(rows))


if __name__ == "__main__":
    main()
