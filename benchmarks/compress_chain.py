"""A chain end to end: the official RFDN, imported, its channels cut, trained, put on bytes, streamed row by row.

    python benchmarks/compress_chain.py RFDN_AIM.pth --data DIR --runs DIR [--ratio 0.5] [--finetune-steps 20000]

``--data`` holds train, train_extra, val, Set5 and Set14; ``--runs`` keeps every model, and what a killed call had done.
Writes ``docs/results/compress_chain.json``, ``.md`` and ``.svg``: bytes of the file, MACs, time of an image beside the
imported network's in the same run, rows and bytes of the stream, PSNR. Every model is also streamed, a row at a time,
and must give the pixels of the whole image.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from studies import FOLDERS, RESULTS, SETS

from thinlens.bench.leaves import dead_leaves
from thinlens.bench.machine import describe_host
from thinlens.bench.quality import evaluate, list_images, usable_images
from thinlens.compress.chain import Chain, run_chain
from thinlens.compress.compress import Settings
from thinlens.model.file import Model, read_model, write_model
from thinlens.runtime.session import Session
from thinlens.train.compress.steps import Options, take_step
from thinlens.train.datasets.images import find_images
from thinlens.train.importer import import_weights
from thinlens.train.loop import Watch

SIZE = (180, 320)  # height and width of the degraded image, for 1280x720
INT8, FLOATS = "#c8553d", "#3182bd"  # colours of points
ROUNDS = 9  # of each model in turn, of which the median counts
TIME, BYTES = "time of an image, over that of the imported network", "size of the file, kB"


def models_of(arguments: argparse.Namespace) -> dict[str, Path]:
    """Every model of the front, made where it is not there yet: what was done to it -> its file."""
    arguments.runs.mkdir(parents=True, exist_ok=True)
    begun = arguments.runs / "imported.safetensors"
    if not begun.is_file():
        write_model(begun, import_weights(arguments.weights, family="rfdn").model)
    made = {"imported": begun, "int8": made_by(begun, "int8", None, arguments)}
    for ratio in arguments.ratio:
        cut = made_by(begun, arguments.method, ratio, arguments)
        made[f"{ratio:.0%} of the channels cut"] = cut
        made[f"{ratio:.0%} cut, int8"] = made_by(cut, "int8", None, arguments)
    return made


def made_by(source: Path, method: str, ratio: float | None, arguments: argparse.Namespace) -> Path:
    """The file of a model behind one more step."""
    output = source.with_name(f"{source.stem}_{method}{'' if ratio is None else f'_{ratio:g}'}.safetensors")
    if output.is_file():
        return output
    folders = find_images(arguments.data, tuple(FOLDERS), permissive=True)
    learned, _ = usable_images([path for folder in folders for path in folder.files])
    held_out, _ = usable_images(list_images(arguments.data / "val"))
    if ratio is None:
        learned = learned[: len(held_out)]
    measured = (held_out * len(learned))[: len(learned)]  # every other image is learned from, the rest measured on
    paths = [path for pair in zip(learned, measured, strict=True) for path in pair]
    degradation, threads = {"scale": 4}, arguments.threads
    steps = arguments.finetune_steps
    options = Options(
        degradation, ratio or 0.0, steps, search_steps=arguments.search_steps, trunks=True, threads=threads
    )
    known = {"ratio": options.ratio, "finetune_steps": options.finetune_steps, "search_steps": options.search_steps}
    chain = Chain([method], paths, Settings(degradation, threads=threads), partial(step, options), known)
    run_chain(read_model(source), chain, output, resume=True, report=tell)
    return output


def step(options: Options, model: Model, name: str, images: Sequence[Any], folder: Path, report: Any) -> Model:
    """A step that trains."""
    return take_step(model, name, images, options, Watch(name, folder, report))


def tell(name: str, done: float, total: float) -> None:
    """A line now and then."""
    if done == total or not done % 500:
        print(f"{name}: {done:g} of {total:g}", flush=True)


def seconds_of(sessions: dict[str, Session]) -> dict[str, list[float]]:
    """Times of one image, the models in turn; the first round does not count."""
    lq = dead_leaves(max(SIZE), 0)[: SIZE[0], : SIZE[1]]
    image = np.ascontiguousarray(lq if lq.ndim == 3 else np.repeat(lq[..., None], 3, axis=2))
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(ROUNDS + 1):
        for name, session in sessions.items():
            begun = time.perf_counter()
            session.run(image)
            times[name].append(time.perf_counter() - begun)
    return {name: taken[1:] for name, taken in times.items()}


def stream(session: Session) -> dict[str, int]:
    """Push an image row by row; what the stream held, if its pixels are those of the whole image.

    Raises:
        SystemExit: if they are not.
    """
    height, width = SIZE
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    rows = session.rows(width, height)
    parts = [rows.push(image[at : at + 1]) for at in range(height)]
    parts.append(rows.flush())
    if not np.array_equal(np.concatenate(parts), session.run(image)):
        raise SystemExit("the stream gives other pixels than the whole image")
    return {"halo_rows": rows.halo_rows, "latency_rows": rows.latency_rows, "buffer_bytes": rows.buffer_bytes}


def measure(paths: dict[str, Path], data: Path) -> list[dict[str, Any]]:
    """One entry a model."""
    models = {name: read_model(path) for name, path in paths.items()}
    sessions = {name: Session(model, threads=1) for name, model in models.items()}
    times = seconds_of(sessions)
    entries = []
    for name, model in models.items():
        ratios = [own / first for own, first in zip(times[name], times["imported"], strict=True)]
        quality = {
            folder: round(evaluate(sessions[name].run, list_images(data / folder), scale=4, colour=True).psnr_y_db, 4)
            for folder in SETS
        }
        entries.append(
            {
                "model": name,
                "bytes": paths[name].stat().st_size,
                "params": model.card.params,
                "macs_per_pixel": round(model.card.macs_per_pixel, 1),
                "milliseconds": round(1000 * statistics.median(times[name]), 2),
                "time": round(statistics.median(ratios), 4),
                "quality": quality,
                **stream(sessions[name]),
                "history": msgspec.to_builtins(model.card.history),
            }
        )
        print(f"{name}: {entries[-1]['bytes']} bytes, {entries[-1]['milliseconds']} ms, {quality}", flush=True)
    return entries


def to_page(entries: list[dict[str, Any]], host: dict[str, Any]) -> str:
    """The record as a page."""
    height, width = SIZE
    page = (
        "# A chain of compression, end to end\n\n"
        "`python benchmarks/compress_chain.py` imports the official RFDN, cuts its channels, trains what is left,\n"
        "puts it on bytes, measures and writes this page; the steps of each model are in the record beside it. PSNR\n"
        f"of Y in dB (border 4). Time: of an image of {width}x{height}, one thread, the models in turn, over that of\n"
        f"the imported one, median of {ROUNDS}. Each model was streamed row by row and gave the pixels of the whole\n"
        "image.\n\n"
        "![front](compress_chain.svg)\n\n"
        f"| | bytes | parameters | MACs a pixel | ms | time | {' | '.join(SETS)} | stream: rows, bytes |\n"
        f"|---|--:|--:|--:|--:|--:|{'--:|' * len(SETS)}--:|\n"
    )
    for entry in entries:
        cells = [entry["model"], f"{entry['bytes']:,}", f"{entry['params']:,}", f"{entry['macs_per_pixel']:,.0f}"]
        cells += [f"{entry['milliseconds']:.1f}", f"{entry['time']:.2f}"]
        cells += [f"{entry['quality'][name]:.3f}" for name in SETS]
        page += f"| {' | '.join(cells)} | {entry['latency_rows']}, {entry['buffer_bytes']:,} |\n"
    return page + f"\n{host['processor']}, {host['system']}, Python {host['python']}; commit {host['commit']}.\n"


def draw(entries: list[dict[str, Any]]) -> str:
    """Two plots side by side: PSNR on Set14 over time, and over bytes."""
    side, gap, top = 330, 90, 40
    values = [entry["quality"]["Set14"] for entry in entries]
    low, high = min(values) - 0.1, max(values) + 0.1
    parts = ['<rect width="100%" height="100%" fill="white"/>']
    for at, (key, unit, title) in enumerate((("time", 1, TIME), ("bytes", 1000, BYTES))):
        left, most = gap + at * (side + gap), max(entry[key] / unit for entry in entries) * 1.1
        parts.append(f'<rect x="{left}" y="{top}" width="{side}" height="{side}" fill="none" stroke="#999"/>')
        parts.append(f'<text x="{left + side / 2}" y="{top + side + 34}" text-anchor="middle">{title}</text>')
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            x, y = left + side * share, top + side * (1 - share)
            label = f"{most * share:,.{2 if unit == 1 else 0}f}"
            parts.append(f'<text x="{x}" y="{top + side + 16}" text-anchor="middle">{label}</text>')
            parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{low + (high - low) * share:.2f}</text>')
        for entry in entries:
            x = left + side * entry[key] / unit / most
            y = top + side * (high - entry["quality"]["Set14"]) / (high - low)
            colour = INT8 if "int8" in entry["model"] else FLOATS
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            anchor, shift = ("end", -7) if x > left + side / 2 else ("start", 7)
            below = 14 if colour == INT8 else -6  # where both lie close together, their names do not
            parts.append(
                f'<text x="{x + shift:.1f}" y="{y + below:.1f}" text-anchor="{anchor}">{entry["model"]}</text>'
            )
    parts.append(f'<text x="{gap}" y="22" font-weight="bold">RFDN x4, compressed: PSNR of Y on Set14, dB</text>')
    width, height = 2 * side + 2 * gap + 30, side + top + 50
    style = 'font-family="sans-serif" font-size="11"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {style}>'
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def main() -> None:
    """Make, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--method", default="dual-regression")
    parser.add_argument("--ratio", type=float, nargs="+", default=[0.5])
    parser.add_argument("--finetune-steps", type=int, default=20_000)
    parser.add_argument("--search-steps", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    entries = measure(models_of(arguments), arguments.data)
    host = msgspec.to_builtins(describe_host())
    record = {"host": host, "finetune_steps": arguments.finetune_steps, "entries": entries}
    (arguments.output / "compress_chain.json").write_text(json.dumps(record, indent=1) + "\n")
    (arguments.output / "compress_chain.md").write_text(to_page(entries, host))
    (arguments.output / "compress_chain.svg").write_text(draw(entries))


if __name__ == "__main__":
    main()
