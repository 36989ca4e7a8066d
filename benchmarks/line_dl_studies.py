"""LineDL's studies at a small width: RGB noise of sigma 25, equal steps, three seeds, mean and spread.

    python benchmarks/line_dl_studies.py STUDY ... --data DIR --runs DIR [--steps 1000] [--width 8] [--seeds 0 1 2]

STUDY is one of transmission (what the modules are for), memory (alignment, band height), compression (channels, layers,
and what the smaller network begins with; half the steps after each part of it), or ``all``.
``--data`` holds train, train_extra, val and CBSD68; ``--runs`` keeps what was trained: a second
call goes on where the first was stopped. Writes ``docs/results/line_dl_studies.json`` and ``.md`` after each network;
what they hold of other networks stays.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from studies import against
from torch import nn

from thinlens.bench.quality import evaluate, list_images
from thinlens.model.card import ModelCard, Training
from thinlens.model.file import Model, Tensors, read_model, write_model
from thinlens.model.plan import Plan
from thinlens.runtime.session import Session
from thinlens.train.blocks.line import truncate
from thinlens.train.compress.bidirectional import (
    Knowledge,
    compress_channels,
    compress_layers,
    middle,
    module_values,
    transmission_modules,
)
from thinlens.train.datasets.crops import CropSampler
from thinlens.train.datasets.damage import Noise
from thinlens.train.datasets.images import find_images
from thinlens.train.datasets.pairs import Pair, iter_pairs
from thinlens.train.loop import Loss, Watch, fit
from thinlens.train.losses import create_loss
from thinlens.train.lower import lower
from thinlens.train.networks.line_dl import LineConfig
from thinlens.train.recipe import Plain
from thinlens.train.thaw import thaw

RESULTS = Path(__file__).parents[1] / "docs" / "results"
FOLDERS = ("train/cid22", "train/clic2025_half", "train_extra")
SETS = ("val", "CBSD68")
SIGMA, CROP, BATCH = 25.0, 48, 4
TRUNCATE = 8  # bands over which gradients go back
SIZE = (64, 64)


FULL: dict[str, Any] = {"modules": 4, "wide": True}


@dataclass(frozen=True)
class Variant:
    """One network of a study: what of its configuration is changed."""

    name: str
    changed: dict[str, Any] = field(default_factory=dict)
    parts: tuple[tuple[str, Knowledge], ...] = ()  # of the compression, each with half the steps behind it


STUDIES = {
    "transmission": (
        "What the modules are for",
        (
            Variant("ITM"),
            Variant("ITM, state upside down", {"align": "flip"}),
            Variant("none", {"modules": 0}),
            Variant("convolutions of equal size", {"transmission": "plain"}),
            Variant("bands added up", {"transmission": "naive"}),
        ),
    ),
    "memory": (
        "Which row of the band before, and how high a band is",
        (
            Variant("ITM"),
            Variant("flip", {"align": "flip"}),
            Variant("last", {"align": "last"}),
            Variant("bands of 2", {"rows": 2, "warm_up": 2}),
            Variant("bands of 8", {"rows": 8}),
            Variant("no modules, bands of 8", {"modules": 0, "rows": 8}),
        ),
    ),
    "compression": (
        "Bidirectional compression",
        (
            Variant("before", FULL),
            Variant("Cc, slice", FULL, (("channels", "slice"),)),
            Variant("Cc, flat", FULL, (("channels", "flat"),)),
            Variant("Cc, knw off", FULL, (("channels", "none"),)),
            Variant("Cl", FULL, (("layers", "slice"),)),
            Variant("Cc and Cl, slice", FULL, (("channels", "slice"), ("layers", "slice"))),
            Variant("Cc and Cl, flat", FULL, (("channels", "flat"), ("layers", "slice"))),
            Variant("Cc and Cl, knw off", FULL, (("channels", "none"), ("layers", "none"))),
        ),
    ),
}


def loop_of(steps: int) -> Plain:
    """How all of them train."""
    return Plain(steps=steps, batch=BATCH, crop=CROP, lr=3e-3, warmup=50, loss="l2", checkpoint_every=250)


@lru_cache(maxsize=1)
def pairs_of(data: Path) -> list[Pair]:
    """All training images, in colour."""
    folders = find_images(data, FOLDERS, permissive=True)
    return list(iter_pairs((path for folder in folders for path in folder.files), 1, 3))


def loss_of(data: Path, seed: int) -> Loss:
    """The loss that all train by."""
    crops, measure = CropSampler(pairs_of(data), CROP, BATCH, seed, Noise((SIGMA, SIGMA))), create_loss("l2", 0.0)

    def loss(module: nn.Module, step: int) -> torch.Tensor:
        lq, hq = map(torch.from_numpy, crops.batch(step))
        return measure(module(lq), hq)

    return loss


def to_model(
    plan: Plan, tensors: Tensors, name: str, arguments: argparse.Namespace, seed: int, minutes: float
) -> Model:
    """A trained plan as a model."""
    steps = arguments.steps
    card = ModelCard(
        name=name,
        task="denoise",
        scale=1,
        colour="rgb",
        params=sum(tensor.size for tensor in tensors.values()),
        macs_per_pixel=plan.macs(SIZE) / (SIZE[0] * SIZE[1]),
        licence="Apache-2.0",
        training=Training(
            recipe="none", recipe_sha256="", schedule="short", steps=steps, seed=seed, minutes=round(minutes, 2)
        ),
    )
    return Model({"main": plan}, tensors, card)


def trained(config: LineConfig, arguments: argparse.Namespace, seed: int) -> tuple[Model, Path]:
    """A network trained from its own start, or what an earlier call has trained."""
    folder = arguments.runs / f"{config.name}-r{config.rows}-{arguments.steps}-{seed}"
    path = folder / "model.safetensors"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        network, begun = config.create(), time.monotonic()
        truncate(network, TRUNCATE)
        fit(network, loss_of(arguments.data, seed), loop_of(arguments.steps), Watch(folder=folder))
        minutes = (time.monotonic() - begun) / 60
        write_model(path, to_model(*lower(network, 3), config.name, arguments, seed, minutes))
    return read_model(path), folder


def compressed(variant: Variant, arguments: argparse.Namespace, seed: int) -> tuple[Model, Path]:
    """A network after all parts of a compression, or what an earlier call has made."""
    if not variant.parts:
        return trained(LineConfig(width=arguments.width, **variant.changed), arguments, seed)
    before, folder = compressed(replace(variant, parts=variant.parts[:-1]), arguments, seed)
    part, knowledge = variant.parts[-1]
    folder = folder.with_name(f"{folder.name}-{part}-{knowledge}")
    path = folder / "model.safetensors"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        plan, tensors = before.plan, before.tensors
        if part == "channels":
            smaller = compress_channels(plan, tensors, module_values(plan), knowledge=knowledge, seed=seed)
        else:
            smaller = compress_layers(plan, tensors, middle(transmission_modules(plan)), knowledge, seed)
        begun, loss = time.monotonic(), loss_of(arguments.data, seed + 1000)
        settings, watch = loop_of(arguments.steps // 2), Watch(folder=folder)
        network = thaw(*smaller)
        truncate(network, TRUNCATE)
        fit(network, loss, settings, watch)
        left = lower(network, plan.input_channels)[1]
        minutes = (before.card.training.minutes or 0) + (time.monotonic() - begun) / 60
        write_model(path, to_model(smaller[0], left, folder.name, arguments, seed, minutes))
    return read_model(path), folder


def measure(model: Model, data: Path, kept: Path) -> dict[str, float]:
    """PSNR on RGB of all sets; kept in a file."""
    if kept.is_file():
        known: dict[str, float] = json.loads(kept.read_text())
        return known
    session, found = Session(model, threads=1), {}
    for name in SETS:
        quality = evaluate(session.run, list_images(data / name), sigma=SIGMA, seed=0, colour=True)
        found[name] = round(quality.psnr_rgb_db or 0.0, 4)
    kept.write_text(json.dumps(found))
    return found


def iter_rows(names: Sequence[str], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a training, all variants of a seed before the next seed."""
    for name in names:
        for seed in arguments.seeds:
            for variant in STUDIES[name][1]:
                model, folder = compressed(variant, arguments, seed)
                yield {
                    "study": name,
                    "variant": variant.name,
                    "network": model.card.name,
                    "params": model.card.params,
                    "seed": seed,
                    "width": arguments.width,
                    "steps": arguments.steps,
                    "minutes": model.card.training.minutes,
                    "host": f"{platform.machine()}, torch {torch.__version__}",
                    "quality": measure(model, arguments.data, folder / "quality.json"),
                }


