"""The memory between bands as the engine computes it: values that are read one band later, and a cell between them.

    lstm    h' = delay(h)   recalled = conv2d(h')   s' = delay(s)
            s = cell(three gates, recalled, s')   h = cell(output gate, recalled, s)
    sum     y' = delay(y)   y = x + y'

A delay alone reads a value that is made after it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from thinlens.model.ops import GATES, LineMemory
from thinlens.runtime.binary import ALIGNS, PAD_MODES, Activation, Array, Cell, Item, Kind, Program


def add_memory(program: Program, op: LineMemory, gates: Sequence[int], tensors: Mapping[str, Array], name: str) -> int:
    """Add a memory; return the number of its value.

    Args:
        program: to add it to.
        op: its record.
        gates: the values that it reads, without the image.
        tensors: by their role.
        name: of its node, for messages.
    """
    count, channels, align = len(program.items), op.channels, ALIGNS[op.align]
    like = _common_source(program, gates)
    if op.cell == "sum":
        before = program.add(Kind.LINE_DELAY, [like], [channels, align, count + 2], [], name)
        return program.add(Kind.ADD, [gates[0], before], [1.0, 1.0], [], name)
    hidden = program.add(Kind.LINE_DELAY, [like], [channels, align, count + 5], [], name)
    weight = np.concatenate([tensors[role] for role in GATES])
    sides = op.kernel[0] // 2, op.kernel[1] // 2
    params = [channels, len(weight), *op.kernel, 1, *sides, PAD_MODES["zero"], 1, 0, Activation.NONE, 0.0]
    recalled = program.add(Kind.CONV2D, [hidden], params, [weight], name)
    before = program.add(Kind.LINE_DELAY, [like], [channels, align, count + 4], [], name)
    let_in, forget, let_out, candidate = gates
    state = program.add(Kind.LSTM_CELL, [let_in, forget, candidate, recalled, before], [Cell.STATE], [], name)
    return program.add(Kind.LSTM_CELL, [let_out, recalled, state], [Cell.OUTPUT], [], name)


def _common_source(program: Program, gates: Sequence[int]) -> int:
    """What all gates are convolutions of, without a change of size: rows recalled with its rows wait for no gate.

    The first gate, where there is no such value.
    """
    made = [program.items[gate - 1] for gate in gates]
    sources = {item.inputs for item in made if _keeps_size(item)}
    return made[0].inputs[0] if len(sources) == 1 and all(map(_keeps_size, made)) else gates[0]


def _keeps_size(item: Item) -> bool:
    if item.kind is not Kind.CONV2D:
        return False
    _, _, kh, kw, stride, ph, pw = item.params[:7]
    return stride == 1 and (kh, kw) == (2 * ph + 1, 2 * pw + 1)
