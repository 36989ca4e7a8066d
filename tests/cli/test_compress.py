import pytest
from PIL import Image

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
    before = sorted(path.name for path in bench.iterdir())
    arguments = ("compress", "small.safetensors", "-o", "out.safetensors", "--method", "uniform", "--data", "data")
    done = thinlens(*arguments, "--ratio", "0.8", "--finetune-steps", "0", "--max-loss", "0.05")
    assert (done.code, done.out) == (1, "")
    assert "more than the 0.05 accepted; nothing was written" in done.line
    assert sorted(path.name for path in bench.iterdir()) == before


def test_a_convolution_that_costs_too_much_in_bytes_stays_on_floats(thinlens, data, bench):
    write_model(bench / "sensitive.safetensors", sensitive_model())
    arguments = ("compress", "sensitive.safetensors", "-o", "out.safetensors", "--method", "int8", "--data", "data")
    (free,) = thinlens(*arguments, "--json").records
    (kept,) = thinlens(*arguments, "--max-loss", "0.05", "-f", "--json").records
    assert free["loss_db"] > 0.05 >= kept["loss_db"]
    assert 1 <= kept["convolutions"] < free["convolutions"]


def test_a_chain_of_methods_is_told_step_by_step(thinlens, data, bench):
    arguments = ("compress", "small.safetensors", "-o", "out.safetensors", "--data", "data", "--finetune-steps", "3")
    chained = (*arguments, "--method", "dcp", "--ratio", "0.4", "--method", "bf16")
    (record,) = thinlens(*chained, "--json").records
    assert [step["method"] for step in record["steps"]] == ["dcp", "bf16"]
    assert (record["method"], record["model"]) == ("dcp+bf16", "small_dcp_bf16")
    assert record["steps"][0]["params_after"] < record["steps"][0]["params_before"]
    assert (record["steps"][0]["ratio"], record["steps"][0]["steps"]) == (0.4, 3)
    assert record["loss_db"] == pytest.approx(sum(step["loss_db"] for step in record["steps"]), abs=1e-3)
    done = thinlens(*chained, "-f")
    assert (done.code, done.err) == (0, "")
    assert "dcp: 5 convolutions, 3 steps of training" in done.out
    assert not list(bench.glob("*.work"))


def test_transparent_pictures_are_left_out_with_a_note(thinlens, data, bench):
    Image.new("RGBA", (64, 64), (9, 9, 9, 100)).save(data / "glass.png")
    arguments = ("compress", "small.safetensors", "-o", "out.safetensors", "--method", "bf16", "--data", "data")
    done = thinlens(*arguments, "--json")
    assert done.code == 0
    assert "glass.png`: has transparent pixels" in done.err
    assert (done.records[0]["left_out"], done.records[0]["count"]) == (1, 2)


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        (("--method", "int4"), 2, "unknown method `int4`"),
        (("--method", "int8", "--method", "bf16"), 2, "`bf16` after `int8`: rounded weights cannot be changed"),
        (("--method", "int8", "--ratio", "0.5"), 2, "`--ratio`: no effect on int8; it goes with dual-regression, cp"),
        (("--method", "bf16", "--finetune-steps", "5"), 2, "`--finetune-steps`: no effect on bf16"),
        (("--method", "bf16", "--distil", "1"), 2, "`--distil`: no effect on bf16"),
        (("--method", "dcp", "--ratio", "1"), 2, "--ratio"),
        (("--method", "bidirectional"), 1, "has no information transmission modules"),
        (("--method", "binarize"), 1, "`small`: no 3x3 convolution between the first and the last one makes as many"),
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
