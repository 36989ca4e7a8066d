"""Ways to break bytes, all drawn from a seeded generator."""

import struct
import zlib

EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
HEAD = 128


def mutated(data: bytes, rng, other: bytes = b"") -> bytes:
    """Break bytes in one way, or in up to three; ``other`` is what may be spliced in."""
    for _ in range(int(rng.choice((1, 1, 1, 2, 3)))):
        data = MUTATIONS[int(rng.integers(len(MUTATIONS)))](data, rng, other) or b"\0"
    return mended(data) if rng.random() < 0.7 else data


def place(data, rng):
    """An offset, half of the time among the first bytes, where headers are."""
    return int(rng.integers(min(len(data), HEAD) if rng.random() < 0.5 else len(data)))


def run(data, rng):
    """A random stretch, short more often than long."""
    start = place(data, rng)
    return start, min(len(data), start + int(2 ** (rng.random() * 10)))


def flip_bits(data, rng, _):
    broken = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        broken[place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(broken)


def overwrite(data, rng, _):
    start, stop = run(data, rng)
    return data[:start] + rng.bytes(stop - start) + data[stop:]


def extreme_number(data, rng, _):
    kind = "BHI"[int(rng.integers(3))]
    value = EXTREMES[int(rng.integers(len(EXTREMES)))] & ((1 << 8 * struct.calcsize(kind)) - 1)
    packed = struct.pack("<>"[int(rng.integers(2))] + kind, value)
    start = place(data, rng)
    return data[:start] + packed + data[start + len(packed) :]


def truncate(data, rng, _):
    return data[: place(data, rng)]


def cut(data, rng, _):
    start, stop = run(data, rng)
    return data[:start] + data[stop:]


def repeat(data, rng, _):
    start, stop = run(data, rng)
    return data[:stop] + data[start:stop] * int(rng.integers(1, 20)) + data[stop:]


def insert(data, rng, _):
    start = place(data, rng)
    return data[:start] + rng.bytes(int(rng.integers(1, 64))) + data[start:]


def splice(data, rng, other):
    return data[: place(data, rng)] + other[place(other, rng) :] if other else data


MUTATIONS = (flip_bits, overwrite, extreme_number, extreme_number, truncate, cut, repeat, insert, splice)


def mended(data: bytes) -> bytes:
    """Make the checksums of a PNG fit again, so that what lies behind them is reached."""
    if not data.startswith(PNG_MAGIC):
        return data
    parts, at = [PNG_MAGIC], len(PNG_MAGIC)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        if len(body) < 4 + length:
            break
        parts.append(data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts) + data[at:]
