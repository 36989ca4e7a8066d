"""Peak memory of `thinlens restore` on images that are never held: made of pictures, restored in bands, checked.

    python benchmarks/huge.py sr|denoise --pictures DIR [--size 40000x25000] [--gray] [--work DIR] [--keep]

``sr``: a PNG, x2 with the fastest shipped model, to PNG. ``denoise``: a BigTIFF with noise of sigma 15, to BigTIFF.
The image is tiled from the pictures in a folder, row of tiles by row of tiles. Each run is a fresh process of the
command, whose peak resident memory the system tells (VmHWM, so Linux only). Three strips of each result are compared
with what `Session.run` makes of those rows and of enough around them. Adds to ``docs/results/huge.json`` and writes
``huge.md`` from it. A gigapixel takes from ten minutes to an hour, and up to 15 GB on disk.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from thinlens.image import tiff
from thinlens.image.bands import no_rows
from thinlens.image.colour import gray_uint8
from thinlens.image.files import ImageFile, open_bands, read_image, write_bands
from thinlens.image.formats import format_of_suffix
from thinlens.runtime.session import open_model

RESULTS = Path(__file__).parents[1] / "docs" / "results"
MOST = ("--max-memory", "400MB")  # what is not huge goes in bands too
TASKS = {
    "sr": ("image.png", "restored.png", ("--prefer", "speed", "--scale", "2", *MOST), 0),
    "denoise": ("image.tif", "restored.tif", ("--task", "denoise", *MOST), 15),
}
KEPT = ("model", "memory_bytes", "peak_bytes", "eta_seconds", "seconds", "cpu_seconds")
TILE, STRIP, AROUND = 256, 64, 64  # rows and columns; a multiple of four, as groups of rows are
CHILD = """
import sys
from thinlens.cli.app import run
code = run(sys.argv[1:])
import time
from thinlens.bench.fresh import peak_bytes
print(peak_bytes(), time.process_time())
sys.exit(code)
"""
HEAD = """# Huge images: memory of `thinlens restore`

`python benchmarks/huge.py TASK --pictures DIR --size WxH` measures and writes this page. Images of 8 bits, tiled from
photographs; `sr`: PNG to PNG, x2, `--prefer speed`; `denoise`: BigTIFF to TIFF (BigTIFF from 4 GiB of samples on),
noise of sigma 15, whose strength the command estimates. *Bound*: what the command prints before it begins; *peak*:
resident memory of the whole process (VmHWM), interpreter and codecs included. *Told*: the time that it prints before it
begins; *took*: the whole run, with rehearsal and estimate; *CPU*: of all its threads. Three strips of each result were
compared with `Session.run`: the same bits.

