"""Measure denoisers and deblockers beside what a PC has without them: OpenCV's NLM, FFmpeg's filters, jpeg-quantsmooth.

    python benchmarks/denoise_deblock.py MODEL ... --data DIR [--ffmpeg FFMPEG] [--quantsmooth JPEGQS]

MODEL: shipped names or model files, each measured on its own task. ``--data`` holds the sets and val; the rivals'
strengths are chosen on pieces of six images of val, one for each sigma and quality. Writes ``denoise_deblock.json`` and
``.md`` in ``docs/results``; figures that are there and were not asked for again stay. NLM needs the extra ``bench``.
FFmpeg and jpeg-quantsmooth are programs; rivals that are not given are left out.
"""

import argparse
import io
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from thinlens.bench.pairs import create_pairs
from thinlens.bench.quality import list_images, read_hq
from thinlens.image.colour import from_float32, to_float32
from thinlens.metrics.protocol import Protocol
from thinlens.runtime.session import Session, open_model

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SIGMAS, QUALITIES = (15, 25, 50), (10, 20, 30, 40)
NOISY_SETS, BLOCKY_SETS = ("CBSD68", "McMaster", "BSD68", "Set12"), ("LIVE1",)
GRAY = ("BSD68", "Set12", "LIVE1")  # sets that are measured on one plane
CHOSEN_ON, PIECE = 6, np.s_[128:320, 128:320]  # images of val, and what is taken of each
HEAD = """# Denoising and deblocking: ours beside what a PC has

`python benchmarks/denoise_deblock.py` measures and writes this page. Noise: white, Gaussian, seed 0 anew for each
image, neither clipped nor rounded; PSNR over RGB (BSD68 and Set12: gray), no border, results rounded to 8 bits: the
protocol of the DnCNN line and of BBCU. *8-bit file*: the same noise clipped and rounded, as it lies in a file; NLM gets
that too. JPEG: luma of studio range, encoded as gray by libjpeg, PSNR on that plane, no border; OpenCV encodes all of
LIVE1 to the same pixels. In brackets: the rivals' strengths, the best on pieces of six images of val for each sigma and
quality; *RGB 3* is NLM on RGB with windows of 3 pixels, *Lab* on lightness and colour apart. Networks
are blind: they are not told sigma or quality.
"""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """One damaged image.

    Args:
        lq: float32 around 0..1.
        jpeg: the file, for deblocking.
        level: sigma, or quality.
    """

    lq: npt.NDArray[np.float32]
    jpeg: bytes
    level: int

    @property
    def rounded(self) -> Bytes:
        """As an 8-bit file holds it."""
        return from_float32(self.lq, np.uint8)


Way = Callable[[Sample], Bytes]


def damaged(task: str, level: int, images: Iterable[Bytes], *, colour: bool) -> Iterable[tuple[Bytes, Sample]]:
    """Clean images and damaged ones, by the protocols of `thinlens evaluate`."""
    pairs = create_pairs(colour=colour, **{"sigma" if task == "denoise" else "quality": level})
    for image in images:
        hq, lq = pairs.make(image)
        file = io.BytesIO()
        if task == "deblock":
            Image.fromarray(hq).save(file, "jpeg", quality=level)
        yield hq, Sample(to_float32(lq), file.getvalue(), level)


def measure(task: str, level: int, images: Iterable[Bytes], ways: dict[str, Way], *, colour: bool) -> dict[str, float]:
    """Mean PSNR of each way, dB."""
    protocol = Protocol(channel="rgb", border=0, luma=None)  # all values of a plane, or of three
    found: dict[str, list[float]] = {name: [] for name in ways}
    for hq, sample in damaged(task, level, images, colour=colour):
        for name, way in ways.items():
            found[name].append(protocol.psnr_db(way(sample), hq))
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


def unchanged(sample: Sample) -> Bytes:
    """The damaged image, as a file would hold it."""
    return sample.rounded


def nlm(factor: float, *, template: int = 7, lab: bool = False) -> Way:
    """OpenCV's non-local means with a search window of 21 and a strength of ``factor * sigma``.

    Args:
        factor: of the strength.
        template: side of the window that is compared.
        lab: whether lightness and colour are denoised apart, as OpenCV proposes for photographs, or RGB as it is.
    """
    import cv2

    cv2.setNumThreads(1)

    def run(sample: Sample) -> Bytes:
        strength = factor * sample.level
        image = np.ascontiguousarray(sample.rounded)
        if lab:
            bgr = np.ascontiguousarray(image[..., ::-1])
            restored = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, template, 21)[..., ::-1]
        else:
            restored = cv2.fastNlMeansDenoising(image, None, strength, template, 21)
        return np.asarray(restored, np.uint8)

    return run


def ffmpeg(program: Path, filters: str) -> Way:
    """A filter of FFmpeg on 8-bit gray pixels."""

    def run(sample: Sample) -> Bytes:
        image = sample.rounded
        raw = ["-f", "rawvideo", "-pix_fmt", "gray"]
        size = ["-s", f"{image.shape[1]}x{image.shape[0]}"]
        call = [program, "-v", "error", *raw, *size, "-i", "-", "-vf", filters]
        done = subprocess.run([*map(str, call), *raw, "-"], input=image.tobytes(), capture_output=True, check=True)
        return np.frombuffer(done.stdout, np.uint8).reshape(image.shape)

    return run


def quantsmooth(program: Path, quality: int) -> Way:
    """jpeg-quantsmooth: looks for the smoothest coefficients that the file's quantisation allows."""

    def run(sample: Sample) -> Bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.jpg", Path(folder) / "out.jpg"
            source.write_bytes(sample.jpeg)
            subprocess.run(
                [str(program), "-q", str(quality), str(source), str(target)], capture_output=True, check=True
            )
            with Image.open(target) as image:
                return np.asarray(image.convert("L"))

    return run