def to_page(rows: list[dict[str, Any]]) -> str:
    """The record as a page."""
    page = (
        "# LineDL's studies\n\n"
        "`python benchmarks/line_dl_studies.py` trains, measures and writes this page; every figure is in the record\n"
        f"beside it. RGB noise of sigma {SIGMA:g}, crops of {CROP}, {BATCH} a step, gradients over {TRUNCATE} bands.\n"
        "PSNR of RGB in dB, mean over the seeds and, behind ±, their standard deviation. *Against*: difference to the\n"
        "first line, seed by seed, and the half width of its 95 % interval; where that covers it, the study cannot\n"
        "tell the two apart: `=`.\n"
    )
    for name, (title, variants) in STUDIES.items():
        for width, steps in sorted({(row["width"], row["steps"]) for row in rows if row["study"] == name}):
            own = [row for row in rows if (row["study"], row["width"], row["steps"]) == (name, width, steps)]
            seeds = len({row["seed"] for row in own})
            page += f"\n## {title}\n\nWidth {width}, {steps:,} steps each, {seeds} seeds.\n\n"
            page += f"| | parameters | minutes | {' | '.join(SETS)} | against, on {SETS[0]} |\n"
            page += f"|---|--:|--:|{'--:|' * len(SETS)}---|\n"
            page += "".join(f"{line}\n" for line in _lines(variants, own))
    return page


