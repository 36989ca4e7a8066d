"""Write what the NumPy reference makes of small images by every op, for `engine/tests/replay.cpp` to replay anywhere.

    python -m tests.engine.vectors vectors.bin             all vectors in one file
    python -m tests.engine.vectors --corpus engine/fuzz    plans and saved states, a file each: fuzzing starts from them

Little-endian: ``TLVECTR1``, u32 count, then for each vector: name (u32 length, bytes); i64 width, height, bytes of an
input row, output width, height, channels; u32 type of the output (0 u8, 1 u16, 2 f32); f64 tolerance; u64 digest of the
bytes that the engine gives here, FNV-1a (other processors must give the same); plan, input, expected output, each as
u64 length and bytes.
"""

import argparse
import struct
from pathlib import Path

import numpy as np

from tests.engine.cases import CASES, SIZES, image_for, tensors_for
from tests.engine.images import IMAGE_CASES, TOLERANCES
from tests.engine.machine import binary_plan, reference, whole
from thinlens.runtime.binary import TYPES
from thinlens.runtime.engine import NativePlan

MAGIC = b"TLVECTR1"
FIXED = struct.Struct("<6qIdQ")
SOME_SIZES = (SIZES[0], SIZES[1], SIZES[2], SIZES[4], SIZES[6], SIZES[9])
CORPUS_BYTES = 1200  # plans that are larger teach a fuzzer nothing more
# Before a plan (engine/fuzz/state_fuzzer.cpp): width and height less one, rows pushed, number of changes; place, mask,
# part.
CHANGES = (
    b"\x08\x06\x03\x00",
    b"\x40\x0b\x05\x02\x00\x30\x01\x01\x00\x07\xff\x00",
    b"\x02\x09\x09\x01\x00\x20\x00\xff",
)


def digest(data):
    """FNV-1a of 64 bits, of whole words and the bytes that are left."""
    value = 1469598103934665603
    words, rest = np.frombuffer(data[: len(data) // 8 * 8], "<u8").tolist(), data[len(data) // 8 * 8 :]
    for part in (*words, *rest):
        value = (value ^ part) * 1099511628211 % 2**64
    return value


def blob(data):
    return struct.pack("<Q", len(data)) + data


def vector(name, data, image, expected):
    """One vector's bytes; ``image`` ``H W`` or ``H W C``."""
    result = expected if expected.ndim == 3 else expected[:, :, None]
    made = whole(NativePlan(data), image)
    text = name.encode()
    head = (image.shape[1], image.shape[0], image.strides[0], result.shape[1], result.shape[0], result.shape[2])
    kind = result.dtype.name
    fixed = FIXED.pack(*head, TYPES[kind], TOLERANCES[kind], digest(made.tobytes()))
    return struct.pack("<I", len(text)) + text + fixed + b"".join(map(blob, (data, image.tobytes(), result.tobytes())))


def iter_vectors():
    """Yield the bytes of all vectors: floats between planes op by op, then images."""
    for name, plan in CASES.items():
        tensors = tensors_for(name, plan)
        data = binary_plan(plan, tensors)
        for size in SOME_SIZES:
            image = image_for(plan.input_channels, size)
            expected = reference(plan, tensors, image)
            if expected is not None:
                yield vector(f"{name} {size[0]}x{size[1]}", data, image, np.ascontiguousarray(expected))
    for name, case in IMAGE_CASES.items():
        for size in SOME_SIZES:
            image = case.image(size)
            yield vector(f"{name} {size[0]}x{size[1]}", case.compiled(), image, case.reference(image))


def iter_plans():
    """Yield name and bytes of the plans that are small enough to fuzz with."""
    for name, plan in CASES.items():
        yield name, binary_plan(plan, tensors_for(name, plan))
    for name, case in IMAGE_CASES.items():
        yield name, case.compiled()


def write_corpus(folder):
    """Write a folder of seeds for each fuzz target."""
    plans, states = folder / "corpus", folder / "states"
    small = [(name, data) for name, data in iter_plans() if len(data) <= CORPUS_BYTES]
    for target in (plans, states):
        target.mkdir(parents=True, exist_ok=True)
    for index, (name, data) in enumerate(small):
        (plans / f"{name}.plan").write_bytes(data)
        if index % 4 == 0 or "bands" in name:
            (states / f"{name}.state").write_bytes(CHANGES[index % len(CHANGES)] + data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", help="all vectors")
    parser.add_argument("--corpus", type=Path, help="folder for the seeds of fuzzing")
    arguments = parser.parse_args()
    if arguments.file:
        vectors = list(iter_vectors())
        arguments.file.parent.mkdir(parents=True, exist_ok=True)
        arguments.file.write_bytes(MAGIC + struct.pack("<I", len(vectors)) + b"".join(vectors))
    if arguments.corpus:
        write_corpus(arguments.corpus)


if __name__ == "__main__":
    main()
