"""Rules of the repository that no linter knows."""

import importlib.util
import itertools
import re
import sys
import tomllib
from pathlib import Path

import thinlens

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_files_stay_short():
    assert {p.name: n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400} == {}


def test_version_stands_in_one_place():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert thinlens.__version__ == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_every_dependency():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, build = settings["project"], settings["build-system"]["requires"]
    wanted = [*build, *project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in wanted}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert names <= pinned


def test_nothing_reaches_for_files_outside_the_repository():
    for path in [*SOURCES, *(ROOT / "recipes").rglob("*.toml")]:
        assert "../shared" not in path.read_text(), path


def test_recipes_are_named_after_their_network():
    for path in set((ROOT / "recipes").glob("*.toml")) - {ROOT / "recipes/campaign.toml"}:
        assert tomllib.loads(path.read_text())["network"] == path.stem


def test_the_method_map_points_at_files():
    index = (ROOT / "docs" / "methods" / "README.md").read_text()
    paths = re.findall(r"`(src/[^`*]+|recipes/[^`*]+)`", index)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_what_benchmarks_import_is_there(monkeypatch):
    files = sorted((ROOT / "benchmarks").glob("*.py"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    missing = {}
    for path in files:
        spec = importlib.util.spec_from_file_location(f"benchmarks_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        try:
            spec.loader.exec_module(module)
        except ImportError as error:
            missing[path.name] = error.name.split(".")[0]
    assert set(missing.values()).isdisjoint({"thinlens", *(path.stem for path in files)}), missing  # extras may be
