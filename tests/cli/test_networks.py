from thinlens.train import networks

NAMES = ("name", "scale", "params", "macs_720p", "activations", "convolutions", "binary_operations")


def test_json_lists_every_configuration_once_with_its_costs(thinlens):
    (records,) = thinlens("networks", "--json").records
    assert [record["name"] for record in records] == list(networks.configurations())
    assert all(tuple(record) == NAMES for record in records)
    # 7x7 taps, 2 groups of 4 candidates for 2x2 phases: 49 * 32 numbers, each once for every input pixel of 640x360.
    found = next(record for record in records if record["name"] == "edge_sr_tm_k7_c4_x2")
    assert found["params"] == 49 * 32
    assert found["macs_720p"] == 49 * 32 * 640 * 360
    assert found["activations"] == 32 * 640 * 360
    assert (found["convolutions"], found["binary_operations"]) == (1, 0)


def test_table(thinlens, monkeypatch):
    name = "edge_sr_tm_k7_c4_x2"
    only = {name: networks.find_configuration(name)}
    monkeypatch.setattr(networks, "configurations", lambda: only)
    head, row = (line.split() for line in thinlens("networks").out.splitlines())
    assert head[:4] == ["name", "scale", "parameters", "MACs"]
    assert row == [name, "x2", "1568", "361", "M", "7.37", "M", "1", "0"]
