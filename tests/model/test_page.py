"""docs/model_file.md names every op with its fields and tensors, as the records have them."""

import re
from pathlib import Path

import msgspec
import pytest

from thinlens.model.ops import OPS

PAGE = (Path(__file__).parents[2] / "docs" / "model_file.md").read_text()
TABLE = PAGE[PAGE.index("<!-- ops -->") : PAGE.index("<!-- /ops -->")]
ROWS = {cells[1].strip("` "): cells for line in TABLE.splitlines() if len(cells := line.split("|")) == 7}

# What brings out every tensor that a record can have.
FIELDS = {
    "affine": {"channels": 1},
    "binary_conv2d": {"in_channels": 1, "out_channels": 1, "kernel": (1, 1)},
    "conv2d": {"in_channels": 1, "out_channels": 1, "kernel": (1, 1), "bias": True},
    "conv_transpose2d": {"in_channels": 1, "out_channels": 1, "kernel": (1, 1), "bias": True},
    "line_memory": {"channels": 1},
    "prelu": {},
}


def tag(record):
    return record.__struct_config__.tag


def test_it_has_a_row_for_each_op_in_order():
    assert [name for name in ROWS if name not in ("op", "---")] == [tag(record) for record in OPS]


@pytest.mark.parametrize("record", OPS, ids=tag)
def test_its_rows_say_what_the_record_says(record):
    cells = ROWS[tag(record)]
    fields = []
    for field in msgspec.structs.fields(record):
        default = field.default
        value = "" if default is msgspec.NODEFAULT else f" = {msgspec.json.encode(default).decode()}".replace(",", ", ")
        fields.append(f"{field.name}{value}")
    assert re.findall(r"`([^`]*)`", cells[3]) == fields
    tensors = re.findall(r"`([^`]*)`", cells[4])
    assert tensors == (list(record(**FIELDS[tag(record)]).tensor_shapes()) if tag(record) in FIELDS else [])


def test_only_the_listed_records_have_tensors():
    with_tensors = {tag(record) for record in OPS if "tensor_shapes" in vars(record)}
    assert with_tensors == set(FIELDS)
