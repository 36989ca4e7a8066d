"""Which points no other point beats."""

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Find the Pareto front of points that cost something and are good for something.

    A point is on the front if every other point costs more or is worse. Of equal points the first is taken.

    Args:
        points: cost (less is better) and quality (more is better) of each.

    Returns:
        Places in ``points``, by rising cost; quality rises strictly with it.
    """
    found: list[int] = []
    for at in sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1])):
        if not found or points[at][1] > points[found[-1]][1]:
            found.append(at)
    return found


def best_within(points: Sequence[tuple[float, float]], budget: float) -> int | None:
    """The place of the best point that costs at most ``budget``, the cheapest of equals; None if all cost more."""
    inside = [at for at in front(points) if points[at][0] <= budget]
    return inside[-1] if inside else None
