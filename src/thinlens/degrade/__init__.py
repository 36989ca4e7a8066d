"""From clean images (hq) to degraded ones (lq): one file for each way, and the table of them."""

from thinlens.degrade.bicubic import bicubic_down
from thinlens.degrade.jpeg import jpeg_round_trip
from thinlens.degrade.noise import gaussian_noise

DEGRADATIONS = {"bicubic": bicubic_down, "noise": gaussian_noise, "jpeg": jpeg_round_trip}
