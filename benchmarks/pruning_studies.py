"""The studies of pruning on small networks: one trained network each, equal fine-tuning, three seeds, mean and spread.

    python benchmarks/pruning_studies.py STUDY ... --data DIR --runs DIR [--steps 3000] [--finetune-steps 1500]
        [--networks NETWORK ...]

STUDY is one of methods, parts, gamma, x8, or ``all``. ``--data`` holds train, train_extra, val, Set5 and Set14;
``--runs`` keeps what was trained: a second call goes on where the first was stopped, whatever the moment. Writes
``docs/results/pruning_studies.json`` and ``.md`` after each network; what they hold of other networks stays.

Every method prunes the same network of a seed, trained with dual maps, and what is left is trained by the same loop,
dual maps included, so that only the choice of channels differs. Widths are ``uniform`` (all pairs lose the same share,
less the rest of the division) or ``searched``.
"""

import argparse
import hashlib
import json
import platform
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from dual_studies import LOOP
from studies import RESULTS, SETS, Campaign, Row, Variant, against, pairs_of, recipe_for, train

from thinlens.bench.quality import evaluate, list_images
from thinlens.model.file import Model, read_model, write_model
from thinlens.model.groups import prunable_pairs
from thinlens.runtime.session import Session
from thinlens.train.compress.dual_regression.search import Relaxed, Settings, search
from thinlens.train.compress.pruning import METHODS, Objective, dual_measure, l1_measure, prune, uniform_widths
from thinlens.train.compress.steps import EPOCHS, to_batch
from thinlens.train.datasets.crops import CropSampler
from thinlens.train.datasets.pairs import Pair
from thinlens.train.finetune import finetune_model
from thinlens.train.loop import Watch
from thinlens.train.losses.dual_regression import thaw_maps
from thinlens.train.recipe import Plain

BASE = Campaign("pruning_studies", "", {}, LOOP | {"dual": 0.1})
CROPS = {"drn_w4_b2_x8": 12}
SMALL = (2, 8)  # batches that channels are chosen on, and crops in each: half of what `thinlens compress` takes
ESPCN, RFN, DRN, DRN_X8 = "espcn_d16_s32_x4", "rfn_rfb1_w16_x4", "drn_w4_b2_x4", "drn_w4_b2_x8"


@dataclass(frozen=True)
class Cut:
    """One way to prune one network: ``none`` trains it on as it is."""

    network: str
    method: str
    ratio: float = 0.5
    searched: bool = False
    gamma: float = 1.0

    @property
    def name(self) -> str:
        """As a line of a table."""
        return f"{self.method}, searched widths" if self.searched else self.method


@dataclass(frozen=True)
class Study:
    """Lines of some tables: one for each network and ratio; the first line is the one that others are held against."""

    title: str
    paper: str
    cuts: tuple[Cut, ...]
    by_gamma: bool = False


def _methods(network: str, ratio: float) -> tuple[Cut, ...]:
    plain = (Cut(network, method, ratio) for method in ("dcp", "uniform", "cp", "thinet", "dual-regression"))
    return (*plain, Cut(network, "dual-regression", ratio, searched=True))


STUDIES = {
    "methods": Study(
        "Methods",
        "DRC >= DCP >= ThiNet >= CP; DRN-S x4, 30 %, Set5: 32.66, 32.41, 32.33, 32.26",
        tuple(
            cut
            for network, ratios in ((RFN, (0.3, 0.5, 0.7)), (ESPCN, (0.3, 0.5, 0.7)), (DRN, (0.5,)))
            for ratio in ratios
            for cut in _methods(network, ratio)
        ),
    ),
    "parts": Study(
        "Search and pruning",
        "both beat either alone; figures are not available",
        tuple(
            cut
            for network in (RFN, DRN)
            for cut in (
                Cut(network, "uniform"),
                Cut(network, "dual-regression"),
                Cut(network, "uniform", searched=True),
                Cut(network, "dual-regression", searched=True),
            )
        ),
    ),
    "gamma": Study(
        "Weight of the loss beside the features",
        "gamma = 1 is best for all three compressed DRN-S",
        tuple(Cut(network, "dual-regression", gamma=g) for network in (RFN,) for g in (1.0, 0.0, 0.1, 10.0)),
        by_gamma=True,
    ),
    "x8": Study(
        "At x8",
        "DRN-S x8, 30, 50, 70 %: 27.37, 27.26, 27.16 on Set5 by DRC; of DCP nothing is known",
        tuple(cut for ratio in (0.3, 0.5) for cut in (Cut(DRN_X8, "dcp", ratio), *_methods(DRN_X8, ratio)[4:])),
    ),
}


@lru_cache(maxsize=4)
def pairs_for(data: Path, scale: int, channels: int) -> list[Pair]:
    """All training pairs, read once."""
    return pairs_of(data, scale, channels)


def base_of(network: str, seed: int, arguments: argparse.Namespace) -> tuple[Model, Path]:
    """The network that is pruned, trained with dual maps."""
    changed: dict[str, object] = {"crop": CROPS[network]} if network in CROPS else {}
    recipe = recipe_for(BASE, Variant(network, network, changed), arguments.steps, seed)
    directory = arguments.runs / f"{network}-{recipe.sha256()[:12]}"
    return train(recipe, arguments.data, directory), directory


