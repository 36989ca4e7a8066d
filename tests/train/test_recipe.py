"""Recipes: strict decoding, `--set`, the hash."""

from pathlib import Path

import pytest

from thinlens.errors import RecipeError
from thinlens.train.recipe import Plain, Recipe, SharedPhase, read_recipe

TEXT = """
network = "edge_sr_tm_k7_c4_x2"
[data]
train = ["train/cid22"]
val = ["val"]
[loop]
kind = "shared_phase"
steps = 100
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "r.toml").write_text(TEXT)
    return tmp_path / "r.toml"


def test_a_recipe_is_read_with_its_defaults(path: Path) -> None:
    recipe = read_recipe(path)
    assert isinstance(recipe.loop, SharedPhase)
    assert (recipe.network, recipe.data.train, recipe.loop.steps) == ("edge_sr_tm_k7_c4_x2", ("train/cid22",), 100)
    assert (recipe.seed, recipe.loop.batch, recipe.loop.accelerator) == (0, 4096, "cpu")


def test_overrides_are_toml_values(path: Path) -> None:
    recipe = read_recipe(path, ["loop.steps=7", 'data.root="/d"', 'data.train=["a", "b"]', "loop.lr=1e-4", "seed=3"])
    assert (recipe.loop.steps, recipe.data.root, recipe.data.train) == (7, "/d", ("a", "b"))
    assert (recipe.loop.lr, recipe.seed) == (1e-4, 3)


def test_the_kind_chooses_the_trainer(path: Path) -> None:
    assert isinstance(read_recipe(path, ['loop.kind="plain"', "loop.crop=16"]).loop, Plain)
    with pytest.raises(RecipeError, match=r"`loop\.crop`: unknown key"):
        read_recipe(path, ["loop.crop=16"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.stepz=1", r"r\.toml: `loop\.stepz`: unknown key; did you mean `loop\.steps`\? accepted: steps, batch"),
        ('netwrk="a"', r"`netwrk`: unknown key; did you mean `network`\?"),
        ('loop.steps="a"', r"`loop\.steps`: got 'a'; accepted: `int`$"),
        ("loop.steps=0", r"`loop\.steps`: got 0; accepted: `int` >= 1"),
        ("loop.lr=nan", r"`loop\.lr`: got nan; accepted: `float` > 0"),
        ('loop.kind="magic"', r"`loop\.kind`: got 'magic'; accepted: 'shared_phase', 'plain', 'narrowed'"),
        ('loop.accelerator="gpu"', r"`loop\.accelerator`: got 'gpu'; accepted: 'cpu', 'cuda'"),
        ('data.terms="free"', r"`data\.terms`: got 'free'; accepted: 'permissive', 'any'"),
        ("data.train=[]", r"`data\.train`: got \[\]; accepted: a list of length >= 1"),
        ("data.train=[1]", r"`data\.train\[0\]`: got 1; accepted: `str`"),
        ("data=3", r"`data`: got 3; accepted: a table"),
        ("loop.patches=8", r"`loop\.patches`.*: got 8; accepted: >= batch \(4096\)"),
        ("loop.steps", r"--set: got `loop\.steps`; accepted: key=value"),
        ("seed=abc", r"`seed`: got 'abc'; accepted: `int`"),
        ("seed.more=1", r"`seed`: got \{'more': 1\}; accepted: `int`"),
        ("network.name=1", r"--set network\.name: `network` is a value, not a table"),
    ],
)
def test_errors_say_key_found_and_accepted(path: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(path, [override])


def test_a_missing_key_is_named(path: Path) -> None:
    path.write_text(TEXT.replace("steps = 100", ""))
    with pytest.raises(RecipeError, match=r"`loop\.steps`: missing"):
        read_recipe(path)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("network = ")
    with pytest.raises(RecipeError, match=r"r\.toml`: cannot be read as TOML"):
        read_recipe(tmp_path / "r.toml")
    with pytest.raises(RecipeError, match=r"none\.toml`: cannot be read as TOML: No such file"):
        read_recipe(tmp_path / "none.toml")


def test_the_hash_covers_values_not_their_spelling_nor_the_place_of_the_data(path: Path) -> None:
    first = read_recipe(path).sha256()
    assert read_recipe(path, ['data.root="/elsewhere"', "loop.lr=0.002"]).sha256() == first
    assert read_recipe(path, ["loop.lr=0.001"]).sha256() != first
    assert read_recipe(path, ["seed=1"]).sha256() != first


def test_recipes_cannot_be_changed(path: Path) -> None:
    recipe: Recipe = read_recipe(path)
    with pytest.raises(AttributeError):
        recipe.seed = 1  # type: ignore[misc]


def test_text_needs_no_quotes_on_the_command_line(path: Path) -> None:
    assert read_recipe(path, ["data.root=/some/where else"]).data.root == "/some/where else"


def test_an_odd_key_stays_on_one_line(path: Path) -> None:
    path.write_text(TEXT + '\n"od\\nd" = 1\n')
    with pytest.raises(RecipeError, match=r"od\\nd`: unknown key") as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


PLAIN = ['loop.kind="plain"']


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('loop.loss="huber"', r"`loop\.loss`: got 'huber'; accepted: 'l1', 'l2', 'charbonnier', 'log_mse'"),
        ("loop.fourier=1.5", r"`loop\.fourier`: got 1\.5; accepted: `float` <= 1"),
        ('loop.branches=["3x3", "5x5"]', r"`loop\.branches\[1\]`: got '5x5'; accepted: '3x3', '3x1', '1x3', '1x1', "),
        ("loop.branches=[]", r"`loop\.branches`: got \[\]; accepted: a list"),
        ('loop.space="both"', r"`loop\.space`: got 'both'; accepted: 'image', 'weight'"),
        ("loop.dual=-1", r"`loop\.dual`: got -1; accepted: `float` >= 0"),
        ('loop.dual_maps="all"', r"`loop\.dual_maps`: got 'all'; accepted: 'steps', 'whole'"),
        ('loop.dual_loops="hq"', r"`loop\.dual_loops`: got 'hq'; accepted: 'lq', 'both'"),
        ('loop.dual_loops="both"', r"`loop\.dual_loops` has no effect without `loop\.dual`; add that, or leave it out"),
        ("loop.distil=2.0", r"`loop\.distil` has no effect without `loop\.teacher`"),
    ],
)
def test_errors_of_the_plain_trainer(path: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(path, [*PLAIN, override])


def test_options_that_came_later_are_in_the_hash_only_where_they_say_something(path: Path) -> None:
    first = read_recipe(path, PLAIN)
    assert not any(word in first.canonical() for word in (b"loss", b"fourier", b"branches", b"space", b"dual", b"init"))
    assert not any(word in first.canonical() for word in (b"teacher", b"distil"))
    spelled = ['loop.loss="l2"', "loop.fourier=0.0", 'loop.space="weight"']
    assert read_recipe(path, [*PLAIN, *spelled]).sha256() == first.sha256()
    narrowed = read_recipe(path, ['loop.kind="narrowed"', 'loop.source="a"', 'loop.loss="l2"'])
    assert b'"loss":"l2"' in narrowed.canonical()  # its default is another
    changes = ('loop.loss="l1"', "loop.fourier=0.1", 'loop.space="image"', 'loop.branches=["3x3"]')
    for change in (*changes, "loop.dual=0.1", "loop.dual_width=8", 'loop.init="a"', 'loop.teacher="a"'):
        assert read_recipe(path, [*PLAIN, change]).sha256() != first.sha256(), change


def test_how_strong_the_damage_is(path: Path) -> None:
    plain = read_recipe(path)
    assert (plain.data.sigma, plain.data.quality) == (None, None)
    assert b"sigma" not in plain.canonical()  # recipes from before there were denoisers keep their hash
    assert b"quality" not in plain.canonical()
    noisy = read_recipe(path, ["data.sigma=[0, 50]"])
    assert noisy.data.sigma == (0.0, 50.0)
    assert noisy.sha256() != read_recipe(path, ["data.sigma=[0, 51]"]).sha256() != plain.sha256()
    assert read_recipe(path, ["data.quality=[5, 90]"]).data.quality == (5, 90)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.sigma=[0, 256]", r"`data\.sigma\[1\]`: got 256; accepted: `float` <= 255"),
        ("data.sigma=25", r"`data\.sigma`: got 25"),
        ("data.sigma=[30, 20]", r"`data\.sigma`: got \[30\.0, 20\.0\]; accepted: the lower number first"),
        ("data.quality=[0, 50]", r"`data\.quality\[0\]`: got 0; accepted: `int` >= 1"),
        ("data.quality=[1.5, 50]", r"`data\.quality\[0\]`: got 1\.5"),
        ("data.quality=[50, 5]", r"`data\.quality`: got \[50, 5\]; accepted: the lower number first"),
    ],
)
def test_errors_of_the_damage(path: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(path, [override])
