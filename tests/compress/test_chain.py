"""Steps in a row: what they cost stands in the card, a refused one leaves nothing, a killed one resumes."""

import numpy as np
import pytest
from PIL import Image

from tests.compress.models import small_model, write_pictures
from tests.conftest import template_matching_model
from thinlens.atomic import write_bytes
from thinlens.bench.quality import usable_images
from thinlens.compress.chain import Chain, changed_convolutions, check_methods, run_chain
from thinlens.compress.compress import Settings, spare
from thinlens.errors import CompressionError, ImageError, OutputError, UnknownNameError
from thinlens.model.file import from_bytes
from thinlens.model.groups import cut_units, find_group

SETTINGS = Settings({"scale": 2}, crop=24, threads=1)
OPTIONS = {"ratio": 0.5, "finetune_steps": 0}


def ignore(name, done, total):
    pass


@pytest.fixture
def paths(tmp_path):
    return write_pictures(tmp_path / "pictures")


class Cut:
    """A step that trains nothing: it takes channels from the body."""

    def __init__(self, *dying):
        self.dying, self.seen = list(dying), []

    def __call__(self, model, method, images, folder, report):
        self.seen.append((method, len(images), folder.is_dir()))
        if self.dying and self.dying.pop(0):
            raise KeyboardInterrupt
        kept = range(3) if method == "cp" else range(4)
        group = find_group(model.plan, "body")
        plan, tensors = cut_units(model.plan, model.tensors, group, set(kept))
        return type(model)({"main": plan}, tensors, model.card)


def chain_of(paths, *methods, step=None, settings=SETTINGS):
    return Chain(methods, paths, settings, step or Cut(), OPTIONS)


def test_costs_and_quality_of_each_step_stand_in_the_card(paths, tmp_path):
    step, output = Cut(), tmp_path / "out.safetensors"
    written = run_chain(small_model(), chain_of(paths, "dcp", "cp", "bf16", step=step), output, report=ignore)
    assert output.read_bytes() == written
    card = from_bytes(written).card
    first, second, third = card.history
    assert card.name == "small_dcp_cp_bf16"
    assert step.seen == [("dcp", 2, True), ("cp", 2, True)]
    assert [part.method for part in card.history] == ["dcp", "cp", "bf16"]
    assert first.params_before == sum(array.size for array in small_model().tensors.values())
    assert first.params_before > first.params_after == second.params_before > second.params_after
    assert first.macs_after < first.macs_before
    assert (first.ratio, first.steps, third.ratio) == (0.5, 0, None)
    assert (first.convolutions, second.convolutions) == (2, 2)
    assert second.psnr_y_db_before == first.psnr_y_db_after
    assert first.bytes_after < first.bytes_before
    assert not (tmp_path / "out.safetensors.work").exists()


def test_a_step_that_loses_too_much_leaves_nothing(paths, tmp_path):
    settings = Settings({"scale": 2}, max_loss_db=-5.0, crop=24, threads=1)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CompressionError, match=r"`dcp` loses .* more than the -5 accepted; nothing was written"):
        run_chain(small_model(), chain_of(paths, "dcp", settings=settings), tmp_path / "o.safetensors", report=ignore)
    assert sorted(tmp_path.iterdir()) == before


def test_a_killed_chain_goes_on_behind_its_finished_steps(paths, tmp_path):
    whole = run_chain(small_model(), chain_of(paths, "dcp", "cp"), tmp_path / "whole.safetensors", report=ignore)
    output = tmp_path / "out.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run_chain(small_model(), chain_of(paths, "dcp", "cp", step=Cut(False, True)), output, report=ignore)
    assert not output.exists()
    with pytest.raises(OutputError, match=r"holds unfinished work; `--resume` goes on with it"):
        run_chain(small_model(), chain_of(paths, "dcp", "cp"), output, report=ignore)
    with pytest.raises(OutputError, match="holds work on another model, or with other methods"):
        run_chain(small_model(), chain_of(paths, "dcp"), output, resume=True, report=ignore)
    step = Cut()
    assert (
        run_chain(small_model(), chain_of(paths, "dcp", "cp", step=step), output, resume=True, report=ignore) == whole
    )
    assert [method for method, *_ in step.seen] == ["cp"]
    assert output.read_bytes() == whole


