import sys

import pytest

from tests.conftest import template_matching_model
from thinlens import models
from thinlens.cli import doctor
from thinlens.model.file import write_model


def test_names_versions_backend_and_extras(thinlens):
    (findings,) = thinlens("doctor", "--json").records
    assert findings["numpy"] == sys.modules["numpy"].__version__
    assert findings["backend"].startswith("NumPy reference; native engine: not built")
    assert findings["extra_train"]
    assert findings["extra_onnx"]
    assert findings["threads"] >= 1
    assert findings["damaged_models"] == []


def test_text_has_a_line_for_each(thinlens):
    done = thinlens("doctor")
    names = {line.split("  ")[0] for line in done.out.splitlines()}
    assert {"python", "thinlens", "libvips", "backend", "extra train", "damaged models"} <= names


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
