#!/usr/bin/env python3
"""Draw the README's picture: a piece of the example photo enlarged four times, three ways.

Run from the repository: `python benchmarks/example_picture.py docs/images/dog_x4.webp`
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from thinlens.image.files import read_image
from thinlens.image.resample import resize_uint8
from thinlens.runtime.restore import restore

SCALE = 4
TOP, LEFT, HEIGHT, WIDTH = 438, 420, 104, 86


def main() -> None:
    """Write the picture to the path given."""
    photo = read_image(Path("examples/dog.webp"), max_pixels=10**6).pixels
    large = tuple(SCALE * n for n in photo.shape[:2])
    inside = np.s_[SCALE * TOP : SCALE * (TOP + HEIGHT), SCALE * LEFT : SCALE * (LEFT + WIDTH)]
    panels = {
        "nearest neighbour": photo.repeat(SCALE, 0).repeat(SCALE, 1),
        "bicubic": resize_uint8(photo, *large),
        "thinlens (balanced)": restore(photo, scale=SCALE),
    }
    strip = Image.fromarray(np.hstack([panel[inside] for panel in panels.values()]))
    draw = ImageDraw.Draw(strip)
    for i, name in enumerate(panels):
        draw.text((SCALE * WIDTH * i + 6, 4), name, fill="white", stroke_width=2, stroke_fill="black", font_size=16)
    strip.save(sys.argv[1], quality=90)


if __name__ == "__main__":
    main()
