"""Time a training step of RepRFN in image space, in weight space, and of its plain inference form.

    python benchmarks/weight_space.py [--width 48] [--crop 48] [--batch 16] [--pairs 9]

One thread, forward and backward, Charbonnier loss. The three take turns; figures are medians, ratios those within a
turn. Writes its record into ``docs/results/weight_space.json``, one entry a width, and the page beside it.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from thinlens.train.blocks.rep_conv import Space
from thinlens.train.compress.fuse import fuse, train_form
from thinlens.train.losses.pixel import charbonnier
from thinlens.train.networks import create_network

RESULTS = Path(__file__).parents[1] / "docs" / "results"
FORMS = ("image space", "weight space", "inference form")
HEAD = """# A training step of RepRFN x4: nine paths, or one convolution

`python benchmarks/weight_space.py` measures and writes this page. Seconds a step (forward and backward, one thread),
medians; ratios are medians of those within one turn, and the figure to trust: other work may have run on the machine.
The inference form has no branches: it is what a step can cost at least.

| width | batch | image space | weight space | inference form | image / weight | weight / inference |
|--:|---|--:|--:|--:|--:|--:|
"""


def create(form: str, width: int) -> nn.Module:
    """The network in one of the forms."""
    torch.manual_seed(0)
    network = create_network(f"rep_rfn_w{width}_x4")
    space: Space = "image" if form == "image space" else "weight"
    return fuse(network) if form == "inference form" else train_form(network, None, space)


def step(network: nn.Module, lq: torch.Tensor, hq: torch.Tensor) -> float:
    """Seconds of forward and backward."""
    network.zero_grad()
    begun = time.perf_counter()
    charbonnier(network(lq), hq).backward()
    return time.perf_counter() - begun


def measure(width: int, crop: int, batch: int, pairs: int) -> dict[str, Any]:
    """All forms in turns, the first of which warms up."""
    torch.set_num_threads(1)
    networks = {form: create(form, width) for form in FORMS}
    lq, hq = torch.rand(batch, 3, crop, crop), torch.rand(batch, 3, 4 * crop, 4 * crop)
    turns = [{form: step(network, lq, hq) for form, network in networks.items()} for _ in range(pairs + 1)][1:]
    image, weight, inference = FORMS
    return {
        "width": width,
        "crop": crop,
        "batch": batch,
        "seconds": {form: round(median(turn[form] for turn in turns), 4) for form in FORMS},
        "image_over_weight": round(median(turn[image] / turn[weight] for turn in turns), 3),
        "weight_over_inference": round(median(turn[weight] / turn[inference] for turn in turns), 3),
        "pairs": pairs,
        "torch": torch.__version__,
        "host": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
    }


def line_of(entry: dict[str, Any]) -> str:
    """A record as a row of the table."""
    seconds = " | ".join(f"{entry['seconds'][form]:.3f}" for form in FORMS)
    ratios = f"{entry['image_over_weight']:.2f} | {entry['weight_over_inference']:.2f}"
    return f"| {entry['width']} | {entry['batch']} of {entry['crop']}x{entry['crop']} | {seconds} | {ratios} |"


def main() -> None:
    """Measure one width, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("width", 48), ("crop", 48), ("batch", 16), ("pairs", 9)):
        parser.add_argument(f"--{option}", type=int, default=default)
    arguments = parser.parse_args()
    record = RESULTS / "weight_space.json"
    entries = {entry["width"]: entry for entry in json.loads(record.read_text())} if record.exists() else {}
    entries[arguments.width] = measure(**vars(arguments))
    print(line_of(entries[arguments.width]))
    ordered = [entries[width] for width in sorted(entries)]
    record.write_text(json.dumps(ordered, indent=1) + "\n")
    (RESULTS / "weight_space.md").write_text(HEAD + "\n".join(map(line_of, ordered)) + "\n")


if __name__ == "__main__":
    main()
