import subprocess
import sys

import pytest

from thinlens.cli import app, verb
from thinlens.errors import MissingExtraError, ModelError, RecipeError

VERBS = [function.__name__.rstrip("_") for function, _ in app.VERBS]


def program(*arguments, before=""):
    """Run `python -m thinlens` in a process of its own; print which heavy modules it imported."""
    code = f"""
import atexit, runpy, sys
{before}
atexit.register(lambda: print([m for m in ("numpy", "torch", "PIL", "typer") if sys.modules.get(m)], file=sys.stderr))
sys.argv = ["thinlens", *{list(arguments)!r}]
runpy.run_module("thinlens", run_name="__main__")
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_version_imports_nothing_heavy():
    done = program("--version")
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout.startswith("thinlens ")


def test_help_imports_no_arrays():
    done = program("restore", "--help")
    assert (done.returncode, done.stderr) == (0, "['typer']\n")


def test_version_is_an_option_like_others(thinlens):
    done = thinlens("--version", "models")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("thinlens ")


@pytest.mark.parametrize("name", [None, *VERBS])
def test_help_ends_with_an_example(thinlens, name):
    done = thinlens(*([name] if name else []), "--help")
    assert done.code == 0
    assert f"Example: thinlens {name or 'restore'}" in done.out
    assert name is None or "--debug" in done.out


WORDS = [(group, function.__name__) for group, _, verbs in app.GROUPS for function, _ in verbs]


@pytest.mark.parametrize(("group", "name"), WORDS)
def test_verbs_of_two_words_have_help_too(thinlens, group, name):
    done = thinlens(group, name, "--help")
    assert done.code == 0
    assert f"Example: thinlens {group} {name} " in done.out
    assert "--debug" in done.out
    alone = thinlens(group)
    assert (alone.code, alone.err) == (2, "")
    assert name in alone.out


def test_without_a_verb_help_is_shown(thinlens):
    done = thinlens()
    assert done.code == 2
    assert all(name in done.out for name in [*VERBS, *(group for group, _ in WORDS)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("restor",), "No such command 'restor'. Did you mean 'restore', 'report'?; `thinlens --help` explains"),
        (("restore",), "Missing argument"),
        (("restore", "a.png"), "Missing option '-o' / '--output'; `thinlens restore --help` explains"),
        (("restore", "a.png", "-o", "b", "--scale", "two"), "'two' is not a valid float"),
        (("restore", "a.png", "-o", "b", "--task", "sharpen"), "'sharpen' is not one of 'sr', 'denoise'"),
        (("restore", "a.png", "-o", "b", "-j", "0"), "0 is not in the range"),
        (("restore", "a.png", "-o", "b", "--jpeg-quality", "101"), "101 is not in the range"),
        (("restore", "a.png", "-o", "b", "--max-pixels", "0"), "0 is not in the range"),
        (("models", "--colour"), "No such option: --colour"),
        (("inspect", "x2.safetensors", "extra"), "unexpected extra argument"),
    ],
)
def test_usage_errors_are_one_line(thinlens, arguments, message):
    done = thinlens(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.line


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RecipeError("no such key"), 2, "no such key"),
        (MissingExtraError.of("this", "train"), 2, "this needs the extra `train`: pip install 'thinlens[train]'"),
        (ModelError("damaged\n twice"), 1, "damaged twice"),
        (FileNotFoundError(2, "No such file or directory", "a"), 1, "`a`: No such file or directory"),
        (MemoryError(), 1, "not enough memory; use fewer threads (`-j 1`) or smaller images"),
        (ValueError("odd"), 1, "unexpected ValueError: odd; this is a bug: rerun with `--debug` and report it"),
    ],
)
def test_errors_become_one_line_and_a_code(capfd, error, code, line):
    def raising():
        raise error

    assert verb.verb(raising)() == code
    assert capfd.readouterr().err == f"thinlens: {line}\n"


def test_debug_adds_the_traceback(thinlens):
    code = thinlens("inspect", "nothing", "--debug")
    assert code.code == 2
    assert code.err.startswith("thinlens: unknown model `nothing`")
    assert "Traceback (most recent call last)" in code.err
    assert "Traceback" not in thinlens("inspect", "nothing").err


def test_debug_shows_the_traceback_of_one_file(restore, bench):
    (bench / "a.png").write_text("no image")
    assert "Traceback (most recent call last)" in restore("a.png", "-o", "b.png", "--debug").err


def test_interrupt_ends_with_130(thinlens, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("thinlens.models.list_models", interrupted)
    done = thinlens("models")
    assert done.code == 130
    assert "interrupted" in done.line


def test_a_closed_pipe_is_no_error_to_tell():
    done = subprocess.run(
        f"{sys.executable} -m thinlens doctor | true", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_extra_that_is_missing_names_the_pip_command(thinlens, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("thinlens.train")]:
        monkeypatch.delitem(sys.modules, name)
    done = thinlens("networks")
    assert (done.code, done.out) == (2, "")
    assert "`thinlens networks` needs the extra `train`: pip install 'thinlens[train]'" in done.line
