"""A folder of small records, made up, to build reports from."""

import json

import numpy as np
from PIL import Image

FAMILIES = {"bicubic": 0, "edge_sr_max": 1, "edge_sr_tm": 2, "espcn": 3}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \u2028 &amp; ' \" `"


def member(family="espcn", scale=2, size=1, **changes):
    """A member as `pool.json` has it: the larger its size the slower and better; published figures 0.3 dB below."""
    cost, psnr = 1 + size, 30 + size + 0.1 * FAMILIES.get(family, 4)
    speed = {str(n): {"ms": 2.0 * cost / n, "fps": 500.0 * n / cost, "against_bicubic": cost / 2} for n in (1, 2)}
    sets = {"Set5": psnr, "B100": psnr - 3}
    return {
        "name": f"{family}_{size}_x{scale}",
        "family": family,
        "task": "sr",
        "scale": scale,
        "params": 100 * size,
        "bytes": 400 * size,
        "macs_720p": 10**7 * size,
        "training": {
            "schedule": "short",
            "steps": 10,
            "seed": 0,
            "minutes": 1.5,
            "source": "shipped" if size == 2 else "pool",
        },
        "quality": {name: {"psnr_db": value, "ssim": 0.9} for name, value in sets.items()},
        "speed": speed,
        "peak_bytes": 10**6 * size,
        "energy_mj": None,
        "published": {
            "Set5": {"psnr_db": psnr - 0.3, "ssim": 0.89},
            "BSDS100": {"psnr_db": psnr - 3.3, "ssim": 0.8},
            "speed_AGX": 20.5,
        },
    } | changes


def members():
    """Four families at two scales, three sizes each; one more was not trained."""
    known = [member(family, scale, size) for family in FAMILIES for scale in (2, 3) for size in (1, 2, 3)]
    return [*known, member("fsrcnn", 2, 4, quality={}, training=None, bytes=None)]


def write(folder, name, value):
    """Write a record, or text as it is."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def picture(folder, name, side=8):
    """Write a picture of noise."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)).save(path)


def make_records(folder, text="plain"):
    """Write one record of each kind; ``text`` stands wherever words may."""
    write(folder, "pool.json", {"host": {"processor": text}, "protocol": {}, "members": members()})
    pictures = [{"label": label, "file": f"{label}.png", "psnr_db": 30.0} for label in ("bicubic", "model", "original")]
    for name in ("bicubic", "model", "original"):
        picture(folder, f"crops/{name}.png")
    scenes = [{"name": f"{text} {n}", "pictures": pictures} for n in (1, 2)]
    write(folder, "crops.json", {"command": text, "source": text, "scenes": scenes})
    picture(folder, "templates/keys.webp")
    write(folder, "templates.json", [{"name": text, "pictures": ["keys.webp"], "text": text}])
    streams = [
        {"network": f"Line {text}", "size": size, "width": w, "peak_over_bare": w * 10**4}
        for size, w in (("1080p", 1920), ("4K", 3840))
    ]
    write(folder, "line_dl_memory.json", {"streams": streams, "whole": []})
    write(folder, "huge.json", [{"model": text, "width": 10**4, "height": 10**4, "peak_bytes": 10**8}])
    write(
        folder,
        "one_layer.md",
        f"# One layer\n\n{text} [rows](memory.md)\n\n## Table\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n",
    )
    write(folder, "memory.md", "# Memory\n\nText.\n")
    return folder