def network(session: Session, *, rounded: bool = False) -> Way:
    """A model, on floats or on 8 bits."""
    return lambda sample: from_float32(to_float32(session.run(sample.rounded if rounded else sample.lq)), np.uint8)


def best(task: str, level: int, data: Path, candidates: dict[str, Way], *, colour: bool = False) -> tuple[str, Way]:
    """The candidate that is best on pieces of images of val at this level."""
    paths = [path for path in list_images(data / "val") if "cid22" in path.name][:CHOSEN_ON]
    found = measure(task, level, [read_hq(path)[PIECE] for path in paths], candidates, colour=colour)
    name = max(found, key=lambda name: found[name])
    return name, candidates[name]


def rivals(task: str, level: int, arguments: argparse.Namespace, *, colour: bool) -> dict[str, tuple[str, Way]]:
    """The rivals of a task at a level by name, each with the strength that was chosen."""
    chosen: dict[str, tuple[str, Way]] = {}
    if task == "denoise":
        ways = {f"Lab, h = {f:g} sigma": nlm(f, lab=True) for f in (0.4, 0.5, 0.6, 0.7, 0.8) if colour}
        kind = "RGB" if colour else "gray"
        ways |= {
            f"{kind} {n}, h = {f:g} sigma": nlm(f, template=n) for f in (0.8, 0.9, 1.0, 1.1, 1.2) for n in (3, 5, 7)
        }
        chosen["OpenCV NLM"] = best(task, level, arguments.data, ways, colour=colour)
        return chosen
    if arguments.ffmpeg:
        for name in ("spp=quality=6:mode=soft", "spp=quality=6:mode=hard", "pp7=mode=medium"):
            steps = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 26, 32, 40)
            ways = {f"qp {qp}": ffmpeg(arguments.ffmpeg, f"{name}:qp={qp}") for qp in steps}
            chosen[f"FFmpeg `{name}`"] = best(task, level, arguments.data, ways)
    if arguments.quantsmooth:
        ways = {f"-q {q}": quantsmooth(arguments.quantsmooth, q) for q in (3, 6)}
        chosen["jpeg-quantsmooth"] = best(task, level, arguments.data, ways)
    return chosen


def record_of(task: str, folder: str, level: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of one set at one level: rivals, then models."""
    sessions = [open_model(name, threads=1) for name in arguments.models]
    ways: dict[str, Way] = {"noisy" if task == "denoise" else "JPEG": unchanged}
    strengths = {}
    colour = folder not in GRAY
    chosen = {} if arguments.only_models else rivals(task, level, arguments, colour=colour)
    for name, (strength, way) in chosen.items():
        ways[name], strengths[name] = way, strength
    for session in sessions:
        if session.card.task == task and colour == (session.card.colour == "rgb"):
            ways[session.card.name] = network(session)
            if task == "denoise":
                ways[f"{session.card.name}, 8-bit file"] = network(session, rounded=True)
    paths = list_images(arguments.data / folder)
    psnr_db = measure(task, level, map(read_hq, paths), ways, colour=colour)
    return {"images": len(paths), "psnr_db": psnr_db, "strength": strengths}


def page(records: dict[str, Any]) -> str:
    """The tables, one for each set."""
    parts = [HEAD]
    for task, sets, levels in (("denoise", NOISY_SETS, SIGMAS), ("deblock", BLOCKY_SETS, QUALITIES)):
        word = "sigma" if task == "denoise" else "quality"
        for folder in sets:
            found = {level: records.get(f"{task} {folder} {level}") for level in levels}
            if not all(found.values()):
                continue
            names = list(dict.fromkeys(name for level in levels for name in found[level]["psnr_db"]))
            heads = [f"{word} {level}" for level in levels]
            parts += [f"## {folder}, {found[levels[0]]['images']} images, PSNR in dB\n"]
            parts += ["| | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(levels)]
            for name in names:
                cells = (_cell(found[level], name) for level in levels)
                parts.append(f"| {name} | " + " | ".join(cells) + " |")
            parts.append("")
    return "\n".join(parts)


def _cell(found: dict[str, Any], name: str) -> str:
    if name not in found["psnr_db"]:
        return ""
    strength = found["strength"].get(name)
    return f"{found['psnr_db'][name]:.2f}" + (f" ({strength})" if strength else "")


def main() -> None:
    """Measure, and write the page and its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", choices=("denoise", "deblock"))
    parser.add_argument("--sets", nargs="*", help="of --task; default: all")
    parser.add_argument("--ffmpeg", type=Path)
    parser.add_argument("--quantsmooth", type=Path)
    parser.add_argument("--only-models", action="store_true", help="leave the rivals' figures as they are")
    arguments = parser.parse_args()
    path = RESULTS / "denoise_deblock.json"
    records: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for task, sets, levels in (("denoise", NOISY_SETS, SIGMAS), ("deblock", BLOCKY_SETS, QUALITIES)):
        for folder, level in ((f, n) for f in arguments.sets or sets for n in levels if arguments.task in (None, task)):
            key = f"{task} {folder} {level}"
            found = record_of(task, folder, level, arguments)
            held = records.get(key, {"psnr_db": {}, "strength": {}})
            for field in ("psnr_db", "strength"):
                found[field] = held[field] | found[field]
            records[key] = found
            print(key, found["psnr_db"], flush=True)
            path.write_text(json.dumps(records, indent=1) + "\n")
    (RESULTS / "denoise_deblock.md").write_text(page(records))


if __name__ == "__main__":
    main()