def _lines(variants: Sequence[Variant], rows: list[dict[str, Any]]) -> Iterator[str]:
    first = _by_seed(rows, variants[0].name, SETS[0])
    for variant in variants:
        own = [row for row in rows if row["variant"] == variant.name]
        if not own:
            continue
        cells = [variant.name, f"{own[0]['params']:,}", f"{statistics.mean(row['minutes'] for row in own):.1f}"]
        for name in SETS:
            values = list(_by_seed(rows, variant.name, name).values())
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        mine = _by_seed(rows, variant.name, SETS[0])
        cells.append(against([mine[seed] - first[seed] for seed in mine if seed in first]))
        yield f"| {' | '.join(cells)} |"


def _by_seed(rows: list[dict[str, Any]], variant: str, name: str) -> dict[int, float]:
    return {row["seed"]: row["quality"][name] for row in rows if row["variant"] == variant}


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=[*STUDIES, "all"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    record = arguments.output / "line_dl_studies.json"
    rows = json.loads(record.read_text()) if record.exists() else []
    pairs_of(arguments.data)  # so that no training is charged with reading them
    names = list(STUDIES) if "all" in arguments.studies else arguments.studies
    keys = ("study", "variant", "seed", "width", "steps")
    for row in iter_rows(names, arguments):
        rows = [*(old for old in rows if any(old[key] != row[key] for key in keys)), row]
        figures = ", ".join(f"{name} {row['quality'][name]:.3f} dB" for name in SETS)
        print(f"{row['study']:12} {row['variant']:32} seed {row['seed']}: {figures}, {row['minutes']} min", flush=True)
        record.write_text(json.dumps(rows, indent=1) + "\n")
        record.with_suffix(".md").write_text(to_page(rows))


if __name__ == "__main__":
    main()