def test_a_chain_killed_behind_its_output_only_tidies_up(paths, tmp_path):
    output = tmp_path / "out.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run_chain(small_model(), chain_of(paths, "dcp", "cp", step=Cut(False, True)), output, report=ignore)
    whole = run_chain(small_model(), chain_of(paths, "dcp", "cp"), tmp_path / "whole.safetensors", report=ignore)
    output.write_bytes(whole)
    assert run_chain(small_model(), chain_of(paths, "dcp", "cp"), output, resume=True, report=ignore) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.safetensors", "pictures", "whole.safetensors"]
    with pytest.raises(OutputError, match="exists; nothing is overwritten"):
        run_chain(small_model(), chain_of(paths, "dcp"), output, report=ignore)


def test_only_what_takes_long_is_kept(paths, tmp_path, monkeypatch):
    output = tmp_path / "out.safetensors"

    def full(path, data, *, overwrite=False):
        if path == output:
            raise OutputError("the disk is full")
        write_bytes(path, data, overwrite=overwrite)

    monkeypatch.setattr("thinlens.compress.chain.write_bytes", full)
    for methods, left in (("bf16",), []), (("dcp",), ["out.safetensors.work"]):
        with pytest.raises(OutputError, match="the disk is full"):
            run_chain(small_model(), chain_of(paths, *methods), output, report=ignore)
        assert [path.name for path in tmp_path.glob("*.work")] == left
    monkeypatch.undo()
    assert run_chain(small_model(), chain_of(paths, "dcp"), output, resume=True, report=ignore) == output.read_bytes()


def test_a_disk_that_is_full_from_the_start_leaves_nothing(paths, tmp_path, monkeypatch):
    def full(path, data, *, overwrite=False):
        raise OutputError("the disk is full")

    monkeypatch.setattr("thinlens.compress.chain.write_bytes", full)
    with pytest.raises(OutputError, match="the disk is full"):
        run_chain(small_model(), chain_of(paths, "dcp"), tmp_path / "out.safetensors", report=ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_methods_in_an_order_that_cannot_work_are_refused(paths, tmp_path):
    with pytest.raises(CompressionError, match="`cp` after `int8`: rounded weights cannot be changed; put `int8` last"):
        check_methods(["int8", "cp"])
    with pytest.raises(UnknownNameError, match="unknown method `thinnet`; did you mean `thinet`"):
        check_methods(["thinnet"])
    with pytest.raises(CompressionError, match="`cp`: no step is given that trains"):
        run_chain(small_model(), Chain(["cp"], paths, SETTINGS), tmp_path / "o.safetensors", report=ignore)


def test_changed_convolutions_are_those_with_other_channels():
    model = small_model()
    plan, _ = cut_units(model.plan, model.tensors, find_group(model.plan, "body"), {0, 1})
    assert changed_convolutions(model.plan, plan) == 2
    assert changed_convolutions(model.plan, model.plan) == 0
    one_layer = template_matching_model().plan
    assert changed_convolutions(one_layer, one_layer) == 0


def test_the_costliest_convolutions_are_spared_first():
    cost = {"a": 0.02, "b": 0.3, "c": 0.1}
    tried = []

    def psnr_of(chosen):
        return 30 - sum(cost[name] for name in chosen)

    def is_enough(chosen):
        tried.append(list(chosen))
        return 30 - psnr_of(chosen) <= 0.15

    assert spare(["a", "b", "c"], psnr_of, is_enough) == ["a", "c"]
    assert tried == [["c", "a"]]
    assert spare(["a", "b", "c"], psnr_of, lambda chosen: psnr_of(chosen) >= 30 - 0.05) == ["a"]
    assert spare(["a", "b", "c"], psnr_of, lambda chosen: False) == ["a", "b", "c"]


def test_pictures_that_nothing_can_be_measured_on_are_left_out_and_named(paths, tmp_path):
    folder = tmp_path / "pictures"
    clear = np.full((64, 64, 4), 200, np.uint8)
    Image.fromarray(clear).save(folder / "glass.png")
    clear[..., 3] = 255
    Image.fromarray(clear).save(folder / "opaque.png")
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(folder / "deep.png")
    every = [*paths, folder / "deep.png", folder / "glass.png", folder / "opaque.png"]
    usable, notes = usable_images(every)
    assert usable == [*paths, folder / "opaque.png"]
    assert "`" + str(folder / "deep.png") + "`: 16 bits a sample" in notes[0]
    assert "has transparent pixels" in notes[1]
    with pytest.raises(ImageError, match=r"no image of 1 can be measured on: .*transparent"):
        usable_images([folder / "glass.png"])
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:20])
    with pytest.raises(ImageError, match=r"torn\.png"):
        usable_images([*every, folder / "torn.png"])
