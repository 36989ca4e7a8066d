"""What a fresh process does whose memory is measured: `python -m thinlens.bench.fresh bare`, and so on.

Beside the interpreter and NumPy it loads only what the work needs. It prints one JSON object: ``peak``, the most memory
that it has held resident, in bytes, and what the work tells.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

BAND_ROWS = 16  # rows that ONNX Runtime makes at a time


def make_rows(first: int, stop: int, width: int, channels: int) -> npt.NDArray[np.uint8]:
    """Rows of a synthetic picture, made as they are needed: ``n W`` or ``n W C``."""
    columns = np.arange(width, dtype=np.uint32)
    plane = np.empty((stop - first, width), np.uint8)
    for y in range(first, stop):  # row by row, so that nothing wider than the picture itself is held
        plane[y - first] = (columns * 7 + columns * y // 64 + 13 * y) & 255
    return plane if channels == 1 else np.repeat(plane[:, :, None], channels, axis=2)


def stream(path: str, width: int, height: int) -> dict[str, int]:
    """Push a picture's rows one by one, its height unknown unless the network must know it; 0 rows: only get ready."""
    from thinlens.model.file import read_model
    from thinlens.model.graph import depends_on_height
    from thinlens.runtime.session import Session

    session = Session(read_model(Path(path)), threads=1)
    channels = session.plan.input_channels
    rows = session.rows(width, height if depends_on_height(session.plan) else None, channels=channels)
    made = sum(len(rows.push(make_rows(y, y + 1, width, channels))) for y in range(height))
    return {"buffer_bytes": rows.buffer_bytes, "rows": made + (len(rows.flush()) if height else 0)}


def whole(path: str, width: int, height: int) -> dict[str, int]:
    """Restore a whole picture; 0 rows: only get ready."""
    from thinlens.model.file import read_model
    from thinlens.runtime.session import Session

    session = Session(read_model(Path(path)), threads=1)
    channels = session.plan.input_channels
    if not height:
        session.working_bytes(1, width, channels=channels)  # loads the network
        return {}
    return {"rows": len(session.run(make_rows(0, height, width, channels)))}


def ort(path: str, width: int, height: int, channels: int) -> dict[str, int]:
    """Run a whole picture in ONNX Runtime."""
    return {"rows": _run_ort(path)(make_rows(0, height, width, channels)).shape[2]}


def ort_bands(path: str, width: int, height: int, channels: int, above: int, below: int) -> dict[str, int]:
    """Run a picture in ONNX Runtime in bands of 16 rows, with the rows above and below that their results depend on."""
    run, made = _run_ort(path), 0
    for y in range(0, height, BAND_ROWS):
        first, stop = max(0, y - above), min(height, y + BAND_ROWS + below)
        restored = run(make_rows(first, stop, width, channels))
        scale = restored.shape[2] // (stop - first)
        made += len(restored[0, 0, (y - first) * scale : (min(y + BAND_ROWS, height) - first) * scale])
    return {"rows": made}


def openvino(path: str, width: int, height: int, channels: int) -> dict[str, int]:
    """Run a whole picture in OpenVINO, which is told its size."""
    from openvino import Core

    core = Core()
    network = core.read_model(path)
    network.reshape([1, channels, height, width])
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    planes = _to_planes(make_rows(0, height, width, channels))
    return {"rows": request.infer([planes], share_inputs=True, share_outputs=True)[0].shape[2]}


def _run_ort(path: str) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]:
    """A network in ONNX Runtime, one thread: picture -> ``1 C H W`` float32."""
    from thinlens.bench.ort import open_onnx

    session = open_onnx(path, 1)

    def run(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return session.run(["image"], {"input": _to_planes(picture)})[0]  # type: ignore[no-any-return]

    return run


def _to_planes(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """``H W`` or ``H W C`` of 8 bits -> ``1 C H W`` in 0..1."""
    pixels = picture if picture.ndim == 3 else picture[:, :, None]
    planes: npt.NDArray[np.float32] = np.divide(pixels.transpose(2, 0, 1)[None], 255, dtype=np.float32)
    return planes


def peak_bytes() -> int:
    """The most memory that this process has held resident; Linux only."""
    (kib,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kib) * 1024


WORK: dict[str, Callable[..., dict[str, int]]] = {
    "bare": dict,
    "rows": stream,
    "whole": whole,
    "ort": ort,
    "ort_bands": ort_bands,
    "openvino": openvino,
}


def main(what: str, arguments: list[str]) -> None:
    """Do one thing; its arguments are a file and numbers."""
    found = WORK[what](*arguments[:1], *map(int, arguments[1:]))
    sys.stdout.write(json.dumps({**found, "peak": peak_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
