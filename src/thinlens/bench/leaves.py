"""Pictures for studies when there are none: discs of all sizes that cover one another, like dead leaves.

Their edges and flat parts are distributed as those of photographs, whatever the scale.

Source: Lee, Mumford, Huang, Occlusion Models for Natural Images, IJCV 2001, section 3.
"""

import numpy as np
import numpy.typing as npt

SMALLEST, LARGEST = 2.0, 200.0  # radii, pixels
LEAVES = 3000


def dead_leaves(side: int, seed: int) -> npt.NDArray[np.uint8]:
    """A picture of random discs, radii as ``r^-3``, each shaded a little: ``side side 3`` uint8, RGB."""
    rng = np.random.default_rng(seed)
    picture = np.full((side, side, 3), 127.0, np.float32)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    spread = SMALLEST**-2 - LARGEST**-2
    for _ in range(LEAVES):
        radius = (SMALLEST**-2 - rng.random() * spread) ** -0.5
        row, column = rng.uniform(-radius, side + radius, 2)
        top, left = (max(0, int(at - radius)) for at in (row, column))
        box = np.s_[top : int(row + radius) + 2, left : int(column + radius) + 2]
        inside = (y[box] - row) ** 2 + (x[box] - column) ** 2 < radius**2
        slope = rng.normal(0, 20 / radius, 2)
        shade = slope[0] * (y[box] - row) + slope[1] * (x[box] - column)
        leaf = rng.uniform(20, 235, 3) + shade[..., None]
        picture[box] = np.where(inside[..., None], leaf, picture[box])
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
