"""Images, terms, pairs, patches and crops."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thinlens.bench.pairs import create_pairs
from thinlens.degrade.jpeg import jpeg_round_trip
from thinlens.errors import RecipeError
from thinlens.train.datasets.crops import CropSampler
from thinlens.train.datasets.damage import Jpeg, Noise
from thinlens.train.datasets.images import find_images, read_clean
from thinlens.train.datasets.pairs import Pair, create_pair
from thinlens.train.datasets.patches import SYMMETRIES, sample_patches, turn
from thinlens.train.datasets.terms import UNKNOWN, terms_of


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def diagonal_pair(height: int, width: int) -> Pair:
    """A pair at x2 whose `hq` pixel is the `lq` pixel one step further out on its own diagonal."""
    lq = noise(height, width)
    hq = np.empty((2 * height, 2 * width), np.uint8)
    for i in (0, 1):
        for j in (0, 1):
            hq[i::2, j::2] = np.roll(lq, (1 - 2 * i, 1 - 2 * j), (0, 1))
    return Pair(lq, hq)


def test_terms_are_those_of_the_longest_known_prefix() -> None:
    assert terms_of("train_extra/gb82/sub").licence == "CC0 1.0"
    assert not terms_of("train/bsds500").permissive
    assert terms_of("my/photos") == UNKNOWN


def test_images_are_found_in_a_fixed_order_with_their_terms(tmp_path: Path) -> None:
    for name in ("train/cid22/b.png", "train/cid22/a.png", "train_extra/gb82/c.webp"):
        save(tmp_path / name, noise(4, 4))
    (tmp_path / "train/cid22/notes.txt").write_text("no image")
    folders = find_images(tmp_path, ("train_extra", "train/cid22"), permissive=True)
    assert [folder.name for folder in folders] == ["train/cid22", "train_extra/gb82"]
    assert [path.name for path in folders[0].files] == ["a.png", "b.png"]
    assert (folders[0].source().images, folders[0].source().licence) == (2, "CC BY-SA 4.0")


def test_an_image_named_twice_is_taken_once(tmp_path: Path) -> None:
    save(tmp_path / "train/cid22/a.png", noise(4, 4))
    folders = find_images(tmp_path, ("train", "train/cid22"))
    assert [len(folder.files) for folder in folders] == [1]


def test_research_images_are_refused_where_permissive_ones_are_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "train/bsds500/a.png", noise(4, 4))
    with pytest.raises(RecipeError, match=r"`train/bsds500` has the terms .* accepted"):
        find_images(tmp_path, ("train",), permissive=True)
    assert len(find_images(tmp_path, ("train",))) == 1


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no images in `.*nothing`"):
        find_images(tmp_path, ("nothing",))


@pytest.mark.parametrize(("shape", "expected"), [((5, 7), (5, 7)), ((5, 7, 3), (5, 7, 3)), ((5, 7, 4), (5, 7, 3))])
def test_clean_images_are_gray_or_rgb_of_8_bits(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    save(tmp_path / "a.png", noise(*shape))
    pixels = read_clean(tmp_path / "a.png")
    assert (pixels.shape, pixels.dtype) == (expected, np.uint8)


def test_a_16_bit_image_is_rounded_to_8_bits(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[0, 257, 65535, 300]], np.uint16))
    assert read_clean(tmp_path / "a.png").tolist() == [[0, 1, 255, 1]]


def test_a_pair_is_cropped_to_the_scale_and_holds_pillows_gray() -> None:
    image = noise(13, 17, 3)
    pair = create_pair(image, 4)
    assert (pair.lq.shape, pair.hq.shape) == ((3, 4), (12, 16))
    np.testing.assert_array_equal(pair.hq, np.asarray(Image.fromarray(image[:12, :16]).convert("L")))


def test_luma_is_taken_after_the_colours_were_made_small() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 201  # 60.1 as luma; the small image holds 201 too
    assert create_pair(image, 2).lq.tolist() == [[60, 60], [60, 60]]


def test_pairs_in_colour_are_what_is_measured():
    """Degraded as for a measurement; gray images three times the same."""
    image = np.random.default_rng(0).integers(0, 256, (25, 18, 3), dtype=np.uint8)
    for clean in (image, image[..., 0]):
        pair = create_pair(clean, 4, channels=3)
        hq, lq = create_pairs(scale=4, colour=True).make(clean)
        assert np.array_equal(pair.lq, lq.transpose(2, 0, 1))
        assert np.array_equal(pair.hq, hq.transpose(2, 0, 1))


def test_crops_in_colour_keep_their_channels_and_places():
    """Where hq is lq repeated, so are the crops, whatever the symmetry."""
    lq = np.random.default_rng(1).integers(0, 256, (3, 9, 12), dtype=np.uint8)
    sampler = CropSampler([Pair(lq, lq.repeat(2, 1).repeat(2, 2))], crop=6, batch=16, seed=3)
    small, large = sampler.batch(0)
    assert (small.shape, large.shape) == ((16, 3, 6, 6), (16, 3, 12, 12))
    assert np.array_equal(small.repeat(2, 2).repeat(2, 3), large)
    assert all({int(v) for v in np.rint(255 * small[:, c]).flat} <= set(lq[c].flat) for c in range(3))
    assert len({crop.tobytes() for crop in small}) > 8


def test_the_symmetries_are_eight_different_ones_closed_under_composition() -> None:
    square = np.arange(9).reshape(3, 3)
    turned = {turn(square, s).tobytes() for s in SYMMETRIES}
    assert len(turned) == 8
    assert {turn(turn(square, a), b).tobytes() for a in SYMMETRIES for b in SYMMETRIES} == turned


@pytest.mark.parametrize(("phase", "place"), [((0, 0), 0), ((0, 1), 2), ((1, 0), 6), ((1, 1), 8)])
def test_every_symmetry_shows_patch_and_target_of_the_same_phase(phase: tuple[int, int], place: int) -> None:
    samples = sample_patches([diagonal_pair(9, 12)], phase, 3, 2000, [0])
    np.testing.assert_array_equal(samples.targets, samples.patches[:, place])


def test_patches_are_a_function_of_the_seed() -> None:
    pairs = [diagonal_pair(9, 12), diagonal_pair(20, 10)]
    first, same, other = (sample_patches(pairs, (0, 0), 3, 100, seed) for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(first.patches, same.patches)
    assert (first.patches != other.patches).any()


def test_images_smaller_than_a_patch_are_left_out() -> None:
    small, large = diagonal_pair(4, 30), diagonal_pair(7, 7)
    samples = sample_patches([small, large], (0, 0), 5, 50, [0])
    assert np.isin(samples.patches, large.lq).all()
    with pytest.raises(RecipeError, match="no image holds a patch of 5x5"):
        sample_patches([small], (0, 0), 5, 50, [0])


def test_crops_are_aligned_and_a_function_of_seed_and_step() -> None:
    lq = noise(20, 30)
    sampler = CropSampler([Pair(lq, lq.repeat(2, 0).repeat(2, 1))], crop=6, batch=5, seed=3)
    small, large = sampler.batch(7)
    assert (small.shape, large.shape, small.dtype) == ((5, 1, 6, 6), (5, 1, 12, 12), np.float32)
    np.testing.assert_array_equal(small.repeat(2, 2).repeat(2, 3), large)
    np.testing.assert_array_equal(sampler.batch(7)[0], small)
    assert (sampler.batch(8)[0] != small).any()


def test_a_crop_larger_than_every_image_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"loop\.crop: got 21"):
        CropSampler([Pair(noise(20, 30), noise(40, 60))], crop=21, batch=1, seed=0)


def clean_pair(*shape: int) -> Pair:
    """A smooth ramp with a little texture, clean on both sides."""
    ramp = np.add.outer(np.arange(shape[-2]), np.arange(shape[-1]) * 2) % 200 + noise(*shape) // 16
    plane = np.broadcast_to(ramp, shape).astype(np.uint8)
    return Pair(plane, plane)


def test_at_scale_1_a_pair_is_one_clean_image() -> None:
    image = noise(5, 7, 3)
    for channels in (1, 3):
        pair = create_pair(image, 1, channels)
        assert pair.lq is pair.hq
    np.testing.assert_array_equal(pair.hq, image.transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(60, 70), (3, 60, 70)])
def test_noise_is_of_another_strength_in_each_crop_and_not_clipped(shape: tuple[int, ...]) -> None:
    sampler = CropSampler([clean_pair(*shape)], 40, 16, 3, Noise((10.0, 60.0)))
    lq, hq = sampler.batch(5)
    assert lq.shape == hq.shape == (16, 3 if len(shape) == 3 else 1, 40, 40)
    assert lq.dtype == hq.dtype == np.float32
    found = (lq - hq).std((1, 2, 3)) * 255
    assert 9 < found.min() < 20 < 50 < found.max() < 61
    assert lq.min() < 0 or lq.max() > 1
    np.testing.assert_array_equal(sampler.batch(5)[0], lq)
    assert not np.array_equal(sampler.batch(6)[0], lq)
    steps = np.rint(hq * 255)
    np.testing.assert_allclose(hq * 255, steps, atol=1e-4)  # the clean crop is that of the 8-bit image


def test_jpeg_crops_are_windows_of_what_the_codec_makes() -> None:
    """Half of them begin where a block does, the others anywhere; both crops show the same place."""
    hq = np.ascontiguousarray(clean_pair(48, 40).hq)
    damage, places = Jpeg((30, 30)), []
    expected = jpeg_round_trip(hq, 30)
    for seed in range(60):
        lq, window = damage(hq, np.random.default_rng(seed))
        assert lq.shape == window.shape == (40, 32)
        views = np.lib.stride_tricks.sliding_window_view(hq, window.shape)
        at = [tuple(p) for p in np.argwhere((views == window).all((2, 3)))]
        y, x = next(p for p in at if np.array_equal(expected[p[0] : p[0] + 40, p[1] : p[1] + 32], lq))
        places.append((int(y), int(x)))
    assert 20 < places.count((0, 0)) < 40
    assert {y for y, _ in places} == {x for _, x in places} == set(range(9))


def test_qualities_are_drawn_from_the_whole_range_ends_included() -> None:
    hq = np.ascontiguousarray(clean_pair(16, 16).hq)
    made = {jpeg_round_trip(hq, quality)[:8, :8].tobytes(): quality for quality in (10, 30, 31, 32)}
    rng, damage = np.random.default_rng(0), Jpeg((30, 32))
    drawn = {made.get(damage(hq, rng)[0].tobytes()) for _ in range(40)}
    assert drawn == {30, 31, 32, None}  # None: the blocks begin elsewhere


def test_images_too_small_for_crop_and_margin_are_left_out() -> None:
    CropSampler([clean_pair(48, 48)], 40, 1, 0, Jpeg((10, 20))).batch(0)
    with pytest.raises(RecipeError, match=r"loop\.crop: got 48; no `lq` image is that large"):
        CropSampler([clean_pair(47, 48)], 40, 1, 0, Jpeg((10, 20)))
