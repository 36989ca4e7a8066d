"""What the page's template shows of each record: texts, tables and data, nothing to compute."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from statistics import median
from typing import Any, NamedTuple

from thinlens.report.memory import Point
from thinlens.report.pool import (
    AXES,
    FAMILIES,
    Budget,
    Row,
    best_by_budget,
    family_of,
    gains,
    main_axis,
    main_set,
    published,
    rows_of,
    scales_of,
    sets_of,
)
from thinlens.report.records import Crops, Member, Picture, Pool, Quality, Records, Template

DEVICES = {"speed_AGX": "Jetson AGX", "speed_MaxQ": "GTX 1080 Max-Q", "speed_RPI": "Raspberry Pi 400"}


class Table(NamedTuple):
    """``>`` before a heading aligns its column to the right; the first cell of a row names it."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def facts_of(pool: Pool) -> list[tuple[str, str]]:
    """What stands large at the head of the page: figures, and what they are."""
    data = main_set(pool)
    timed, trained = sum(bool(m.speed) for m in pool.members), sum(m.training is not None for m in pool.members)
    facts = [
        (f"{len(pool.members):,}", "upscalers"),
        (f"{timed:,}", "measured for speed"),
        (f"{trained:,}", "trained here"),
    ]
    if found := gains(pool.members, data):
        facts.append((_signed(median(found)) + " dB", f"median gain on {data} over the published weights"))
    return facts


def pool_of(pool: Pool) -> dict[str, Any]:
    """Choices, tables, and the data that the plot is drawn from.

    Args:
        pool: of upscalers alone.
    """
    data, sets = main_set(pool), sets_of(pool)
    axes = [axis for axis in AXES if any(axis.value(member) is not None for member in pool.members)]
    threads = [axis.name[2:] for axis in axes if axis.is_time]
    costs = [("ms", "Time to 1920x1080", "ms")] * bool(threads)
    costs += [(axis.name, axis.label, axis.unit) for axis in axes if not axis.is_time]
    present = {family_of(member) for member in pool.members}
    families = {name: family for name, family in FAMILIES.items() if family in present}
    return {
        "scales": [(scale, f"x{scale}") for scale in scales_of(pool)],
        "sets": [(name, name) for name in sorted(sets, key=lambda name: name != data)],
        "threads": [(count, count) for count in threads],
        "axes": [(name, label) for name, label, _ in costs],
        "families": [(name, family.label) for name, family in families.items()],
        "main": main_axis(pool).text,
        "budgets": list(_budget_tables(pool, data)),
        "table": _family_table(pool, data),
        "note": _note(pool, sets),
        "host": ", ".join(f"{name}: {value}" for name, value in pool.host.items() if isinstance(value, str | int)),
        "data": {
            "families": {name: {"label": family.label, "shape": family.shape} for name, family in families.items()},
            "axes": [{"name": name, "label": label, "unit": unit} for name, label, unit in costs],
            "sets": sets,
            "members": [_member(member, sets) for member in pool.members],
        },
    }


def _note(pool: Pool, sets: Sequence[str]) -> str:
    """By which protocol the rings are."""
    facts = {key for member in pool.members for key in member.published or ()}
    if not facts:
        return "The record has no published figures."
    by_ours = " and ".join(name for name in sets if f"p1_{name.lower()}_db" in facts)
    ours = (
        f"On {by_ours} the rings are by our protocol: measured where the published weights were at hand, else the "
        "published figure less the mean difference of those. On other sets they are as published. "
    )
    return (ours if by_ours else "") + (
        "The authors’ own protocol gives 0.03 to 0.19 dB more than ours for the same pixels: a mark level with such a "
        "ring is ahead of it. Their bicubic x3 lies half a pixel off, which costs it 1 dB."
    )


def crops_of(crops: Crops, records: Records) -> dict[str, Any]:
    """The scenes, with their pictures inlined."""
    scenes = [
        {
            "name": scene.name,
            "pictures": [
                {"label": it.label, "psnr": "" if it.psnr_db is None else f"{it.psnr_db:.2f} dB"}
                | _inlined(records.picture(f"crops/{it.file}"))
                for it in scene.pictures
            ],
        }
        for scene in crops.scenes
    ]
    return {"command": crops.command, "source": crops.source, "scenes": scenes}


