import numpy as np

from thinlens.bench.leaves import dead_leaves


def test_pictures_are_the_same_each_time_and_others_for_other_seeds():
    picture = dead_leaves(64, 0)
    assert (picture.shape, picture.dtype) == ((64, 64, 3), np.uint8)
    assert np.array_equal(picture, dead_leaves(64, 0))
    assert not np.array_equal(picture, dead_leaves(64, 1))


def test_they_have_flat_parts_and_edges():
    steps = np.abs(np.diff(dead_leaves(128, 0).astype(int), axis=1)).max(2)
    assert (steps <= 3).mean() > 0.3
    assert (steps > 40).mean() > 0.05
