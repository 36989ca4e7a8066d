import sys

import numpy as np
import onnxruntime
import pytest

from tests.conftest import template_matching_model
from thinlens.runtime.session import Session


def test_onnx_gives_what_the_model_gives(thinlens, bench):
    done = thinlens("export", "x3.safetensors", "--to", "onnx", "-o", "x3.onnx")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("x3.onnx: edge_sr_tm_k5_c2_x3 as onnx, ")
    lq = np.random.default_rng(0).random((5, 7), np.float32)
    (restored,) = onnxruntime.InferenceSession(str(bench / "x3.onnx")).run(["image"], {"input": lq[None, None]})
    expected = Session(template_matching_model(3)).run(lq)
    np.testing.assert_allclose(restored[0, 0].clip(0, 1), expected, atol=1e-5)


def test_json(thinlens, bench):
    (record,) = thinlens("export", "x2.safetensors", "-o", "x2.onnx", "--json").records
    size = (bench / "x2.onnx").stat().st_size
    assert record == {"path": "x2.onnx", "model": "edge_sr_tm_k5_c2_x2", "format": "onnx", "bytes": size}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nothing", "-o", "b.onnx"), 2, "unknown model `nothing`"),
        (("x2.safetensors", "-o", "a.onnx"), 1, "`a.onnx` exists; nothing is overwritten"),
        (("x2.safetensors", "-o", "b.onnx", "--to", "ncnn"), 2, "'ncnn' is not one of 'onnx', 'openvino'"),
    ],
)
def test_bad_arguments(thinlens, bench, arguments, code, message):
    (bench / "a.onnx").write_text("old")
    done = thinlens("export", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.line
    assert (bench / "a.onnx").read_text() == "old"
    assert not (bench / "b.onnx").exists()


def test_without_the_extra(thinlens, monkeypatch, bench):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "thinlens.export.onnx", raising=False)
    done = thinlens("export", "x2.safetensors", "-o", "b.onnx")
    assert (done.code, done.out) == (2, "")
    assert "`thinlens export --to onnx` needs the extra `onnx`: pip install 'thinlens[onnx]'" in done.line
    assert not (bench / "b.onnx").exists()
