"""Videos end to end beside ffmpeg's bicubic: decode, enlarge 960x540 to 1920x1080, encode by the same settings.

    python benchmarks/video_speed.py [--model edge_sr_max_k5_c2_x2] [--frames 240] [--pairs 9] [--preset medium]

Needs the extra `video`, and ffmpeg with libx264. The clip is a pan over the example photo. Each of a pair of runs is a
process of its own, start-up included, with two threads; pairs alternate, and a ratio above 1 says that thinlens is the
quicker. CPU seconds say the same on a busy machine. Then the stages are timed alone, in one process, in CPU time a
frame. Writes `docs/results/video_speed.json` and `.md`.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import av
from av.video.frame import VideoFrame

from thinlens.runtime.restore import Restorer, Wish
from thinlens.video import source
from thinlens.video.encode import Encoding, encoder_options
from thinlens.video.frames import PlaneRestorer, find_route
from thinlens.video.planes import create_frame, planes_of

ROOT = Path(__file__).parents[1]
T = TypeVar("T")
RESULTS = ROOT / "docs" / "results"
CRF, THREADS, STAGE_FRAMES = "18", "2", 40
HEAD = """# Videos beside ffmpeg

`python benchmarks/video_speed.py` measures and writes this page. A pan over the example photo, {frames} frames of
960x540 in H.264, enlarged to 1920x1080 and encoded by libx264, CRF {crf}, preset {preset}, two threads: `thinlens
restore --model {model}` against `ffmpeg -vf scale=1920:1080:flags=bicubic`. Medians over {pairs} alternating
pairs of processes, start-up included; above 1, thinlens is the quicker. The network's picture is sharper: the encoder
has more to do, and the file is {size:.2f} times as large.

| | ratio to ffmpeg | of the pairs |
|---|--:|---|
| time | {wall:.2f} | {wall_range} |
| CPU time | {cpu:.2f} | {cpu_range} |

CPU time of the stages, each alone in one process, in ms a frame. *bicubic*: what swscale takes for all three planes.

| decode | to full range | network | to limited range | chroma | encode | bicubic | encode bicubic |
|--:|--:|--:|--:|--:|--:|--:|--:|
| {stages} |

The encoder sets the limit: were everything between decoding and encoding free, ffmpeg would take {bound:.2f} times as
long as thinlens at the same codec settings.

