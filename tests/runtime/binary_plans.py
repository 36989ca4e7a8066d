"""Binary plans, read back."""

import struct
from dataclasses import dataclass

import numpy as np

from thinlens.runtime.binary import Kind


@dataclass
class Read:
    """One node: kind, inputs, parameters as words, tensors as flat arrays."""

    kind: Kind
    inputs: tuple
    params: tuple
    tensors: tuple

    def float_at(self, index):
        """A parameter that is a float."""
        return struct.unpack("<f", struct.pack("<i", self.params[index]))[0]


def read_binary(data):
    """Header fields and nodes of a binary plan, which must hold together."""
    magic, version, header, total, nodes, words, tensors, channels, floats, kind, output, out_kind, zero = (
        struct.unpack("<8sIIQIIIIQIIII", data[:64])
    )
    assert (magic, version, header, total, zero) == (b"THINLENS", 1, 64, len(data), 0)
    tensors_at = 64 + nodes * 32
    words_at = tensors_at + tensors * 16
    floats_at = words_at + -(-words * 4 // 8) * 8
    assert len(data) == floats_at + -(-floats * 4 // 8) * 8
    pool = np.frombuffer(data, "<i4", words, words_at).tolist()
    numbers = np.frombuffer(data, "<f4", floats, floats_at)
    windows = [struct.unpack_from("<QQ", data, tensors_at + 16 * i) for i in range(tensors)]
    arrays = [numbers[first : first + count] for first, count in windows]
    read = []
    for index in range(nodes):
        number, *places, end = struct.unpack_from("<8I", data, 64 + 32 * index)
        assert end == 0
        parts = [tuple(pool[at : at + count]) for count, at in zip(places[::2], places[1::2], strict=True)]
        assert all(value <= index for value in parts[0])
        read.append(Read(Kind(number), parts[0], parts[1], tuple(arrays[i] for i in parts[2])))
    assert output == nodes
    assert not any(output in node.inputs for node in read)
    return {"channels": channels, "type": kind, "out_type": out_kind}, read
