import sys
from typing import get_args

import pytest
import torch

from tests.cli.fixtures import picture, size_of
from thinlens.cli.import_ import Family
from thinlens.model.file import read_model
from thinlens.train import importer

OUT = ("-o", "out.safetensors")


@pytest.fixture
def published(bench):
    """Write a file as published for a network, with random weights, under any name."""

    def write(network, path):
        shapes = importer.official_shapes(importer.configurations()[network])
        generator = torch.Generator().manual_seed(0)
        torch.save({key: torch.rand(shape, generator=generator) / 10 for key, shape in shapes.items()}, path)

    return write


def test_an_official_file_becomes_a_model_that_restores(thinlens, published, bench):
    published("espcn_d2_s3_x2", "ESPCN_s2_D2_S3.model")
    done = thinlens("import", "ESPCN_s2_D2_S3.model", *OUT)
    params = read_model(bench / "out.safetensors").card.params
    assert (done.code, done.err) == (0, "")
    assert done.out == f"out.safetensors: espcn_d2_s3_x2, {params} parameters\n"
    picture("a.png")
    assert thinlens("restore", "a.png", "-o", "b.png", "--model", "out.safetensors").code == 0
    assert size_of("b.png") == (14, 10)


def test_notes_are_told_on_stderr_and_in_json(thinlens, published):
    published("bicubic_x3", "Bicubic_s3.model")
    done = thinlens("import", "Bicubic_s3.model", *OUT, "--family", "bicubic", "--json")
    (record,) = done.records
    assert done.code == 0
    assert record == {
        "path": "out.safetensors",
        "model": "bicubic_x3",
        "scale": 3,
        "params": 225,
        "notes": record["notes"],
    }
    assert "misaligned by half an output pixel" in record["notes"][0]
    assert done.line == f"thinlens: note: {record['notes'][0]}"


def test_the_name_is_asked_for_where_nothing_tells(thinlens, published, bench):
    published("edge_sr_max_k5_c2_x4", "weights.pt")
    done = thinlens("import", "weights.pt", *OUT)
    assert (done.code, done.out) == (1, "")
    assert "say which with `--name`" in done.line
    assert thinlens("import", "weights.pt", *OUT, "--name", "edge_sr_tm_k5_c4_x2", "--family", "edge_sr").code == 0
    assert read_model(bench / "out.safetensors").card.name == "edge_sr_tm_k5_c4_x2"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("a.model", "-o", "out.onnx"), 2, "`out.onnx`: a model file ends in `.safetensors`"),
        (("a.model", *OUT, "--family", "vgg"), 2, "'vgg' is not one of 'bicubic', 'edge_sr'"),
        (("a.model", *OUT, "--family", "espcn"), 1, "fit no known network"),
        (("a.model", *OUT, "--family", "bicubic", "--name", "bicubic_x9"), 2, "did you mean `bicubic_x"),
        (("missing.model", *OUT), 1, "`missing.model`: cannot be read: No such file"),
        (
            ("a.model", "-o", "x2.safetensors", "--family", "bicubic"),
            1,
            "`x2.safetensors` exists; nothing is overwritten",
        ),
        (("a.txt", *OUT), 1, "`a.txt`: not a weight file that can be read safely"),
    ],
)
def test_bad_arguments(thinlens, published, bench, arguments, code, message):
    published("bicubic_x2", "a.model")
    (bench / "a.txt").write_text("no weights")
    done = thinlens("import", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.line
    assert not (bench / "out.safetensors").exists()


def test_families_are_those_of_the_importer():
    assert get_args(Family) == get_args(importer.Family)


def test_without_the_extra(thinlens, monkeypatch):
    monkeypatch.setitem(sys.modules, "thinlens.train.importer", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("thinlens.train")]:
        monkeypatch.delitem(sys.modules, name)
    done = thinlens("import", "a.model", *OUT)
    assert (done.code, done.out) == (2, "")
    assert "`thinlens import` needs the extra `train`: pip install 'thinlens[train]'" in done.line
