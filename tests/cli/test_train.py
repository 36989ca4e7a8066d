import pytest

from tests.cli.fixtures import picture
from thinlens.model.file import read_model

RECIPE = """
network = "edge_sr_max_k3_c1_x2"
[data]
root = "."
train = ["images"]
val = ["images"]
[loop]
kind = "plain"
steps = 3
batch = 2
crop = 8
warmup = 0
"""


@pytest.fixture
def recipe(bench):
    picture("images/a.png", 40, 40)
    (bench / "recipe.toml").write_text(RECIPE)
    return bench / "recipe.toml"


def test_leaves_a_model_that_restores(thinlens, recipe, bench):
    done = thinlens("train", "recipe.toml", "-o", "run", "--set", "loop.steps=2", "--set", "seed=3")
    assert (done.code, done.err) == (0, "")
    assert done.out == "run/model.safetensors: edge_sr_max_k3_c1_x2, 36 parameters, 2 steps\n"
    card = read_model(bench / "run/model.safetensors").card
    assert (card.training.steps, card.training.seed) == (2, 3)
    assert thinlens("restore", "images/a.png", "-o", "b.png", "--model", "run/model.safetensors").code == 0


def test_json(thinlens, recipe):
    (record,) = thinlens("train", "recipe.toml", "-o", "run", "--json").records
    assert record == {"path": "run/model.safetensors", "model": "edge_sr_max_k3_c1_x2", "params": 36, "steps": 3}


def test_resume_goes_on_and_a_full_folder_is_refused(thinlens, recipe):
    assert thinlens("train", "recipe.toml", "-o", "run").code == 0
    done = thinlens("train", "recipe.toml", "-o", "run")
    assert done.code == 1
    assert "`run` is not empty" in done.line
    assert thinlens("train", "recipe.toml", "-o", "run", "--resume").code == 0


def test_a_training_that_pauses_says_how_it_goes_on(thinlens, recipe, bench):
    done = thinlens("train", "recipe.toml", "-o", "run", "--minutes", "0")
    assert (done.code, done.out) == (0, "run: training: paused after step 1 of 3; `--resume` goes on\n")
    (record,) = thinlens("train", "recipe.toml", "-o", "run", "--minutes", "0", "--resume", "--json").records
    assert record == {"path": None, "model": "edge_sr_max_k3_c1_x2", "part": "training", "step": 2}
    assert not (bench / "run/model.safetensors").exists()
    assert thinlens("train", "recipe.toml", "-o", "run", "--resume").code == 0
    assert (bench / "run/model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recipe.toml", "--minutes", "nan"), "`--minutes`: got nan; accepted: 0 and more"),
        (("recipe.toml", "--set", "loop.step=2"), "`loop.step`: unknown key; did you mean `loop.steps`"),
        (("recipe.toml", "--set", "loop.steps"), "--set: got `loop.steps`; accepted: key=value"),
        (("recipe.toml", "--set", 'network="edge_sr_max_k3_c1_x9"'), "did you mean `edge_sr_max_k3_c1_x"),
        (("missing.toml",), "`missing.toml`: cannot be read as TOML: No such file"),
    ],
)
def test_bad_recipes_are_usage_errors(thinlens, recipe, bench, arguments, message):
    done = thinlens("train", *arguments, "-o", "run")
    assert (done.code, done.out) == (2, "")
    assert message in done.line
    assert not (bench / "run").exists()
