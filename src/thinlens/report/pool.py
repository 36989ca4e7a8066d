"""What the pool's record says: its families, what they cost, and which of them are best."""

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from thinlens.report.pareto import best_within, front
from thinlens.report.records import Member, Pool, Quality

BUDGETS = 10  # how many speeds are compared
MAIN_SET = "Set5"
PUBLISHED = {"B100": "BSDS100"}  # sets that the paper calls otherwise


class Family(NamedTuple):
    """How a family is shown: hues on light and on dark ground that the colour-blind can tell apart, and a shape.

    ``shape`` is matplotlib's name of the marker; the page draws the same.
    """

    label: str
    light: str
    dark: str
    shape: str


FAMILIES = {
    "bicubic": Family("bicubic", "#52525b", "#a1a1aa", "X"),
    "edge_sr_max": Family("eSR-MAX", "#b45309", "#fbbf24", "^"),
    "edge_sr_tm": Family("eSR-TM", "#0284c7", "#7dd3fc", "s"),
    "edge_sr_tr": Family("eSR-TR", "#1e3a8a", "#818cf8", "D"),
    "edge_sr_cnn": Family("eSR-CNN", "#047857", "#34d399", "o"),
    "espcn": Family("ESPCN", "#dc2626", "#fb7185", "v"),
    "fsrcnn": Family("FSRCNN", "#a21caf", "#e879f9", "P"),
    "other": Family("other", "#65600a", "#d9d06b", "*"),
}


class Axis(NamedTuple):
    """A cost: what it is called, its unit, and its value for a member, None if not known."""

    name: str
    label: str
    unit: str
    value: Callable[[Member], float | None]

    @property
    def is_time(self) -> bool:
        """Whether there is one such axis for each number of threads, which ends its name."""
        return self.unit == "ms"

    @property
    def text(self) -> str:
        """What it is, within a sentence."""
        return f"{self.label[0].lower()}{self.label[1:]}" + f" on {self.name[2:]} thread" * self.is_time


def _time(threads: str) -> Axis:
    return Axis(
        f"ms{threads}", "Time to 1920x1080", "ms", lambda m: m.speed[threads].ms if threads in m.speed else None
    )


TIME = _time("1")
AXES = (
    TIME,
    _time("2"),
    Axis("macs", "Arithmetic for 1280x720", "MACs", lambda member: member.macs_720p),
    Axis("bytes", "Stored weights", "B", lambda member: member.bytes),
    Axis("peak", "Engine memory for 1920x1080", "B", lambda member: member.peak_bytes),
    Axis("energy", "Energy for 1920x1080", "mJ", lambda member: member.energy_mj),
)


class Points(NamedTuple):
    """Members, and of each its cost and its PSNR in dB."""

    members: list[Member]
    pairs: list[tuple[float, float]]


def upscalers_of(pool: Pool | None) -> Pool | None:
    """The pool without what is no upscaler; None if there is nothing measured among them."""
    if pool is None:
        return None
    members = tuple(member for member in pool.members if member.task == "sr")
    return Pool(members, pool.host) if any(member.quality for member in members) else None


def family_of(member: Member) -> Family:
    """How a member is shown."""
    return FAMILIES.get(member.family, FAMILIES["other"])


def scales_of(pool: Pool) -> list[int]:
    """The scales that there are."""
    return sorted({member.scale for member in pool.members})


def sets_of(pool: Pool) -> list[str]:
    """The sets of images that members were measured on, as the record lists them."""
    return list(dict.fromkeys(name for member in pool.members for name in member.quality))


def main_set(pool: Pool) -> str:
    """The set that stands for all where only one is shown."""
    sets = sets_of(pool)
    return MAIN_SET if MAIN_SET in sets else sets[0]


def main_axis(pool: Pool) -> Axis:
    """The cost that stands for all where only one is shown: time on one thread, if that and quality are known."""
    rated = [member for member in pool.members if main_set(pool) in member.quality]
    return next(axis for axis in AXES if any(axis.value(member) is not None for member in rated))


