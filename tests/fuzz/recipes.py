"""Random recipes: read with random overrides; what is read has a canonical form that reads back the same."""

import json
import tomllib
from functools import cache
from pathlib import Path

import msgspec

from tests.fuzz import mutate, tree
from thinlens.train.recipe import read_recipe, to_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
KEYS = (
    "network",
    "data.train",
    "data.root",
    "loop.steps",
    "loop.kind",
    "loop.lr",
    "seed",
    "loop",
    "",
    "a.b.c",
    "seed.x",
)


@cache
def seeds() -> list[str]:
    """Sound recipes of both kinds of loop."""
    plain = 'network = "x"\n[data]\ntrain = ["a"]\nval = ["b"]\n[loop]\nkind = "plain"\nsteps = 5\ncrop = 8\n'
    narrowed = plain.replace('"plain"', '"narrowed"') + 'source = "y"\nloss = "l2"\n'
    branched = plain + 'loss = "l1"\nfourier = 0.1\nbranches = ["3x3", "identity"]\nspace = "image"\n'
    ours = [path.read_text() for path in sorted(FOLDER.glob("*.toml")) if path.stem != "campaign"]
    return ours + [plain, narrowed, branched] * 3


def make(rng) -> bytes:
    """A broken recipe."""
    texts = seeds()
    text = texts[int(rng.integers(len(texts)))]
    if rng.random() < 0.25:
        return mutate.mutated(text.encode(), rng, texts[0].encode())
    return to_toml(tree.mutated(tomllib.loads(text), rng)).encode(errors="replace")


def to_toml(table) -> str:
    """A table as TOML, inner tables inline; None, which TOML lacks, as nan."""
    return "".join(f"{json.dumps(str(key))} = {_value(value)}\n" for key, value in table.items())


def _value(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return "nan" if value is None else json.dumps(value)


def put_through(data: bytes, folder, rng) -> None:
    """Read a recipe as `thinlens train` does; raises ThinlensError, or AssertionError if a result is wrong."""
    path = folder / "x.toml"
    path.write_bytes(data)
    recipe = read_recipe(path, _overrides(rng))
    decoded = msgspec.json.decode(recipe.canonical())
    again = to_recipe({**decoded, "data": {**decoded["data"], "root": recipe.data.root}})
    assert again == recipe, "the canonical form is another recipe"
    assert again.sha256() == recipe.sha256()


def _overrides(rng) -> list[str]:
    if rng.random() < 0.6:
        return []
    key = KEYS[int(rng.integers(len(KEYS)))]
    value = _value(tree.SCALARS[int(rng.integers(len(tree.SCALARS)))])
    text = f"{key}={value}"
    return [mutate.mutated(text.encode(), rng).decode(errors="replace") if rng.random() < 0.3 else text]
