"""Memory against image size: one list of points from every record that measured it."""

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec

from thinlens.bench.records import MemoryRecord, Record
from thinlens.report.records import Count, Records

HEIGHTS = {"1080p": 1080, "4K": 2160, "8K": 4320, "100 MP": 8736, "1 GP": 32_768}  # where a stream's width was measured
PLAIN = "4 convolutions of 16 channels"
NAMES = {"plain_d4_w16": PLAIN}
PANELS = {
    "memory": "Four convolutions, x2",
    "bench": "Four convolutions, x2",
    "line_dl_memory": "Denoising in RGB",
    "huge": "thinlens restore",
    "drn_speed": "DRN x4, which needs the whole image",
}
WAYS = {
    "rows": "thinlens, row by row",
    "whole": "thinlens, whole image",
    "engine": "thinlens, whole image",
    "ort": "ONNX Runtime, whole image",
    "ort_bands": "ONNX Runtime, bands",
    "openvino": "OpenVINO, whole image",
    "restore": "thinlens restore, in bands",
}


class Point(NamedTuple):
    """Peak memory of a fresh process, as one record says.

    Args:
        network: what ran, such as ``LineDN``.
        way: how, a value of ``WAYS``.
        megapixels: of the image that went in.
        peak: bytes over a bare interpreter with NumPy; of ``restore``: of the whole process.
        record: where it stands.
    """

    network: str
    way: str
    megapixels: float
    peak: int
    record: str

    @property
    def panel(self) -> str:
        """What it is shown with."""
        return PANELS[self.record]


class _Peak(msgspec.Struct):
    peak_over_bare: Count


class _Stream(_Peak):
    width: Count
    network: str = PLAIN
    size: str = ""
    height: Count | None = None


class _Memory(msgspec.Struct):
    streams: tuple[_Stream, ...]
    onnxruntime: _Peak


class _LineDL(msgspec.Struct):
    streams: tuple[_Stream, ...]
    whole: tuple[_Stream, ...]


class _Whole(msgspec.Struct):
    network: str
    size: Annotated[str, msgspec.Meta(pattern=r"^[1-9]\d{0,5}x[1-9]\d{0,5}$")]
    memory: dict[str, Count] = {}


class _Restore(msgspec.Struct):
    model: str
    width: Count
    height: Count
    peak_bytes: Count


def read_points(records: Records) -> list[Point]:
    """All points, by record, network, way and size.

    Raises:
        RecordError: if a record is not as its benchmark writes it.
    """
    plain = list(_bench(records)) or list(_plain(records))  # the same network; those of `thinlens bench` say more
    rows = [*plain, *_line_dl(records), *_drn(records), *_restore(records)]
    points = [
        Point(NAMES.get(name, name), WAYS[way], size, peak, by) for name, way, size, peak, by in rows if way in WAYS
    ]
    order = list(PANELS)
    return sorted(points, key=lambda it: (order.index(it.record), it.network, it.way, it.megapixels))


Rows = Iterator[tuple[str, str, float, int, str]]


def _plain(records: Records) -> Rows:
    found: _Memory | None = records.get("memory.json", _Memory)
    for row in found.streams if found else ():
        yield _row(row, "rows", "memory")
    if found:
        yield PLAIN, "ort", 1920 * 1080 / 1e6, found.onnxruntime.peak_over_bare, "memory"


def _bench(records: Records) -> Rows:
    for name in records.names:
        found = records.get(name, Record) if name.startswith("bench/") else None
        if isinstance(found, MemoryRecord):
            size = found.settings.width * found.settings.height / 1e6
            yield from ((result.model, result.way, size, result.peak, "bench") for result in found.results)


def _line_dl(records: Records) -> Rows:
    found: _LineDL | None = records.get("line_dl_memory.json", _LineDL)
    if found:
        yield from (_row(row, "rows", "line_dl_memory") for row in found.streams)
        yield from (_row(row, "ort", "line_dl_memory") for row in found.whole)


def _drn(records: Records) -> Rows:
    for row in records.get("drn_speed.json", tuple[_Whole, ...]) or ():
        width, height = (int(side) for side in row.size.split("x"))
        yield from ((row.network, way, width * height / 1e6, peak, "drn_speed") for way, peak in row.memory.items())


def _restore(records: Records) -> Rows:
    for row in records.get("huge.json", tuple[_Restore, ...]) or ():
        yield row.model, "restore", row.width * row.height / 1e6, row.peak_bytes, "huge"


def _row(row: _Stream, way: str, record: str) -> tuple[str, str, float, int, str]:
    height = row.height or HEIGHTS.get(row.size, row.width)
    return row.network.removesuffix(", line-buffered"), way, row.width * height / 1e6, row.peak_over_bare, record
