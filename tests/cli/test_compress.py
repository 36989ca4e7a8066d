import pytest

from tests.compress.models import sensitive_model, small_model, write_pictures
from thinlens.model.file import read_model, write_model


@pytest.fixture
def data(bench):
    write_model(bench / "small.safetensors", small_model())
    write_pictures(bench / "data")
    return bench / "data"


@pytest.mark.parametrize("method", ["int8", "bf16"])
def test_a_smaller_model_is_written_and_described(thinlens, data, bench, method):
    arguments = ("compress", "small.safetensors", "-o", "out.safetensors", "--method", method, "--data", "data")
    (record,) = thinlens(*arguments, "--json").records
    card = read_model(bench / "out.safetensors").card
    (step,) = card.history
    assert (record["path"], record["model"], record["method"]) == ("out.safetensors", f"small_{method}", method)
    assert record["loss_db"] == pytest.approx(step.loss_db)
    assert record["bytes_before"] == (bench / "small.safetensors").stat().st_size
    assert record["bytes_after"] == (bench / "out.safetensors").stat().st_size
    done = thinlens(*arguments, "--max-loss", "1", "-f")
    assert (done.code, done.err) == (0, "")
    assert "dB lost on 2 images of data" in done.out
    assert "compressed" in thinlens("inspect", "out.safetensors").out


def test_too_much_loss_leaves_nothing(thinlens, data, bench):
    write_model(bench / "sensitive.safetensors", sensitive_model())
    before = sorted(path.name for path in bench.iterdir())
    arguments = ("compress", "sensitive.safetensors", "-o", "out.safetensors", "--method", "int8", "--data", "data")
    done = thinlens(*arguments, "--max-loss", "0.05")
    assert (done.code, done.out) == (1, "")
    assert "more than the 0.05 accepted; nothing was written" in done.line
    assert sorted(path.name for path in bench.iterdir()) == before


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        (("--method", "int4"), 2, "unknown method `int4`"),
        (("--method", "int8", "--method", "bf16"), 2, "`--method` is given 2 times; accepted: one"),
        ((), 2, "Missing option '--method'"),
        (("--method", "int8", "--data", "nowhere"), 1, "`nowhere`: not a folder"),
        (("--method", "int8", "-o", "out.bin"), 2, "`out.bin`: a model file ends in `.safetensors`"),
        (("--method", "int8", "-o", "small.safetensors"), 1, "`small.safetensors` exists"),
        (("--method", "int8", "--sigma", "20"), 2, "`--sigma 20`: model `small` does sr"),
        (("--method", "int8", "--max-loss", "-1"), 2, "--max-loss"),
    ],
)
def test_bad_arguments(thinlens, data, bench, changed, code, message):
    done = thinlens("compress", "small.safetensors", "-o", "out.safetensors", "--data", "data", *changed)
    assert (done.code, done.out) == (code, "")
    assert message in done.line
    assert not (bench / "out.safetensors").exists()


def test_one_layer_is_refused(thinlens, data, bench):
    done = thinlens("compress", "x2.safetensors", "-o", "out.safetensors", "--method", "int8", "--data", "data")
    assert done.code == 1
    assert "is a one-layer upscaler, which has integer kernels of its own" in done.line
