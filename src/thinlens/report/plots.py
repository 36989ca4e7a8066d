"""Plots that lie beside the page, and in documents, as PNG and SVG."""

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from thinlens.report.memory import WAYS, Point
from thinlens.report.pareto import front
from thinlens.report.pool import FAMILIES, Axis, family_of, main_axis, our_points, panels_of, their_points
from thinlens.report.records import Member, Pool

Format = Literal["png", "svg"]
DPI = 160  # of PNG
WAY_COLOURS = (
    ("#0f766e", "#2dd4bf"),
    ("#c2410c", "#fb923c"),
    ("#4338ca", "#a5b4fc"),
    ("#a21caf", "#e879f9"),
    ("#52525b", "#a1a1aa"),
    ("#65600a", "#d9d06b"),
)
WAY_SHAPES = "osD^vP"
APART = 0.16  # powers of ten between names at the ends of lines


class Theme(NamedTuple):
    """Colours of what is not data; ``dark`` picks those of the data."""

    dark: bool
    ground: str
    ink: str
    faint: str


LIGHT = Theme(False, "#ffffff", "#27272a", "#e4e4e7")
DARK = Theme(True, "#18181b", "#e4e4e7", "#3f3f46")


def draw_fronts(pool: Pool, data: str, theme: Theme = LIGHT) -> Figure:
    """Quality against the main axis: a panel a scale, with the front of each family and the published figures."""
    return _panels(
        [(f"x{scale}", scale, name) for scale, name in panels_of(pool) if name == data], pool, theme, columns=3
    )


def draw_sets(pool: Pool, scale: int, theme: Theme = LIGHT) -> Figure:
    """The same for one scale: a panel a set."""
    return _panels(
        [(f"{data}, x{it}", it, data) for it, data in panels_of(pool) if it == scale], pool, theme, columns=2
    )