{processor}, {cpus} processors, load {load[0]:.1f} before and {load[1]:.1f} after; PyAV {av} with libavcodec
{libavcodec}; {ffmpeg}.
"""


def make_clip(folder: Path, frames: int) -> Path:
    """A pan over the example photo."""
    clip = folder / "clip.mp4"
    pan = "scale=1400:-2,crop=960:540:x='mod(n*2,400)':y='mod(n,200)',format=yuv420p,setsar=1"
    photo = ["-loop", "1", "-framerate", "24", "-i", str(ROOT / "examples" / "dog.webp")]
    encode = ["-frames:v", str(frames), "-c:v", "libx264", "-crf", "16", "-preset", "fast"]
    tags = ["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *photo, "-vf", pan, *encode, *tags, str(clip)], check=True)
    return clip


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds, and CPU seconds, of a process."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.monotonic() - begun, cpu


def stages(clip: Path, model: str, preset: str) -> dict[str, float]:
    """CPU milliseconds a frame of each stage."""
    track = source.read_track(clip)
    found: dict[str, float] = {}

    def cpu(name: str, work: Callable[[], T]) -> T:
        begun = time.process_time()
        result = work()
        found[name] = round((time.process_time() - begun) / STAGE_FRAMES * 1e3, 2)
        return result

    frames = cpu("decode", lambda: list(islice(source.decode(clip, track, int(THREADS)), STAGE_FRAMES)))
    route = find_route(track, Restorer(Wish(model=model), threads=int(THREADS)), None)
    restorer = PlaneRestorer(track, route)
    restored = [restorer.run(frame) for frame in frames]
    levels, chroma = restorer.levels, restorer.chroma
    planes = [planes_of(frame, track.layout) for frame in frames]
    outs = [create_frame(track.layout, 1920, 1080)[1] for _ in frames]
    full = cpu("to_full", lambda: [levels.to_full(luma) for luma, *_ in planes])
    large = cpu("network", lambda: [route.run(luma) for luma in full])
    cpu("from_full", lambda: [levels.from_full(a, out[0]) for a, out in zip(large, outs, strict=True)])
    if chroma is not None:
        cpu("chroma", lambda: [chroma.run(p[i], out[i]) for p, out in zip(planes, outs, strict=True) for i in (1, 2)])
    encoder, options = encoder_options("h264", float(CRF), preset)
    encoding = Encoding(
        encoder, options, 1920, 1080, "yuv420p", track.time_base, track.rate, track.tags, None, int(THREADS)
    )

    def encode(pictures: list[VideoFrame]) -> None:
        context = encoding.open()
        for picture, frame in zip(pictures, frames, strict=True):
            picture.pts, picture.time_base = frame.pts, track.time_base
            context.encode(picture)
        context.encode(None)

    cpu("encode", lambda: encode(restored))
    scaled = cpu(
        "bicubic", lambda: [frame.reformat(1920, 1080, interpolation="BICUBIC", threads=1) for frame in frames]
    )
    cpu("encode_bicubic", lambda: encode(scaled))
    return found


def main() -> None:
    """Measure, print pairs, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="edge_sr_max_k5_c2_x2")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--preset", default="medium")
    arguments = parser.parse_args()
    pairs, load = [], [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = make_clip(folder, arguments.frames)
        settings = ["--codec", "h264", "--crf", CRF, "--preset", arguments.preset, "-j", THREADS, "-f"]
        out, peer_out = folder / "out.mp4", folder / "peer.mp4"
        ours = [sys.executable, "-m", "thinlens", "restore", str(clip), "-o", str(out), "--model", arguments.model]
        scale = ["-threads", THREADS, "-i", str(clip), "-vf", "scale=1920:1080:flags=bicubic"]
        encode = ["-c:v", "libx264", "-crf", CRF, "-preset", arguments.preset, "-threads", THREADS, str(peer_out)]
        commands = ours + settings, ["ffmpeg", "-v", "error", "-y", *scale, *encode]
        for number in range(arguments.pairs):
            order = commands if number % 2 else commands[::-1]
            done = {command[0]: timed(command) for command in order}
            mine, peer = done[commands[0][0]], done["ffmpeg"]
            pairs.append({"wall": round(peer[0] / mine[0], 3), "cpu": round(peer[1] / mine[1], 3)})
            print(json.dumps(pairs[-1]), flush=True)
        size = out.stat().st_size / peer_out.stat().st_size
        found = stages(clip, arguments.model, arguments.preset)
    load.append(os.getloadavg()[0])
    version = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]
    record = {
        "model": arguments.model,
        "frames": arguments.frames,
        "preset": arguments.preset,
        "crf": CRF,
        "pairs": pairs,
        "size_ratio": round(size, 3),
        "stages_cpu_ms": found,
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "load": load,
        "av": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "ffmpeg": version.split(" Copyright")[0],
    }
    RESULTS.joinpath("video_speed.json").write_text(json.dumps(record, indent=1) + "\n")
    RESULTS.joinpath("video_speed.md").write_text(to_page(record))


def to_page(record: dict[str, Any]) -> str:
    """The page of a record."""
    figures = {}
    for key in ("wall", "cpu"):
        ratios = [pair[key] for pair in record["pairs"]]
        figures |= {key: statistics.median(ratios), f"{key}_range": f"{min(ratios):.2f} to {max(ratios):.2f}"}
    ms = record["stages_cpu_ms"]
    bound = (ms["decode"] + ms["bicubic"] + ms["encode_bicubic"]) / (ms["decode"] + ms["encode"])
    text = {**record, **figures, "bound": bound, "pairs": len(record["pairs"]), "size": record["size_ratio"]}
    return HEAD.format(**{**text, "stages": " | ".join(f"{ms:.1f}" for ms in record["stages_cpu_ms"].values())})


if __name__ == "__main__":
    main()
