import dataclasses
from pathlib import Path

import msgspec

from tests.conftest import template_matching_model
from tests.plans import memory_plan, tensors_of
from thinlens.model.file import Model, write_model
from thinlens.runtime.session import open_model


def test_shows_plan_and_card(thinlens):
    done = thinlens("inspect", "x2.safetensors")
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["filter", "conv2d", "input", "16", "filter.weight", "16x1x5x5"] in rows
    assert ["sum", "softmax_sum", "values,", "keys", "1"] in rows
    assert ["parameters", "400"] in rows
    assert not any("halo" in row for row in rows)


def test_width_adds_what_an_image_needs(thinlens, native):
    rows = [line.split() for line in thinlens("inspect", "x2.safetensors", "--width", "64").out.splitlines()]
    assert ["halo", "rows", "above", "2"] in rows
    assert ["latency", "rows", "2"] in rows
    assert ["height", "64"] in rows
    assert ["row", "by", "row", "yes"] in rows


def test_json(thinlens, bench, native):
    done = thinlens("inspect", "x2.safetensors", "--width", "640", "--height", "480", "--json")
    (record,) = done.records
    assert record["bytes"] == (bench / "x2.safetensors").stat().st_size
    assert record["card"]["name"] == "edge_sr_tm_k5_c2_x2"
    assert [node["op"]["kind"] for node in record["plan"]["nodes"]][:2] == ["conv2d", "pixel_shuffle"]
    assert record["channels"] == {"input": 1, "filter": 16, "shuffle": 4, "values": 2, "keys": 2, "sum": 1}
    needs = record["needs"]
    assert (needs["halo_rows_above"], needs["halo_rows_below"], needs["latency_rows"]) == (2, 2, 2)
    assert needs["working_bytes"] > 640 * 480 * 3 * 5
    rows = open_model("x2.safetensors").rows(640, 480, channels=1)
    assert (needs["row_format"], needs["row_by_row"], needs["buffer_bytes"]) == ("gray8", "yes", rows.buffer_bytes)


def test_a_format_may_be_told(thinlens, native):
    options = ("--width", "640", "--json", "--format")
    gray, colour = (
        thinlens("inspect", "x2.safetensors", *options, name).records[0]["needs"] for name in ("gray8", "rgb48")
    )
    assert gray["buffer_bytes"] == open_model("x2.safetensors").rows(640, channels=1).buffer_bytes
    assert gray["buffer_bytes"] < colour["buffer_bytes"]
    assert gray["working_bytes"] < colour["working_bytes"]


def test_why_rows_cannot_come_one_by_one_is_told(thinlens, reference):
    needs = thinlens("inspect", "x2.safetensors", "--width", "64", "--json").records[0]["needs"]
    assert needs["row_by_row"] == "no: rows one by one need the native engine: THINLENS_ISA=reference"
    assert "buffer_bytes" not in needs


def test_json_without_a_width_says_nothing_of_needs(thinlens):
    assert "needs" not in thinlens("inspect", "x2.safetensors", "--json").records[0]


def test_a_height_alone_is_refused(thinlens):
    done = thinlens("inspect", "x2.safetensors", "--height", "9")
    assert done.code == 2
    assert "`--height` goes with `--width`" in done.line


def test_another_value_range_is_shown(thinlens, bench):
    model = template_matching_model(2)
    card = msgspec.structs.replace(model.card, value_range=(0.0, 255.0))
    write_model(bench / "bytes.safetensors", dataclasses.replace(model, card=card))
    rows = [line.split() for line in thinlens("inspect", "bytes.safetensors").out.splitlines()]
    assert ["value", "range", "0", "to", "255"] in rows
    assert not any(row[:2] == ["stretch", "affine"] for row in rows)  # the file's own plan
    assert not any(line.startswith("value range") for line in thinlens("inspect", "x2.safetensors").out.splitlines())


def test_a_network_with_a_memory_sees_all_rows_above(thinlens, native):
    plan = memory_plan(3, 1)
    card = msgspec.structs.replace(template_matching_model().card, name="memory", task="denoise", scale=1)
    write_model(Path("memory.safetensors"), Model({"main": plan}, tensors_of(plan), card))
    text = thinlens("inspect", "memory.safetensors", "--width", "64").out
    rows = [line.split() for line in text.splitlines()]
    assert ["halo", "rows", "above", "all"] in rows
    assert ["halo", "rows", "below", "2"] in rows
    (record,) = thinlens("inspect", "memory.safetensors", "--width", "64", "--json").records
    assert record["needs"]["halo_rows_above"] is None
    assert 0 < record["needs"]["state_bytes"] < record["needs"]["buffer_bytes"]
