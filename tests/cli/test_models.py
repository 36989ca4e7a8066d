import pytest

from tests.conftest import template_matching_model
from thinlens import models
from thinlens.model.file import write_model


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    folder = tmp_path / "shipped"
    folder.mkdir()
    for scale in (3, 2):
        model = template_matching_model(scale)
        write_model(folder / f"{model.card.name}.safetensors", model)
    monkeypatch.setattr(models, "FOLDER", folder)
    monkeypatch.setitem(models.DEFAULTS, ("sr", 2), {"speed": "edge_sr_tm_k5_c2_x2", "balanced": "other"})


def test_table_has_a_row_for_each_model(thinlens, shipped):
    done = thinlens("models")
    assert (done.code, done.err) == (0, "")
    head, first, second = (line.split() for line in done.out.splitlines())
    assert head[:4] == ["name", "task", "scale", "parameters"]
    assert first == ["edge_sr_tm_k5_c2_x2", "sr", "x2", "400", *first[4:6], "100", "speed"]
    assert second[:4] == ["edge_sr_tm_k5_c2_x3", "sr", "x3", "900"]


def test_json_is_a_list_of_cards(thinlens, shipped):
    ((first, second),) = thinlens("models", "--json").records
    assert (first["name"], first["scale"], first["params"]) == ("edge_sr_tm_k5_c2_x2", 2, 400)
    assert first["default_for"] == ["speed"]
    assert first["bytes"] == (models.FOLDER / "edge_sr_tm_k5_c2_x2.safetensors").stat().st_size
    assert (second["name"], second["default_for"]) == ("edge_sr_tm_k5_c2_x3", [])


def test_unknown_model_lists_near_matches(thinlens, shipped):
    for verb in ("inspect", "restore"):
        rest = ("a.png", "-o", "b.png", "--model") if verb == "restore" else ()
        done = thinlens(verb, *rest, "edge_sr_tm_k5_c4_x2")
        assert done.code == 2
        assert "unknown model `edge_sr_tm_k5_c4_x2`; did you mean `edge_sr_tm_k5_c2_x2`" in done.line
