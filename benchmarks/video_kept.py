"""A real video through `thinlens restore`: everything kept, and the same frames however often the run is killed.

    python benchmarks/video_kept.py [--kills 20] [--seed 0] [--model edge_sr_max_k5_c2_x2]

Needs the extra `video`, ffmpeg and ffprobe. The MP4 is a pan over the example photo with two tracks of sound,
subtitles, chapters, tags, pixels of 4:3 and a quarter turn. ffprobe tells all fields of its tracks, chapters and format
before and after. Then runs are killed (`kill -9`) at random moments and go on with `--resume` until the video is done;
its frames (`ffmpeg -f framemd5`) are compared with those of a run that nobody killed. That is done until there were
enough kills. Writes `docs/results/video_kept.json` and `.md`.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
FRAMES, SEGMENT = 240, 12
# What must differ: the picture is larger, and other hands wrote it.
PICTURE = {"width", "height", "coded_width", "coded_height", "level", "bit_rate", "extradata_size", "profile", "refs"}
FORMAT = {"filename", "size", "bit_rate", "probe_score"}
SRT = "1\n00:00:00,500 --> 00:00:02,000\nErste Zeile\n\n2\n00:00:02,500 --> 00:00:08,000\nSecond line, überall\n"
CHAPTERS = """;FFMETADATA1
title=A panned picture
artist=thinlens
[CHAPTER]
TIMEBASE=1/1000
START=0
END=4000
title=Opening
[CHAPTER]
TIMEBASE=1/1000
START=4000
END=10000
title=The rest
"""
HEAD = """# Videos: what is kept, and runs that are killed

`python benchmarks/video_kept.py` measures and writes this page: an MP4 of {frames} frames, 320x180 to 640x360, with two
tracks of sound, subtitles, chapters, tags, pixels of 4:3 and a quarter turn.

ffprobe names {fields} fields of tracks, chapters and format; {same} are the same before and after. The others:

| field | before | after |
|---|---|---|
{others}

{kills} runs were killed by `kill -9` at random moments, over {videos} videos that were then gone on with until done, in
segments of {segment} frames. {equal} of {videos} have the same frames (framemd5) as a run that nobody killed.
"""


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def make_clip(folder: Path) -> Path:
    """The video."""
    (folder / "text.srt").write_text(SRT)
    (folder / "chapters.txt").write_text(CHAPTERS)
    plain, clip = folder / "plain.mp4", folder / "clip.mp4"
    photo = ["-loop", "1", "-framerate", "24000/1001", "-t", "10.01", "-i", ROOT / "examples" / "dog.webp"]
    sound = [item for pitch in (440, 880) for item in ("-f", "lavfi", "-i", f"sine={pitch}:d=10")]
    texts = ["-i", folder / "text.srt", "-i", folder / "chapters.txt"]
    maps = ["-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s", "-map_metadata", "4", "-map_chapters", "4"]
    pan = "scale=640:-2,crop=320:180:x='mod(n,300)':y='mod(n,150)',format=yuv420p,setsar=4/3"
    tags = ["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"]
    names = ["-metadata:s:a:0", "language=deu", "-metadata:s:a:1", "language=eng", "-metadata:s:s:0", "language=deu"]
    encode = ["-frames:v", str(FRAMES), "-c:v", "libx264", "-c:a", "aac", "-c:s", "mov_text", "-disposition:a:1", "0"]
    ffmpeg(*photo, *sound, *texts, *maps, "-vf", pan, *tags, *names, *encode, plain)
    copied = ["-map", "0:v", "-map", "0:a", "-map", "0:s", "-map_metadata", "0", "-map_chapters", "0", "-c", "copy"]
    ffmpeg("-i", plain, *copied, "-metadata:s:v", "rotate=90", clip)
    return clip


def probe(path: Path) -> dict[str, Any]:
    """All fields that ffprobe names, flat."""
    show = ["-show_streams", "-show_chapters", "-show_format", "-of", "json"]
    command = ["ffprobe", "-v", "error", *show, path.name]
    done = subprocess.run(command, check=True, capture_output=True, cwd=path.parent)
    return dict(flat("", json.loads(done.stdout)))


def flat(name: str, value: Any) -> list[tuple[str, Any]]:
    """Nested fields by their path."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in flat(f"{name}.{key}" if name else key, item)]
    if isinstance(value, list):
        return [pair for index, item in enumerate(value) for pair in flat(f"{name}.{index}", item)]
    return [(name, value)]


def may_differ(field: str) -> bool:
    """Whether a field tells of the picture's size or of who wrote the file."""
    place, last = field.rsplit(".", 1)[0], field.rsplit(".", 1)[-1]
    if last == "encoder" or "extradata" in last:
        return True
    return last in (PICTURE if place.startswith("streams.0") else FORMAT if place.startswith("format") else set())


def frames_of(path: Path) -> str:
    """Timestamps and MD5 of all frames."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v", "-f", "framemd5", "-"],
        check=True,
        capture_output=True,
    )
    return done.stdout.decode()


def killed(command: list[str], after: float) -> bool:
    """Start a command and kill it after some seconds; False: it was done before."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return False


def main() -> None:
    """Measure, print, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="edge_sr_max_k5_c2_x2")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, whole, out = make_clip(folder), folder / "whole.mp4", folder / "out.mp4"
        base = [sys.executable, "-m", "thinlens", "restore", str(clip), "--model", arguments.model]
        base += ["--segment", str(SEGMENT), "-j", "2"]
        begun = time.monotonic()
        subprocess.run([*base, "-o", str(whole)], check=True)
        seconds, expected = time.monotonic() - begun, frames_of(whole)
        before, after = probe(clip), probe(whole)
        fields = sorted(set(before) | set(after))
        others = {
            field: (before.get(field), after.get(field)) for field in fields if before.get(field) != after.get(field)
        }
        wrong = [field for field in others if not may_differ(field)]
        kills, equal, videos = 0, 0, 0
        while kills < arguments.kills:
            videos += 1
            while killed([*base, "-o", str(out), "--resume"], rng.uniform(0, seconds)):
                kills += 1
                kept = len(list(folder.glob("out.mp4.work/*.segment")))
                print(f"kill {kills}: {kept} segments kept", flush=True)
            equal += frames_of(out) == expected
            print(f"video {videos}: {'same' if equal == videos else 'OTHER'} frames", flush=True)
            out.unlink()
        left = [path.name for path in folder.iterdir() if path.name.startswith((".", "out"))]
        shutil.rmtree(folder / "out.mp4.work", ignore_errors=True)
    record = {
        "frames": FRAMES,
        "segment": SEGMENT,
        "fields": len(fields),
        "same": len(fields) - len(others),
        "others": others,
        "wrong": wrong,
        "kills": kills,
        "videos": videos,
        "equal": equal,
        "left": left,
    }
    RESULTS.joinpath("video_kept.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    rows = "\n".join(f"| `{field}` | {one} | {other} |" for field, (one, other) in others.items())
    RESULTS.joinpath("video_kept.md").write_text(HEAD.format(**{**record, "others": rows}))
    if wrong or left or equal != videos:
        raise SystemExit(f"not as it should be: fields {wrong}, left behind {left}, same frames {equal} of {videos}")


if __name__ == "__main__":
    main()
