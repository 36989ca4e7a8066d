"""From clean images (hq) to degraded ones (lq): one file for each way, and the table of them."""

from thinlens.degrade.bicubic import bicubic_down

DEGRADATIONS = {"bicubic": bicubic_down}
