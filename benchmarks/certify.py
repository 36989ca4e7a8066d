"""What `thinlens restore --certify` finds and repairs: consistency and PSNR of models on benchmark images.

    python benchmarks/certify.py --data DIR [MODEL ...]

MODEL is a shipped model's name or a path; without any, four shipped ones are measured. ``--data`` holds Set5 and Set14.
Writes ``docs/results/certify.json`` and ``.md``; what they hold of other models stays. Takes some minutes.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.bench.quality import Run, evaluate, list_images
from thinlens.model.dual import downward
from thinlens.runtime.certify import STEPS, By, Consistency, certify
from thinlens.runtime.session import Session, open_model

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SETS = ("Set5", "Set14")
MODELS = ("edge_sr_max_k5_c2_x2", "espcn_d16_s32_x2", "edge_sr_tm_k7_c4_x4", "espcn_d16_s32_x4")
COUNTS = (1, 2, 5, 10)
STEP_COLUMNS = " | ".join(map(str, COUNTS))
HEAD = f"""# Consistency at inference

`python benchmarks/certify.py` measures and writes this page. *Consistency*: the 8-bit result brought back down, against
the 8-bit input, mean PSNR over the images; *repaired*: by back-projection in {STEPS} steps, as
`thinlens restore --certify repair` does. Quality by the protocol of each model, mean PSNR on Y in dB; last columns:
what the repair gains in that many steps. The inputs were shrunk by the bicubic that brings results down: on images of
other cameras the gain is another. *Trained for*: steps; DRN by its recipe, cut to that. Models that hold dual maps are
measured by these, too.

| model | trained for | down by | set | consistency, dB | repaired, dB | quality, dB | repaired, dB | {STEP_COLUMNS} |
|---|--:|---|---|--:|--:|--:|--:|{"--:|" * len(COUNTS)}
"""


def measure(session: Session, paths: Sequence[Path], by: By) -> dict[str, Any]:
    """Means over images; ``by``: what leads down."""
    colour, scale = session.card.colour == "rgb", session.card.scale
    found: list[tuple[Consistency, Consistency]] = []

    def repaired(steps: int) -> Run:
        def run(lq: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            bytes_ = np.rint(lq * 255).astype(np.uint8)
            done = certify(bytes_, session.run(bytes_), session.model, "repair", steps=steps, by=by)
            if steps == STEPS and done.before is not None:
                found.append((done.before, done.after))
            return done.image.astype(np.float32) / np.float32(255)

        return run

    plain = evaluate(session.run, paths, scale=scale, colour=colour).psnr_y_db
    gains = {n: evaluate(repaired(n), paths, scale=scale, colour=colour).psnr_y_db - plain for n in COUNTS}
    before, after = (statistics.mean(min(pair[i].psnr_db, 99) for pair in found) for i in (0, 1))
    return {
        "model": session.card.name,
        "steps": session.card.training.steps,
        "by": by,
        "count": len(paths),
        "consistency_db": round(before, 3),
        "repaired_consistency_db": round(after, 3),
        "psnr_y_db": round(plain, 4),
        "gain_db": {str(n): round(gain, 4) for n, gain in gains.items()},
    }


def line_of(row: dict[str, Any]) -> str:
    """A row of the table."""
    gains, psnr = row["gain_db"], row["psnr_y_db"]
    figures = f"{row['consistency_db']:.1f} | {row['repaired_consistency_db']:.1f} | {psnr:.3f}"
    cells = [
        f"`{row['model']}`",
        f"{row['steps']:,}",
        row["by"],
        row["set"],
        figures,
        f"{psnr + gains[str(STEPS)]:.3f}",
    ]
    return f"| {' | '.join(cells)} | {' | '.join(f'{gains[str(n)]:+.3f}' for n in COUNTS)} |"


def main() -> None:
    """Measure, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    record = arguments.output / "certify.json"
    known = json.loads(record.read_text()) if record.exists() else []
    rows = {(row["model"], row["by"], row["set"]): row for row in known}
    for name in arguments.models:
        session = open_model(name, threads=1)
        ways: tuple[By, ...] = ("bicubic", "dual") if downward(session.model.plans) else ("bicubic",)
        for by, images in product(ways, SETS):
            row = {"set": images, **measure(session, list_images(arguments.data / images), by)}
            rows[row["model"], by, images] = row
            print(line_of(row), flush=True)
    ordered = [rows[key] for key in sorted(rows)]
    record.write_text(json.dumps(ordered, indent=1) + "\n")
    record.with_suffix(".md").write_text(HEAD + "".join(f"{line_of(row)}\n" for row in ordered))


if __name__ == "__main__":
    main()
