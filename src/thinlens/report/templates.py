"""Pictures of a one-layer upscaler's filters, and of which candidate wins where (needs the extra `report`)."""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from thinlens.bench.templates import Match, Templates, response

Array = npt.NDArray[Any]
SIGNS, LEVELS = "RdBu_r", "magma"  # for what has a sign, and for what has none
CLEAR = 0.98  # share of the pixels whose winners lead by less than the clearest: their colour fades


def draw_filters(templates: Templates, format: str = "png") -> bytes:
    """Draw the filters of the first phase and their frequency responses, a column a candidate.

    Args:
        templates: of a model.
        format: ``png`` or ``webp``.
    """
    shown, roles = templates.shown, templates.roles
    count = shown.shape[1]
    cell = 0.95 if count > 6 else 1.3
    figure = Figure(figsize=(1.0 + cell * count, 0.5 + 2 * len(roles) * cell), layout="compressed", dpi=100)
    axes = figure.subplots(2 * len(roles), count, squeeze=False)
    for row, role in enumerate(roles):
        size = np.abs(shown[row]).max()
        responses = [response(taps) for taps in shown[row]]
        for candidate, taps in enumerate(shown[row]):
            axes[row, candidate].imshow(taps, SIGNS, vmin=-size, vmax=size)
            spectrum = axes[len(roles) + row, candidate]
            spectrum.imshow(responses[candidate], LEVELS, vmin=0, vmax=max(map(np.max, responses)))
        axes[row, 0].set_ylabel(role + (" - mean" if templates.family == "tm" and role == "key" else ""))
        axes[len(roles) + row, 0].set_ylabel(f"|{role}|")
    for candidate in range(count):
        axes[0, candidate].set_title(f"{candidate}", color=_colours(count)[candidate], weight="bold")
    for each in axes.flat:
        each.set(xticks=[], yticks=[])
    return _finish(figure, format)


def draw_match(templates: Templates, match: Match, format: str = "png") -> bytes:
    """Draw a picture, the candidate that wins each pixel of its result, the shares, and the mean patch of each."""
    count = len(match.wins)
    colours = np.array([mpl.colors.to_rgb(colour) for colour in _colours(count)])
    lead = match.weights.max(axis=0) - 1 / count
    certain = np.clip(lead / max(np.quantile(lead, CLEAR), 1e-6), 0, 1) if count > 1 else np.ones_like(lead)
    mixed = 1 - certain[..., None] * (1 - colours[match.winner])
    figure = Figure(figsize=(11, 5.6), layout="compressed", dpi=100)
    rows = figure.add_gridspec(2, 1, height_ratios=(3, 1))
    upper, lower = rows[0].subgridspec(1, 3, width_ratios=(1, 1, 0.7)), rows[1].subgridspec(1, count)
    picture, map_, bars = (figure.add_subplot(upper[0, column]) for column in range(3))
    picture.imshow(match.picture, "gray", vmin=0, vmax=1)
    picture.set_title("picture")
    map_.imshow(mixed, interpolation="nearest")
    map_.set_title("who wins; the paler, the less alone")
    bars.barh(range(count), [100 * wins.share for wins in match.wins], color=colours)
    bars.set(title="wins, % of pixels", yticks=range(count))
    bars.invert_yaxis()
    bars.spines[["top", "right"]].set_visible(False)
    patches = [figure.add_subplot(lower[0, column]) for column in range(count)]
    patches[0].set_ylabel("mean patch\nwhere it wins")
    for candidate, axis in enumerate(patches):
        size = max(np.abs(match.patches[candidate]).max(), 1e-12)
        axis.imshow(match.patches[candidate], SIGNS, vmin=-size, vmax=size)
        axis.set_title(f"{candidate}", color=colours[candidate], weight="bold")
    for axis in (picture, map_, *patches):
        axis.set(xticks=[], yticks=[])
    return _finish(figure, format)


def _colours(count: int) -> list[str]:
    """Colours that can be told apart, one a candidate."""
    names = "tab10" if count <= 10 else "tab20"
    return [mpl.colors.to_hex(mpl.colormaps[names](index)) for index in range(count)]


def _finish(figure: Figure, format: str) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format=format, facecolor="white")
    return target.getvalue()