def template_of(template: Template, records: Records) -> dict[str, Any]:
    """A network's filter pictures, inlined."""
    pictures = []
    for file in template.pictures:
        what = PurePath(file).stem.removeprefix(template.name).replace("_", " ").strip()
        pictures.append(_inlined(records.picture(f"templates/{file}")) | {"alt": f"{template.name}: {what or file}"})
    return {"name": template.name, "text": template.text, "pictures": pictures}


def memory_table(points: Sequence[Point]) -> Table:
    """Every point that the plot shows."""
    rows = [
        (
            it.network,
            it.way,
            f"{it.megapixels:,.{0 if it.megapixels >= 10 else 2}f}",
            f"{it.peak / 1e6:,.1f}",
            it.record,
        )
        for it in points
    ]
    return Table("Peak memory", ("network", "way", ">megapixels in", ">peak, MB", "record"), rows)


def _inlined(picture: Picture) -> dict[str, Any]:
    return {"url": picture.url, "size": picture.size}


def _member(member: Member, sets: Sequence[str]) -> dict[str, Any]:
    """A member as the page's script reads it."""
    theirs = {name: found for name in sets if (found := published(member, name))}
    return {
        "name": member.name,
        "family": next(name for name, family in FAMILIES.items() if family == family_of(member)),
        "scale": member.scale,
        "params": member.params,
        "cost": {axis.name: value for axis in AXES if (value := axis.value(member)) is not None},
        "quality": {name: _pair(found) for name, found in member.quality.items()},
        "published": {name: _pair(found) for name, found in theirs.items()},
        "speed": {threads: [it.ms, it.fps, it.against_bicubic] for threads, it in member.speed.items()},
        "ships": member.training is not None and member.training.source == "shipped",
        "notes": list(_notes(member)),
    }


def _pair(quality: Quality) -> tuple[float, float]:
    return round(quality.psnr_db, 3), round(quality.ssim, 5)


def _notes(member: Member) -> Iterator[str]:
    """How it was trained, and how fast the published one is elsewhere."""
    if training := member.training:
        steps = "" if training.steps is None else f", {training.steps:,} steps"
        minutes = "" if training.minutes is None else f" in {training.minutes:.1f} min"
        yield f"Trained on the {training.schedule} schedule{steps}{minutes}."
    devices = [(label, (member.published or {}).get(key)) for key, label in DEVICES.items()]
    told = [f"{label} {fps:.{0 if fps >= 10 else 1}f}" for label, fps in devices if isinstance(fps, float)]
    if told:
        yield f"Published frames a second: {', '.join(told)}."


def _budget_tables(pool: Pool, data: str) -> Iterator[Table]:
    """A table a scale; the last column says how far ours lie above."""
    axis = main_axis(pool)
    columns = (f">{axis.unit}", "ours", ">PSNR, dB", "published", ">PSNR, dB", ">gain, dB")
    for scale in scales_of(pool):
        found = list(best_by_budget(pool, scale, data))
        if found:
            yield Table(f"x{scale}, {data}, by {axis.text}", columns, [_budget_row(it) for it in found])


def _budget_row(it: Budget) -> Sequence[str]:
    cost = f"{it.cost:,.{2 if it.cost < 10 else 1}f}" if it.cost < 1e6 else f"{it.cost / 1e6:,.1f} M"
    gain = _signed(it.psnr_db - it.published_db)
    return cost, it.ours, f"{it.psnr_db:.2f}", it.theirs, f"{it.published_db:.2f}", gain


def _family_table(pool: Pool, data: str) -> Table:
    columns = (
        "family",
        ">scale",
        ">networks",
        ">trained",
        ">on the front",
        f"best on {data}",
        ">PSNR, dB",
        ">gain, dB",
    )
    return Table(f"Families by scale, PSNR on {data}", columns, [_family_row(row, data) for row in rows_of(pool, data)])


def _family_row(row: Row, data: str) -> Sequence[str]:
    best = (row.best.name, f"{row.best.quality[data].psnr_db:.2f}") if row.best else ("", "")
    gain = "" if row.gain_db is None else _signed(row.gain_db)
    return row.family, f"x{row.scale}", str(row.members), str(row.trained), str(row.on_front), *best, gain


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
