"""The record of the pool holds the published pool, with counts that follow from its structure."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, pool
formulas = {name: pool.formulas(configuration) for name, configuration in pool.pool().items()}
members = [pool.count(name) for name in ("bicubic_x3", "edge_sr_tr_k5_c3_x4", "edge_sr_cnn_c6_d5_s9_x2",
    "espcn_d0_s9_x3", "espcn_d12_s18_x4", "fsrcnn_d19_s6_m4_x2", "dncnn_d10_w16_denoise")]
print(json.dumps([formulas, members]))
"""


def test_counts_are_those_of_the_formulas():
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT / "benchmarks")
    formulas, members = json.loads(done.stdout)
    record = json.loads((ROOT / "docs" / "results" / "pool.json").read_text())
    recorded = {member["name"]: member for member in record["members"]}
    assert len(formulas) == 1185
    for name, (params, macs) in formulas.items():
        member = recorded[name]
        found = member["params"], member["macs_720p"]
        assert found == (params, round(macs * 1280 * 720 / member["scale"] ** 2)), name
    same = ("family", "task", "scale", "params", "macs_720p")
    for member in members:  # counted anew, from the plan
        assert {key: member[key] for key in same} == {key: recorded[member["name"]][key] for key in same}
