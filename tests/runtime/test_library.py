"""The engine's library: found, checked, and told which instruction set to run."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest

import thinlens
from thinlens.errors import ModelError, PlanError, ShapeError, ThinlensError, UnknownNameError, UnsupportedOpError
from thinlens.runtime import library

HEADER = Path(__file__).parents[2] / "engine" / "include" / "thinlens.h"


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    """A package without the library."""
    library._open.cache_clear()
    monkeypatch.setattr(thinlens, "__path__", [str(tmp_path)])
    yield tmp_path
    library._open.cache_clear()


def test_the_library_is_there():
    assert library.why_missing() is None
    assert library.isa_names()[-1] == "scalar"


def test_every_function_of_the_header_is_bound():
    assert set(re.findall(r"TL_API [^;(]*?(tl_\w+)\(", HEADER.read_text())) == set(library.SIGNATURES)


def test_structures_have_the_headers_fields():
    text = HEADER.read_text()
    for structure, name in ((library.Request, "tl_request"), (library.Schedule, "tl_schedule")):
        body = text.split(f"typedef struct {name} {{")[1].split("}")[0]
        fields = [f.strip() for line in re.findall(r"int64_t ([^;]+);", body) for f in line.split(",")]
        assert [field for field, _ in structure._fields_] == fields
        assert ctypes.sizeof(structure) == 8 * len(fields)


def test_statuses_are_the_headers():
    numbers = dict(re.findall(r"(TL_\w+) = (\d)", HEADER.read_text()))
    names = ("OK", "BAD_ARGUMENT", "BAD_PLAN", "BAD_SIZE", "NEEDS_HEIGHT", "NO_MEMORY", "NOT_A_NUMBER", "BAD_STATE")
    assert {name: int(numbers[f"TL_{name}"]) for name in names} == {name: getattr(library, name) for name in names}
    assert (int(numbers["TL_CANCELLED"]), int(numbers["TL_UNSUPPORTED_ISA"])) == (library.CANCELLED, library.BAD_ISA)


def test_importing_thinlens_loads_nothing():
    code = "import sys, thinlens; assert not {'ctypes', 'numpy', 'thinlens.runtime.library'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_library_the_reason_is_told(nothing_installed):
    assert "installed without a C++ compiler" in library.why_missing()
    assert library.isa_names() == ()
    with pytest.raises(UnsupportedOpError, match="no native library"):
        library.engine()


@pytest.mark.parametrize("content", [b"", b"not a library"])
def test_a_broken_library_is_told(nothing_installed, content):
    (nothing_installed / library.FOLDER).mkdir()
    (nothing_installed / library.FOLDER / library.NAME).write_bytes(content)
    assert "cannot be loaded" in library.why_missing()


def test_another_interface_is_told(nothing_installed, monkeypatch):
    monkeypatch.undo()
    wanted = f"has interface {library.INTERFACE}, this thinlens needs 99"
    monkeypatch.setattr(library, "INTERFACE", 99)
    assert wanted in library.why_missing()


def test_isa_from_the_environment(monkeypatch):
    for value, wanted in (("", None), (" Scalar ", "scalar"), ("reference", "reference")):
        monkeypatch.setenv(library.VARIABLE, value)
        assert library.wanted_isa() == wanted


def test_an_unknown_isa_lists_what_there_is(monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "scaler")
    with pytest.raises(
        UnknownNameError, match=r"unknown instruction set `scaler`; did you mean `scalar`.* accepts here: "
    ):
        library.wanted_isa()


def test_an_isa_without_a_library_says_so(nothing_installed, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "scalar")
    with pytest.raises(UnknownNameError, match=r"accepts here: reference \(no native library"):
        library.wanted_isa()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (library.BAD_ARGUMENT, ThinlensError),
        (library.BAD_PLAN, PlanError),
        (library.BAD_SIZE, ShapeError),
        (library.NEEDS_HEIGHT, ShapeError),
        (library.NO_MEMORY, MemoryError),
        (library.NOT_A_NUMBER, ModelError),
        (library.BAD_STATE, ShapeError),
        (library.BAD_ISA, UnknownNameError),
    ],
)
def test_each_status_is_an_error(status, error):
    with pytest.raises(error):
        library.check(status, "what happened")
