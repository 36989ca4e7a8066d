import sys

import pytest

from tests.conftest import template_matching_model
from thinlens import models
from thinlens.cli import doctor
from thinlens.model.file import write_model
from thinlens.runtime import library


def test_names_versions_backend_and_extras(thinlens, native, monkeypatch):
    monkeypatch.delenv("THINLENS_ISA", raising=False)
    (findings,) = thinlens("doctor", "--json").records
    assert findings["numpy"] == sys.modules["numpy"].__version__
    assert findings["backend"] == f"native engine, {library.isa_names()[0]}"
    assert findings["instruction_sets"] == list(library.isa_names())
    assert "thinlens_engine" in findings["engine"]
    assert findings["extra_train"]
    assert findings["extra_onnx"]
    assert findings["threads"] >= 1
    assert findings["damaged_models"] == []


def test_text_has_a_line_for_each(thinlens):
    done = thinlens("doctor")
    names = {line.split("  ")[0] for line in done.out.splitlines()}
    assert {"python", "thinlens", "libvips", "backend", "extra train", "damaged models"} <= names


@pytest.mark.parametrize(
    ("isa", "backend", "code"),
    [
        ("scalar", "native engine, scalar", 0),
        ("reference", "NumPy reference (THINLENS_ISA=reference)", 0),
        ("altivec", "none: unknown instruction set `altivec`; THINLENS_ISA accepts here: ", 1),
    ],
)
def test_the_instruction_set_may_be_told(thinlens, monkeypatch, isa, backend, code):
    monkeypatch.setenv("THINLENS_ISA", isa)
    done = thinlens("doctor", "--json")
    assert done.code == code
    assert done.records[0]["backend"].startswith(backend)


def test_without_the_engine_the_reason_is_told(thinlens, monkeypatch):
    monkeypatch.delenv("THINLENS_ISA", raising=False)
    monkeypatch.setattr(library, "_open", lambda: (None, "it is gone"))
    done = thinlens("doctor", "--json")
    assert done.code == 0
    findings = done.records[0]
    assert (findings["backend"], findings["engine"]) == ("NumPy reference (it is gone)", "it is gone")
    assert findings["instruction_sets"] == []
    assert "instruction sets  none" in " ".join(thinlens("doctor").out.split("\n"))


def test_without_torch_the_pip_command_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert "pip install 'thinlens[train]'" in doctor._extra("train")


def test_blocked_torch_is_absent_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install 'thinlens[train]'" in doctor._extra("train")


@pytest.mark.parametrize("damage", [0, 1])
def test_shipped_models_are_checked(thinlens, monkeypatch, tmp_path, damage):
    folder = tmp_path / "shipped"
    folder.mkdir()
    path = folder / "one.safetensors"
    write_model(path, template_matching_model())
    path.write_bytes(path.read_bytes()[: -1 if damage else None])
    monkeypatch.setattr(models, "FOLDER", folder)
    done = thinlens("doctor", "--json")
    assert done.code == damage
    assert done.records[0]["models"] == ["one"]
    assert [str(path) in line for line in done.records[0]["damaged_models"]] == [True] * damage
