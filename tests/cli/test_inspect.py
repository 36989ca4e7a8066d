def test_shows_plan_and_card(thinlens):
    done = thinlens("inspect", "x2.safetensors")
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["filter", "conv2d", "input", "16", "filter.weight", "16x1x5x5"] in rows
    assert ["sum", "softmax_sum", "values,", "keys", "1"] in rows
    assert ["parameters", "400"] in rows
    assert not any("halo" in row for row in rows)


def test_width_adds_what_an_image_needs(thinlens):
    rows = [line.split() for line in thinlens("inspect", "x2.safetensors", "--width", "64").out.splitlines()]
    assert ["halo", "rows", "above", "2"] in rows
    assert ["latency", "rows", "2"] in rows
    assert ["height", "64"] in rows


def test_json(thinlens, bench):
    done = thinlens("inspect", "x2.safetensors", "--width", "640", "--height", "480", "--json")
    (record,) = done.records
    assert record["bytes"] == (bench / "x2.safetensors").stat().st_size
    assert record["card"]["name"] == "edge_sr_tm_k5_c2_x2"
    assert [node["op"]["kind"] for node in record["plan"]["nodes"]][:2] == ["conv2d", "pixel_shuffle"]
    assert record["channels"] == {"input": 1, "filter": 16, "shuffle": 4, "values": 2, "keys": 2, "sum": 1}
    needs = record["needs"]
    assert (needs["halo_rows_above"], needs["halo_rows_below"], needs["latency_rows"]) == (2, 2, 2)
    assert needs["working_bytes"] > 640 * 480 * 3 * 5


def test_json_without_a_width_says_nothing_of_needs(thinlens):
    assert "needs" not in thinlens("inspect", "x2.safetensors", "--json").records[0]


def test_a_height_alone_is_refused(thinlens):
    done = thinlens("inspect", "x2.safetensors", "--height", "9")
    assert done.code == 2
    assert "`--height` goes with `--width`" in done.line