def panels_of(pool: Pool) -> list[tuple[int, str]]:
    """The scales and sets of which there is something to show, by the main axis."""
    axis = main_axis(pool)
    return [
        (scale, data)
        for scale in scales_of(pool)
        for data in sets_of(pool)
        if our_points([member for member in pool.members if member.scale == scale], axis, data).pairs
    ]


def published(member: Member, data: str) -> Quality | None:
    """The quality of the published weights: by our protocol where the record has that, else as their authors say."""
    facts = member.published or {}
    found = facts.get(PUBLISHED.get(data, data))
    if not isinstance(found, Quality):
        return None
    by_ours = [facts.get(f"p1_{data.lower()}_{kind}") for kind in ("db", "estimated_db")]
    return next((Quality(psnr, found.ssim) for psnr in by_ours if isinstance(psnr, float)), found)


def our_points(members: Sequence[Member], axis: Axis, data: str) -> Points:
    """The members of which both figures are known."""
    return _points([(member, axis.value(member), member.quality.get(data)) for member in members])


def their_points(members: Sequence[Member], axis: Axis, data: str) -> Points:
    """The same with the published quality: the same network, hence at our cost."""
    return _points([(member, axis.value(member), published(member, data)) for member in members])


def _points(rows: Sequence[tuple[Member, float | None, Quality | None]]) -> Points:
    known = [(member, (cost, quality.psnr_db)) for member, cost, quality in rows if cost and quality]
    return Points([member for member, _ in known], [pair for _, pair in known])


def gains(members: Sequence[Member], data: str) -> list[float]:
    """PSNR above the published one, in dB, of each member of which both are known."""
    pairs = [(member.quality.get(data), published(member, data)) for member in members if member.training]
    return [ours.psnr_db - theirs.psnr_db for ours, theirs in pairs if ours and theirs]


class Row(NamedTuple):
    """A family at one scale.

    Args:
        family: its label.
        scale: output over input.
        members: how many there are.
        trained: how many have a quality, on the set that was asked for.
        on_front: how many are on the front of all families, by the main axis.
        best: by PSNR.
        gain_db: the median above the published figures.
    """

    family: str
    scale: int
    members: int
    trained: int
    on_front: int
    best: Member | None
    gain_db: float | None


def rows_of(pool: Pool, data: str) -> Iterator[Row]:
    """The families at each scale."""
    for scale in scales_of(pool):
        members = [member for member in pool.members if member.scale == scale]
        points = our_points(members, main_axis(pool), data)
        ahead = {points.members[at].name for at in front(points.pairs)}
        for family in FAMILIES.values():
            kin = [member for member in members if family_of(member) == family]
            trained = [member for member in kin if data in member.quality]
            best = max(trained, key=lambda member: member.quality[data].psnr_db, default=None)
            gain = median(found) if (found := gains(kin, data)) else None
            if kin:
                on_front = sum(member.name in ahead for member in kin)
                yield Row(family.label, scale, len(kin), len(trained), on_front, best, gain)


class Budget(NamedTuple):
    """The best that costs at most ``cost``: of ours, and of the published ones at our cost for the same network."""

    cost: float
    ours: str
    psnr_db: float
    theirs: str
    published_db: float


def best_by_budget(pool: Pool, scale: int, data: str) -> Iterator[Budget]:
    """Ten budgets of the main axis, a constant ratio apart, from the first that both fit to our front's end."""
    members = [member for member in pool.members if member.scale == scale]
    axis = main_axis(pool)
    ours, theirs = our_points(members, axis, data), their_points(members, axis, data)
    if not ours.pairs or not theirs.pairs:
        return
    low = max(min(cost for cost, _ in points.pairs) for points in (ours, theirs))
    high = max(low, ours.pairs[front(ours.pairs)[-1]][0])
    for step in range(BUDGETS):
        budget = high if step == BUDGETS - 1 else low * (high / low) ** (step / (BUDGETS - 1))
        own, other = (best_within(points.pairs, budget) for points in (ours, theirs))
        if own is not None and other is not None:
            mine, foreign = ours.pairs[own][1], theirs.pairs[other][1]
            yield Budget(budget, ours.members[own].name, mine, theirs.members[other].name, foreign)
