import pytest

NAMES = ("name", "scale", "params", "macs_720p", "activations", "convolutions", "binary_operations")


@pytest.fixture
def records(thinlens):
    return {record["name"]: record for record in thinlens("networks", "--json").records[0]}


def test_json_lists_every_configuration_once(records, thinlens):
    from thinlens.train.networks import configurations

    assert list(records) == list(configurations())
    assert all(tuple(record) == NAMES for record in records.values())


def test_costs_of_a_one_layer_network(records):
    # 7x7 taps, 2 groups of 4 candidates for 2x2 phases: 49 * 32 numbers, each once for every input pixel of 640x360.
    found = records["edge_sr_tm_k7_c4_x2"]
    assert found["params"] == 49 * 32
    assert found["macs_720p"] == 49 * 32 * 640 * 360
    assert found["activations"] == 32 * 640 * 360
    assert (found["convolutions"], found["binary_operations"]) == (1, 0)


def test_table(thinlens):
    done = thinlens("networks")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["edge_sr_tm_k7_c4_x2", "x2", "1568", "361", "M", "7.37", "M", "1", "0"] in rows
