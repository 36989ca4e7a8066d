import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinlens.report.pareto import best_within, front

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20)


def beats(a, b):
    return a[0] <= b[0] and a[1] >= b[1] and a != b


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], []),
        ([(1, 1)], [0]),
        ([(2, 5), (1, 3), (3, 4), (4, 6)], [1, 0, 3]),
        ([(1, 3), (1, 4)], [1]),  # at the same cost the better one
        ([(1, 3), (2, 3)], [0]),  # as good, but dearer
        ([(1, 3), (1, 3)], [0]),  # equals: the first
    ],
)
def test_a_front(points, expected):
    assert front(points) == expected


@given(POINTS)
def test_the_front_is_what_nothing_beats(points):
    ahead = {points[at] for at in front(points)}
    assert ahead == {point for point in points if not any(beats(other, point) for other in points)}


@given(POINTS, st.integers(0, 9))
def test_the_best_within_a_budget(points, budget):
    found = best_within(points, budget)
    inside = [point for point in points if point[0] <= budget]
    if found is None:
        assert not inside
    else:
        best = max(quality for _, quality in inside)
        assert points[found] == (min(cost for cost, quality in inside if quality == best), best)