def loop_of(network: str, steps: int) -> Plain:
    """The fine-tuning of all."""
    fields = {key: value for key, value in (LOOP | {"dual": 0.1, "steps": steps, "lr": 2e-3}).items() if key != "kind"}
    return msgspec.convert(fields | {"crop": CROPS.get(network, LOOP["crop"])}, Plain)


def widths_of(model: Model, cut: Cut, seed: int, arguments: argparse.Namespace, folder: Path) -> dict[str, int]:
    """How many channels each pair keeps; a search is kept, as methods share it."""
    if not cut.searched:
        return uniform_widths(model.plan, cut.ratio)
    kept = folder.parent / f"widths-{cut.ratio:g}-{arguments.search_steps}.json"
    if not kept.is_file():
        pairs, side = pairs_for(arguments.data, model.card.scale, model.plan.input_channels), _crop(cut.network)
        halves = [CropSampler(part, side, 8, seed) for part in (pairs[::2], pairs[1::2])]
        first, second = (partial(_batch, crops, model) for crops in halves)
        maps = thaw_maps(model.plans, model.tensors)
        steps = arguments.search_steps
        settings = Settings(steps=steps, epoch=max(1, steps // EPOCHS), logits_lr=3e-4 * 2500 / steps, seed=seed)
        names = [pair.name for pair in prunable_pairs(model.plan)]
        relaxed = Relaxed(model.plan, model.tensors, names, cut.ratio)
        val = [_batch(CropSampler(pairs, side, 8, seed + 1), model, step) for step in range(SMALL[0])]
        measure = dual_measure(maps, model.card.scale)
        watch = Watch(kept.stem, folder.parent)
        kept.write_text(json.dumps(search(relaxed, (first, second), val, measure, settings, watch, maps).widths))
    found: dict[str, int] = json.loads(kept.read_text())
    return found


def _crop(network: str) -> int:
    return CROPS.get(network, 24)


def _batch(crops: CropSampler, model: Model, step: int) -> Any:
    return to_batch(crops, step, model)


def pruned(model: Model, cut: Cut, seed: int, arguments: argparse.Namespace, folder: Path) -> Model:
    """The network with its channels cut and nothing trained yet."""
    pairs = pairs_for(arguments.data, model.card.scale, model.plan.input_channels)
    crops = CropSampler(pairs, _crop(cut.network), SMALL[1], seed)
    small = [to_batch(crops, step, model) for step in range(SMALL[0])]
    dual = dual_measure(thaw_maps(model.plans, model.tensors), model.card.scale)
    objective = Objective(small, dual if cut.method == "dual-regression" else l1_measure, cut.gamma)
    widths = widths_of(model, cut, seed, arguments, folder)
    plan, tensors = prune(
        model.plan, model.tensors, widths, METHODS[cut.method], objective, seed, Watch("prune", folder)
    )
    others = {name: model.tensors[name] for key, p in model.plans.items() if key != "main" for name in p.tensor_names()}
    return Model({**model.plans, "main": plan}, tensors | others, model.card)


def quality_of(model: Model, data: Path, sets: tuple[str, ...] = SETS) -> dict[str, float]:
    """PSNR on Y by set."""
    session, colour = Session(model, threads=1), model.card.colour == "rgb"
    return {
        name: round(evaluate(session.run, list_images(data / name), scale=model.card.scale, colour=colour).psnr_y_db, 4)
        for name in sets
    }


def before_of(base: Model, data: Path, kept: Path) -> dict[str, float]:
    """PSNR of a network that is not pruned yet, measured once."""
    if not kept.is_file():
        kept.write_text(json.dumps(quality_of(base, data)))
    found: dict[str, float] = json.loads(kept.read_text())
    return found


def row_of(cut: Cut, seed: int, arguments: argparse.Namespace) -> Row:
    """Prune, train, measure; what is done is found again."""
    base, directory = base_of(cut.network, seed, arguments)
    settings = {**asdict(cut), "finetune": arguments.finetune_steps, "search": arguments.search_steps * cut.searched}
    name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    folder = directory / f"cut-{name}"
    folder.mkdir(exist_ok=True)
    kept, begun = folder / "row.json", time.monotonic()
    if not kept.is_file():
        cut_model = pruned(base, cut, seed, arguments, folder)
        pairs = pairs_for(arguments.data, base.card.scale, base.plan.input_channels)
        loop = loop_of(cut.network, arguments.finetune_steps)
        tuned = finetune_model(cut_model, loop, pairs, seed, Watch("tune", folder))
        write_model(folder / "model.safetensors", tuned, overwrite=True)
        row = {
            "params": tuned.card.params,
            "params_before": sum(base.tensors[n].size for n in base.plan.tensor_names()),
            "macs_per_pixel": round(tuned.card.macs_per_pixel, 1),
            "before": before_of(base, arguments.data, directory / "before.json"),
            "cut": quality_of(cut_model, arguments.data, ("val",)),
            "quality": quality_of(tuned, arguments.data),
            "minutes": round((time.monotonic() - begun) / 60, 2),
        }
        kept.write_text(json.dumps(row))
    found = json.loads(kept.read_text())
    read_model(folder / "model.safetensors").check()
    host = f"{platform.machine()}, torch {torch.__version__}"
    return {**asdict(cut), "seed": seed, "steps": arguments.steps, **settings, **found, "host": host}


def iter_rows(names: list[str], arguments: argparse.Namespace, known: list[Row]) -> Iterator[Row]:
    """One row a network, all ways of a seed before the next seed; none for those that are known."""
    for seed in arguments.seeds:
        for cut in dict.fromkeys(cut for name in names for cut in STUDIES[name].cuts):
            wanted = {**asdict(cut), "seed": seed, "steps": arguments.steps, "finetune": arguments.finetune_steps}
            is_known = any(wanted.items() <= row.items() for row in known)
            if cut.network in arguments.networks and not is_known:
                yield row_of(cut, seed, arguments)


def to_page(rows: list[Row]) -> str:
    """The record as a page."""
    page = (
        "# Pruning's studies on small networks\n\n"
        "`python benchmarks/pruning_studies.py` trains, prunes, measures and writes this page; every figure is in the\n"
        "record beside it. PSNR of Y in dB (border: the scale), mean over the seeds and, behind ±, their standard\n"
        "deviation. *Cut*: on val, before anything is trained again. *Against*: difference to the first line on val,\n"
        "seed by seed, and the half width of its 95 % interval; where that covers it, the study cannot tell the two\n"
        "apart: `=`. Searched widths are smaller: the largest candidate is what uniform ones leave, in fours.\n"
    )
    for study in STUDIES.values():
        for steps, finetune in sorted({(row["steps"], row["finetune"]) for row in rows}):
            own = [row for row in rows if (row["steps"], row["finetune"]) == (steps, finetune)]
            if tables := "".join(_tables(study, own)):
                title = f"\n## {study.title}\n\nTrained for {steps:,} steps, pruned, trained for {finetune:,} more. "
                page += f"{title}The paper: {study.paper}.\n{tables}"
    return page


def _tables(study: Study, rows: list[Row]) -> Iterator[str]:
    """One table for each network and ratio that has rows."""
    for network, ratio in dict.fromkeys((cut.network, cut.ratio) for cut in study.cuts):
        cuts = [cut for cut in study.cuts if (cut.network, cut.ratio) == (network, ratio)]
        found = {cut: {r["seed"]: r for r in rows if asdict(cut).items() <= r.items()} for cut in cuts}
        first = found[cuts[0]]
        if not any(found.values()):
            continue
        before = statistics.mean(row["before"]["val"] for own in found.values() for row in own.values())
        yield f"\n`{network}`, {ratio:.0%} of the channels of each pair; whole: {before:.3f} dB on val.\n\n"
        yield f"| | parameters | cut | {' | '.join(SETS)} | against, on val |\n|---|--:|--:|{'--:|' * len(SETS)}---|\n"
        for cut, own in found.items():
            if own:
                yield f"| {' | '.join(_cells(cut, own, first, study.by_gamma))} |\n"


def _cells(cut: Cut, own: Mapping[int, Row], first: Mapping[int, Row], by_gamma: bool) -> Iterator[str]:
    rows = list(own.values())
    yield f"gamma {cut.gamma:g}" if by_gamma else cut.name
    kept = statistics.mean(row["params"] for row in rows)
    yield f"{kept:,.0f} ({kept / rows[0]['params_before']:.0%})"
    yield f"{statistics.mean(row['cut']['val'] for row in rows):.3f}"
    for name in SETS:
        values = [row["quality"][name] for row in rows]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        yield f"{statistics.mean(values):.3f}{spread}"
    shared = [seed for seed in own if seed in first]
    yield against([own[s]["quality"]["val"] - first[s]["quality"]["val"] for s in shared]) if shared else ""


def main() -> None:
    """Prune, train, measure, write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=[*STUDIES, "all"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--finetune-steps", type=int, default=1500)
    parser.add_argument("--search-steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--networks", nargs="+", choices=[RFN, ESPCN, DRN, DRN_X8], default=[RFN, ESPCN, DRN, DRN_X8])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = arguments.output / "pruning_studies.json"
    rows: list[Row] = json.loads(record.read_text()) if record.exists() else []
    names = list(STUDIES) if "all" in arguments.studies else arguments.studies
    for row in iter_rows(names, arguments, rows):
        rows.append(row)
        what = f"{row['network']} {row['ratio']:.0%} {row['method']}{', searched' * row['searched']}"
        what += f", gamma {row['gamma']:g}"
        figures = f"val {row['before']['val']:.3f}, cut {row['cut']['val']:.3f}, trained {row['quality']['val']:.3f} dB"
        print(f"{what}, seed {row['seed']}: {row['params']} parameters, {figures}, {row['minutes']} min", flush=True)
        record.write_text(json.dumps(rows, indent=1) + "\n")
        record.with_suffix(".md").write_text(to_page(rows))


if __name__ == "__main__":
    main()
