"""What int8 and bfloat16 cost: PSNR on validation images and bytes, before and after `thinlens compress`.

    python benchmarks/low_precision.py MODEL... --calibrate DIR --measure DIR

MODEL: shipped names or model files. Calibrates on images of one folder, measures on all of another; writes
``low_precision.json`` and ``.md`` in ``docs/results``; what they hold of other models stays.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from thinlens.bench.quality import Quality, evaluate, list_images
from thinlens.compress.compress import PRECISIONS, Settings, compress, deal
from thinlens.model.file import Model, read_model, to_bytes
from thinlens.models import find_model
from thinlens.runtime.session import Session

RESULTS = Path(__file__).parents[1] / "docs" / "results"
ACCEPTED_DB = {"int8": 0.05, "bf16": 0.01}
HEAD = """# Low precision: what it costs

`thinlens compress --method int8|bf16` on shipped models, and on official FSRCNN weights (`official_`) after `thinlens
import`. PSNR: mean over all {count} images of `{measure}`, luma of the 8-bit image, border of `scale` pixels cut.
Calibrated on {calibrated} images of `{calibrate}`. Convolutions: how many were rewritten; one-channel and transposed
ones, and ends that would lose too much, stay on floats. Worst: the image that loses most, and its PSNR before. Bytes:
of the file, of which card and plan take some 5,000. `python benchmarks/low_precision.py` measures and writes this page.

| model | method | convolutions | before | after | loss | median | worst | bytes before | after |
|---|---|--:|--:|--:|--:|--:|---|--:|--:|
"""


def measure(model: Model, paths: list[Path]) -> Quality:
    """Figures of a luma upscaler."""
    return evaluate(Session(model).run, paths, scale=model.card.scale, colour=False)


def record_of(name: str, model: Model, method: str, calibrate: list[Path], paths: list[Path]) -> dict[str, Any]:
    """Compress a model, and measure it before and after."""
    result = compress(model, method, calibrate, Settings({"scale": model.card.scale}))
    before, after = measure(model, paths), measure(result, paths)
    losses = np.array([b.psnr_y_db - a.psnr_y_db for b, a in zip(before.images, after.images, strict=True)])
    worst = int(losses.argmax())
    return {
        "model": name,
        "method": method,
        "convolutions": result.card.history[-1].convolutions,
        "psnr_y_db": [round(before.psnr_y_db, 4), round(after.psnr_y_db, 4)],
        "median_loss_db": round(float(np.median(losses)), 4),
        "worst_loss_db": round(float(losses[worst]), 4),
        "worst_psnr_y_db": round(before.images[worst].psnr_y_db, 2),
        "bytes": [len(to_bytes(model)), len(to_bytes(result))],
    }


def line_of(entry: dict[str, Any]) -> str:
    """A record as a row of the table."""
    before, after = entry["psnr_y_db"]
    worst = f"{entry['worst_loss_db']:.3f} at {entry['worst_psnr_y_db']:.1f}"
    figures = f"{before:.3f} | {after:.3f} | {before - after:.3f} | {entry['median_loss_db']:.3f} | {worst}"
    sizes = " | ".join(f"{count:,}" for count in entry["bytes"])
    return f"| `{entry['model']}` | {entry['method']} | {entry['convolutions']} | {figures} | {sizes} |"


def verdict(entries: list[dict[str, Any]], method: str) -> str:
    """How many models reach the goal of a method, and which do not."""
    entries = [entry for entry in entries if entry["method"] == method]
    above = [e["model"] for e in entries if e["psnr_y_db"][0] - e["psnr_y_db"][1] > ACCEPTED_DB[method]]
    named = f"; not so {', '.join(f'`{name}`' for name in above)}" if above else ""
    return f"- {method}: {len(entries) - len(above)} of {len(entries)} lose at most {ACCEPTED_DB[method]} dB{named}.\n"


def main() -> None:
    """Measure, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--measure", type=Path, required=True)
    arguments = parser.parse_args()
    calibrate, paths = list_images(arguments.calibrate), list_images(arguments.measure)
    record = RESULTS / "low_precision.json"
    known = json.loads(record.read_text()) if record.exists() else []
    records = {(entry["model"], entry["method"]): entry for entry in known}
    for name in arguments.models:
        for method in PRECISIONS:
            entry = record_of(Path(name).stem, read_model(find_model(name)), method, calibrate, paths)
            records[entry["model"], method] = entry
            print(line_of(entry), flush=True)
    ordered = [records[key] for key in sorted(records)]
    record.write_text(json.dumps(ordered, indent=1) + "\n")
    head = HEAD.format(
        count=len(paths),
        measure=arguments.measure.name,
        calibrate="/".join(arguments.calibrate.parts[-2:]),
        calibrated=len(deal(calibrate)[0]),
    )
    verdicts = "".join(verdict(ordered, method) for method in PRECISIONS)
    (RESULTS / "low_precision.md").write_text(head + "\n".join(map(line_of, ordered)) + f"\n\n{verdicts}")


if __name__ == "__main__":
    main()