| task | image | result | bound, MB | peak, MB | told, s | took, s | CPU, s |
|---|--:|--:|--:|--:|--:|--:|--:|
"""


def tiles(folder: Path) -> list[Any]:
    """The middle of each picture that is large enough, ``TILE TILE 3``."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if format_of_suffix(p)):
        pixels = read_image(path, max_pixels=100_000_000).pixels
        if pixels.ndim == 3 and min(pixels.shape[:2]) >= TILE:
            top, left = ((side - TILE) // 2 for side in pixels.shape[:2])
            found.append(pixels[top : top + TILE, left : left + TILE, :3])
    return found


def rows_of(pictures: list[Any], width: int, height: int, sigma: float) -> Iterator[Any]:
    """Rows of tiles, in an order of their own each, with noise."""
    for number, top in enumerate(range(0, height, TILE)):
        rng = np.random.default_rng(number)
        order = rng.integers(0, len(pictures), -(-width // TILE))
        row = np.hstack([pictures[i] for i in order])[: height - top, :width]
        for at in range(0, len(row), 16):
            part = row[at : at + 16]
            if sigma:
                noisy = part + sigma * rng.standard_normal(part.shape, np.float32)
                part = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
            yield part


def make(path: Path, pictures: list[Any], width: int, height: int, sigma: float) -> None:
    """Write the image, a row of tiles at a time; any TIFF as BigTIFF."""
    tiff.CLASSIC_BYTES = 0
    image = ImageFile(no_rows(width, 1 if pictures[0].ndim == 2 else 3, np.uint8), "png")
    format_name = format_of_suffix(path)
    with write_bands(path, image, height, format=str(format_name), threads=os.cpu_count() or 1) as writer:
        for rows in rows_of(pictures, width, height, sigma):
            writer.write(rows)


def run(source: Path, target: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """Restore in a fresh process; its record, and its peak."""
    command = [sys.executable, "-c", CHILD, "restore", str(source), "-o", str(target), *options]
    command += ["--max-pixels", str(10**11), "--json"]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout.splitlines()
    record, (peak, cpu) = json.loads(out[0]), out[-1].split()
    if record["status"] != "restored":
        raise SystemExit(f"restore failed: {record}")
    return record | {"peak_bytes": int(peak), "cpu_seconds": round(float(cpu), 1)}


def check(source: Path, target: Path, model: str) -> None:
    """Compare strips at the top, in the middle and at the end with the session's; SystemExit if they differ."""
    session = open_model(model)
    scale = session.card.scale
    with open_bands(source) as reader:
        height = reader.height
    starts = sorted({0, height // 2 // STRIP * STRIP, max(0, height - STRIP)})
    for start in starts:
        first = max(0, (start - AROUND) // 4 * 4)
        around = _rows(source, first, min(height, start + STRIP + AROUND))
        stop = min(height, start + STRIP)
        whole = session.run(around)[(start - first) * scale : (stop - first) * scale]
        if not np.array_equal(whole, _rows(target, start * scale, stop * scale)):
            raise SystemExit(f"rows from {start} on differ")


def _rows(path: Path, start: int, stop: int) -> Any:
    with open_bands(path) as reader:
        for at in range(0, start, 32):
            reader.read(min(32, start - at))
        return np.concatenate([reader.read(min(32, stop - at)) for at in range(start, stop, 32)])


def page(records: list[dict[str, Any]]) -> str:
    """The page of all records."""
    text = HEAD
    for record in records:
        sizes = f"{record['width']}x{record['height']} | {record['out_width']}x{record['out_height']}"
        megabytes = " | ".join(f"{record[key] / 1e6:.0f}" for key in ("memory_bytes", "peak_bytes"))
        seconds = " | ".join(f"{record[key]:.0f}" for key in ("eta_seconds", "seconds", "cpu_seconds"))
        text += f"| {record['task']}, {record['kind']} | {sizes} | {megabytes} | {seconds} |\n"
    if records:
        text += "\nModels: " + ", ".join(sorted({f"`{record['model']}`" for record in records})) + ". "
        text += "; ".join(
            sorted({f"{r['processor']}, {r['cpus']} processors, shared with other work" for r in records})
        )
        text += ".\n"
    return text


def main() -> None:
    """Make, restore, check, and write record and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--size", default="40000x25000")
    parser.add_argument("--gray", action="store_true")
    parser.add_argument("--work", type=Path, help="Where the images go; default: a temporary folder.")
    parser.add_argument("--keep", action="store_true", help="Keep the images, and use one that is there.")
    arguments = parser.parse_args()
    if arguments.work is not None:
        arguments.work.mkdir(parents=True, exist_ok=True)
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory(dir=arguments.work) as temporary:
        folder = arguments.work if arguments.keep else Path(temporary)
        name, out, options, sigma = TASKS[arguments.task]
        kind = "gray" if arguments.gray else "rgb"
        source, target = (folder / f"{width}x{height}_{kind}_{file}" for file in (name, out))
        if not source.exists():
            pictures = tiles(arguments.pictures)
            make(source, [gray_uint8(p) for p in pictures] if arguments.gray else pictures, width, height, sigma)
        record = run(source, target, (*options, "--overwrite"))
        check(source, target, record["model"])
        sizes = {"width": width, "height": height, "out_width": record["width"], "out_height": record["height"]}
        kept = {
            key: record[key] for key in ("model", "memory_bytes", "peak_bytes", "eta_seconds", "seconds", "cpu_seconds")
        }
        files = {"source_bytes": source.stat().st_size, "target_bytes": target.stat().st_size}
    host = {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()}
    host |= {"system": platform.system(), "python": platform.python_version(), "numpy": np.__version__}
    add({"task": arguments.task, "kind": kind, **sizes, **kept, **files, **host})


def add(record: dict[str, Any]) -> None:
    """Add a record, in place of one of the same task and size, and write the page."""
    path = RESULTS / "huge.json"
    records = json.loads(path.read_text()) if path.exists() else []
    records = [r for r in records if any(r[k] != record[k] for k in ("task", "kind", "width", "height"))] + [record]
    records.sort(key=lambda r: (r["task"], r["kind"], r["width"] * r["height"]))
    path.write_text(json.dumps(records, indent=1) + "\n")
    (RESULTS / "huge.md").write_text(page(records))
    print(page([record]).splitlines()[-3])


if __name__ == "__main__":
    main()
