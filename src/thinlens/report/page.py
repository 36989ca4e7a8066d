"""The report: one page that needs nothing but itself, and plots beside it."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from thinlens.report.markdown import split_title, to_html
from thinlens.report.memory import Point, read_points
from thinlens.report.plots import DARK, LIGHT, draw_fronts, draw_memory, draw_sets, save
from thinlens.report.pool import FAMILIES, main_set, panels_of, upscalers_of
from thinlens.report.records import Crops, Picture, Pool, Records, Template
from thinlens.report.view import crops_of, facts_of, memory_table, pool_of, template_of

# Pages of records, by what they are about, in the order of the report; those that no group names come last.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "One layer and small networks": (
        "pool",
        "choose",
        "one_layer",
        "small_networks",
        "edge_sr_branches",
        "engine_speed",
    ),
    "Residual networks": ("rep_rfn_studies", "rep_rfn_speed", "weight_space"),
    "A bit a weight": ("bbcu_studies", "binary_speed"),
    "Dual regression and pruning": ("dual_studies", "pruning_studies", "drn_speed", "certify"),
    "Line by line": ("line_dl_studies", "line_dl_rivals", "line_dl_memory"),
    "Noise and JPEG": ("denoise_deblock",),
    "Fewer bytes": ("compress_chain", "low_precision"),
    "The engine beside other runtimes": ("bench", "memory"),
    "Files, folders, videos": ("huge", "fidelity", "fleet", "video_speed", "video_kept"),
}
MORE = "More records"


class Page(NamedTuple):
    """A record's own page, as part of the report."""

    anchor: str
    title: str
    html: Markup


class Group(NamedTuple):
    """Pages about one thing."""

    anchor: str
    title: str
    pages: list[Page]


class Report(NamedTuple):
    """What a report consists of.

    Args:
        files: bytes by name; `index.html` is the last.
        sections: titles of what the page has.
        missing: what it lacks, and the record that would fill it.
    """

    files: dict[str, bytes]
    sections: list[str]
    missing: list[str]


def build_report(records: Records, version: str) -> Report:
    """Make the report of a folder's records.

    Args:
        records: that were found.
        version: of thinlens, for the page's last line.

    Raises:
        RecordError: if a record is damaged.
    """
    pool = upscalers_of(records.get("pool.json", Pool))
    crops: Crops | None = records.get("crops.json", Crops)
    templates: tuple[Template, ...] = records.get("templates.json", tuple[Template, ...]) or ()
    points = read_points(records)
    parts = {
        "map": ("Quality against speed", pool and pool_of(pool), "pool.json"),
        "crops": ("Side by side", crops and crops_of(crops, records), "crops.json"),
        "filters": ("What one layer looks for", [template_of(it, records) for it in templates], "templates.json"),
        "memory": ("Memory against image size", points and _memory(points), "memory.json"),
    }
    groups = list(_groups(records))
    contents: list[tuple[str, str, list[Page]]]
    contents = [(name, title, []) for name, (title, content, _) in parts.items() if content]
    contents += [(group.anchor, group.title, group.pages) for group in groups]
    missing = [f"{title} ({source})" for title, content, source in parts.values() if not content]
    missing += [f"{name}.md" for names in GROUPS.values() for name in names if f"{name}.md" not in records.names]
    page = (
        _environment()
        .get_template("page.html")
        .render(
            {name: content for name, (_, content, _) in parts.items()},
            contents=contents,
            facts=facts_of(pool) if pool else [],
            groups=groups,
            version=version,
            count=sum(name.endswith(".json") for name in records.names),
            **_known("style", _style()),
            **_known("script", _resource("page.js")),
        )
    )
    made = {**dict(_plots(pool, points)), "index.html": page.encode()}
    return Report(made, [title for _, title, _ in contents], missing)


def to_script_data(value: object) -> Markup:
    """JSON that may stand in a `script` element: no text in it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        autoescape=True, loader=jinja2.FunctionLoader(_resource), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    made.filters["script_data"] = to_script_data
    return made


def _resource(name: str) -> str:
    return (files("thinlens.report") / name).read_text(encoding="utf-8")


def _style() -> str:
    """The page's style, with the hues of the families."""
    light, dark = (
        "".join(f".f-{name}{{--hue:{hue}}}" for name, hue in hues.items())
        for hues in (
            {name: family.light for name, family in FAMILIES.items()},
            {name: family.dark for name, family in FAMILIES.items()},
        )
    )
    return f"{_resource('page.css')}{light}@media screen and (prefers-color-scheme:dark){{{dark}}}"


def _known(name: str, text: str) -> dict[str, object]:
    """A style or script of ours, and the hash by which the page's policy knows it from any other."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return {name: Markup(text), f"{name}_hash": f"sha256-{digest}"}


def _plots(pool: Pool | None, points: Sequence[Point]) -> Iterator[tuple[str, bytes]]:
    """The files beside the page."""
    figures: dict[str, Figure] = {}
    if pool:
        figures["front"] = draw_fronts(pool, main_set(pool))
        figures |= {f"front_x{scale}": draw_sets(pool, scale) for scale in dict(panels_of(pool))}
    if points:
        figures["memory"] = draw_memory(points)
    for name, figure in figures.items():
        yield f"{name}.svg", save(figure, "svg")
        yield f"{name}.png", save(figure, "png")


def _memory(points: Sequence[Point]) -> dict[str, object]:
    """The plot on light and on dark ground, and its table."""
    themes = {"light": LIGHT, "dark": DARK}
    plots = {
        name: Picture("image/svg+xml", save(draw_memory(points, it), "svg"), None).url for name, it in themes.items()
    }
    return {"table": memory_table(points), **plots}


def _groups(records: Records) -> Iterator[Group]:
    """The pages of records, in groups that are not empty."""
    names = [name.removesuffix(".md") for name in records.names if name.endswith(".md")]
    grouped = {name for group in GROUPS.values() for name in group}
    more = {MORE: tuple(name for name in names if name not in grouped)}
    for at, (title, wanted) in enumerate({**GROUPS, **more}.items()):
        pages = [_page(name, names, records) for name in wanted if name in names]
        if pages:
            yield Group(f"group-{at}", title, pages)


def _page(name: str, names: Sequence[str], records: Records) -> Page:
    title, text = split_title(records.text(f"{name}.md"))
    html = to_html(text, title, names, records.picture)
    return Page(f"page-{name}", title or name, Markup(html))  # the renderer escapes what it is given