def draw_memory(points: Sequence[Point], theme: Theme = LIGHT) -> Figure:
    """Peak memory against the size of the image: a line for each network and way that was measured at several sizes."""
    lines: dict[tuple[str, ...], list[Point]] = {}
    for point in points:
        lines.setdefault((point.panel, point.network, point.way, point.record), []).append(point)
    several = {key: line for key, line in lines.items() if len(line) > 1}
    titles = list(dict.fromkeys(panel for panel, *_ in several))
    shown_ways = {way for _, _, way, _ in several}
    ways = [way for way in dict.fromkeys(WAYS.values()) if way in shown_ways]
    styles = {way: (pair[theme.dark], shape) for way, pair, shape in zip(ways, WAY_COLOURS, WAY_SHAPES, strict=False)}
    columns = 2 if len(titles) in (2, 4) else min(3, len(titles))
    figure = _figure(-(-len(titles) // columns), theme)
    shared: Axes | None = None
    for at, title in enumerate(titles):
        shared = axes = figure.add_subplot(-(-len(titles) // columns), columns, at + 1, sharex=shared, sharey=shared)
        shown = {key: line for key, line in several.items() if key[0] == title}
        _lines(axes, shown, styles, theme)
        axes.set(
            xscale="log", yscale="log", xlabel="image that goes in, megapixels" if at >= len(titles) - columns else ""
        )
        axes.set_ylabel("" if at % columns else "peak memory, MB")
        axes.set_title(title, color=theme.ink, fontsize=11, loc="left", fontweight="bold")
        _dress(axes, theme)
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    handles = [Line2D([], [], color=hue, marker=shape, label=way) for way, (hue, shape) in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=theme.ink)
    return figure


def _lines(
    axes: Axes, lines: Mapping[tuple[str, ...], list[Point]], styles: Mapping[str, tuple[str, str]], theme: Theme
) -> None:
    """Lines, each with its network's name above its end, unless another name is there or all have the same."""
    several, taken = len({network for _, network, *_ in lines}) > 1, list[float]()
    for (_, network, way, _), line in lines.items():
        hue, shape = styles[way]
        x, y = _split((point.megapixels, point.peak / 1e6) for point in line)
        axes.plot(x, y, color=hue, marker=shape, markersize=4.5, linewidth=1.4)
        height = math.log10(y[-1])
        if several and all(abs(height - other) > APART for other in taken):
            taken.append(height)
            style: dict[str, Any] = {"fontsize": 8, "color": theme.ink, "ha": "right", "va": "bottom"}
            axes.annotate(network, (x[-1], y[-1]), xytext=(0, 4), textcoords="offset points", **style)


def save(figure: Figure, kind: Format) -> bytes:
    """A figure's file: the same bytes for the same figure."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "thinlens", "font.family": "sans-serif"}):
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def _panels(panels: Sequence[tuple[str, int, str]], pool: Pool, theme: Theme, columns: int) -> Figure:
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, axis = _figure(rows, theme), main_axis(pool)
    for at, (title, scale, data) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, at + 1)
        members = [member for member in pool.members if member.scale == scale]
        _scatter(axes, members, axis, data, theme)
        axes.set(xscale="log", xlabel=f"{axis.text}, {axis.unit}" if at >= len(panels) - columns else "")
        axes.set_title(title, color=theme.ink, fontsize=11, loc="left", fontweight="bold")
        axes.set_ylabel("" if at % columns else "PSNR, dB")
        _dress(axes, theme)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    figure.legend(
        handles=list(_legend(pool, theme)),
        loc="outside lower center",
        ncols=8,
        frameon=False,
        fontsize=9,
        labelcolor=theme.ink,
    )
    return figure


def _figure(rows: int, theme: Theme) -> Figure:
    return Figure(figsize=(10, 0.7 + 3.6 * rows), layout="constrained", facecolor=theme.ground)


def _scatter(axes: Axes, members: list[Member], axis: Axis, data: str, theme: Theme) -> None:
    """Points, rings behind them, a line along the front of each family, and a band along the front of all."""
    ours, theirs = our_points(members, axis, data), their_points(members, axis, data)
    if not ours.pairs:
        return
    whole = [ours.pairs[at] for at in front(ours.pairs)]
    axes.plot(*_split(whole), color=theme.ink, alpha=0.12, linewidth=7, solid_capstyle="round", zorder=1)
    for family in FAMILIES.values():
        kin = [point for member, point in zip(ours.members, ours.pairs, strict=True) if family_of(member) == family]
        circles = [
            point for member, point in zip(theirs.members, theirs.pairs, strict=True) if family_of(member) == family
        ]
        marks: dict[str, Any] = {"marker": family.shape, "color": family.dark if theme.dark else family.light}
        ring: dict[str, Any] = {
            "linestyle": "",
            "markerfacecolor": "none",
            "markersize": 4,
            "alpha": 0.3,
            "markeredgewidth": 0.7,
        }
        axes.plot(*_split(circles), **marks, **ring, zorder=2)
        axes.plot(*_split(kin), **marks, linestyle="", markersize=3.5, alpha=0.45, markeredgewidth=0, zorder=3)
        best = [kin[at] for at in front(kin)]
        axes.plot(*_split(best), **marks, markersize=5, linewidth=1, markeredgewidth=0, zorder=4)
    plain = [psnr for member, (_, psnr) in zip(ours.members, ours.pairs, strict=True) if member.family == "bicubic"]
    high = max(psnr for _, psnr in [*ours.pairs, *theirs.pairs])
    low = min(high - 0.1, whole[0][1], *plain)  # what lies below both front and bicubic would press all else together
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))


def _split(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    pairs = list(points)
    return [x for x, _ in pairs], [y for _, y in pairs]


def _legend(pool: Pool, theme: Theme) -> Iterator[Line2D]:
    shown = {family_of(member) for member in pool.members}
    for family in [family for family in FAMILIES.values() if family in shown]:
        colour = family.dark if theme.dark else family.light
        yield Line2D([], [], color=colour, marker=family.shape, linestyle="", label=family.label)
    yield Line2D([], [], color=theme.ink, marker="o", linestyle="", markerfacecolor="none", label="published weights")


def _dress(axes: Axes, theme: Theme) -> None:
    """Quiet frame and grid; plain numbers on the axes."""
    axes.set_facecolor(theme.ground)
    axes.grid(which="major", color=theme.faint, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.faint)
    axes.tick_params(colors=theme.ink, labelsize=9, length=0, which="both")
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _plain(value: float, _: int | None = None) -> str:
    """A number as it is written, large ones in powers of 1000."""
    divisor, unit = next(((size, unit) for size, unit in ((1e9, " G"), (1e6, " M")) if value >= size), (1, ""))
    return f"{value / divisor:,.0f}{unit}" if value >= 1 else f"{value:g}"
