"""What a model is measured against: general runtimes on the same plan, and the bicubic that two libraries offer.

A runtime takes and gives float32 ``1 C H W``, laid out as it likes best before the clock starts; the engine takes and
gives 8-bit pixels and converts them itself. Bicubic is 8 bits in and out on both sides.

A model in low precision meets what a runtime has of the kind: bytes as ONNX writes them (QuantizeLinear and
DequantizeLinear around convolutions, which ONNX Runtime and OpenVINO run on bytes), or the network on floats with
OpenVINO's own bfloat16; ONNX Runtime has none for processors and stays on floats. They round at other places than
the engine, so results are further apart.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from thinlens.bench.ort import open_onnx
from thinlens.errors import UnknownNameError, UnsupportedOpError
from thinlens.model import ops
from thinlens.model.file import Model
from thinlens.model.plan import INPUT, Node, Plan
from thinlens.runtime.reference.rows import run_rows

ByteImage = npt.NDArray[np.uint8]
FloatImage = npt.NDArray[np.float32]
HALF_LEVEL = 0.5 / 255
LOW_LEVELS = 32 * HALF_LEVEL  # one pixel in many: a rounding elsewhere goes on through all layers
ONEDNN_ISA = {"avx2": "AVX2", "scalar": "SSE41"}  # what OpenVINO is held to for the engine's instruction set
OWN_CHOICE = "instruction set of its own choice"


@dataclass(frozen=True)
class Run:
    """A model, or bicubic, and an image, ready to run.

    Args:
        call: runs it; returns whatever it makes.
        to_image: what it made -> ``H W`` or ``H W 3`` float32, not cut to 0..1.
        note: what runs, for the record.
        expected: what it should make; None: what the engine makes.
        tolerance: largest difference from that; values in 0..1.
        border: pixels at each side that are not compared.
    """

    call: Callable[[], Any]
    to_image: Callable[[Any], FloatImage]
    note: str
    expected: FloatImage | None = None
    tolerance: float = HALF_LEVEL
    border: int = 0


@dataclass(frozen=True)
class Peer:
    """A peer that may be asked for.

    Args:
        prepare: model, image ``H W`` or ``H W 3``, threads, the engine's instruction set -> ready to run;
            raises `ImportError` where a package is missing, `UnsupportedOpError` where the peer cannot run the model.
        load: imports what it needs.
        extra: of thinlens, which brings that.
        packages: whose versions are recorded.
    """

    prepare: Callable[[Model, ByteImage, int, str], Run]
    load: Callable[[], object]
    extra: str
    packages: tuple[str, ...]


def find_peer(name: str) -> Peer:
    """The peer of a name; `UnknownNameError` lists all."""
    if name not in PEERS:
        raise UnknownNameError.of("peer", name, PEERS, f"`--against` accepts: {', '.join(PEERS)}")
    return PEERS[name]


def _load_ort() -> None:
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401


def _ort(model: Model, image: ByteImage, threads: int, isa: str) -> Run:
    from thinlens.export.onnx import to_onnx

    precision, plain = _precision(model), _on_floats(model)
    session = open_onnx(to_onnx(plain), threads)
    feed = {INPUT: _planes(image)[None]}
    runs = "float32" if precision == "bfloat16" else precision
    note = f"ONNX Runtime, {runs}, height and width free, {OWN_CHOICE}"
    return Run(lambda: session.run(["image"], feed)[0][0], _to_image, note, tolerance=TOLERANCES[precision])


def _load_openvino() -> None:
    import onnx  # noqa: F401
    import openvino  # noqa: F401


def _openvino(model: Model, image: ByteImage, threads: int, isa: str) -> Run:
    if isa in ONEDNN_ISA:
        os.environ["ONEDNN_MAX_CPU_ISA"] = ONEDNN_ISA[isa]  # read when its first kernel is made
    import openvino

    from thinlens.export.onnx import to_onnx

    planes = _planes(image)[None]
    core = openvino.Core()
    precision = _precision(model)
    network = core.read_model(to_onnx(_on_floats(model)))
    network.reshape(list(planes.shape))
    hint = "bf16" if precision == "bfloat16" else "f32"  # bytes stay bytes beside either
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": hint}
    request = core.compile_model(network, "CPU", settings).create_infer_request()

    def call() -> Any:
        return request.infer([planes], share_inputs=True, share_outputs=True)[0][0]

    held = f"held to {ONEDNN_ISA[isa]}" if isa in ONEDNN_ISA else OWN_CHOICE
    note = f"OpenVINO, {precision}, height and width fixed, {held}"
    return Run(call, _to_image, note, tolerance=TOLERANCES[precision])


def _load_ncnn() -> None:
    import ncnn  # noqa: F401


def _ncnn(model: Model, image: ByteImage, threads: int, isa: str) -> Run:
    import ncnn

    from thinlens.export.ncnn import IN, OUT, to_ncnn

    precision = _precision(model)
    text, weights = to_ncnn(_on_floats(model))
    net, planes = ncnn.Net(), _planes(image)
    lq = ncnn.Mat(planes).clone()  # the first one does not keep the planes alive
    net.opt.num_threads, net.opt.openmp_blocktime = threads, 0
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "vulkan_compute"):
        setattr(net.opt, f"use_{name}", False)
    net.opt.use_bf16_packed = net.opt.use_bf16_storage = precision == "bfloat16"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.bin"
        path.write_bytes(weights)  # from memory it would go on reading them where they were
        if net.load_param_mem(text) or net.load_model(str(path)):
            raise UnsupportedOpError("ncnn does not load what was written for it")

    def call() -> Any:
        extractor = net.create_extractor()
        extractor.input(IN, lq)
        return extractor.extract(OUT)[1]

    def to_image(made: Any) -> FloatImage:
        return _to_image(np.array(made).reshape(-1, made.h, made.w))

    return Run(call, to_image, f"ncnn, {precision}, {OWN_CHOICE}", tolerance=TOLERANCES[precision])


def _load_opencv() -> None:
    import cv2  # noqa: F401


def _opencv(model: Model, image: ByteImage, threads: int, isa: str) -> Run:
    import cv2

    scale = _scale(model)
    size = image.shape[1] * scale, image.shape[0] * scale
    cv2.setNumThreads(threads)
    expected = _bicubic(image, scale, -0.75)
    note = f"OpenCV INTER_CUBIC, 8 bits in and out, {OWN_CHOICE}"
    return Run(
        lambda: cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), _from_bytes, note, expected, 4 * HALF_LEVEL
    )


def _pillow(model: Model, image: ByteImage, threads: int, isa: str) -> Run:
    from PIL import Image

    scale = _scale(model)
    size, picture = (image.shape[1] * scale, image.shape[0] * scale), Image.fromarray(image)
    return Run(
        lambda: picture.resize(size, Image.Resampling.BICUBIC),
        lambda made: _from_bytes(np.asarray(made)),
        f"Pillow BICUBIC, 8 bits in and out, one thread whatever was asked for, {OWN_CHOICE}",
        _bicubic(image, scale, -0.5),
        6 * HALF_LEVEL,  # it rounds to 8 bits between rows and columns
        2 * scale,  # it weighs what it has at the border, where ours repeats it
    )


def _precision(model: Model) -> str:
    """What the model's convolutions run on: ``float32``, ``int8`` or ``bfloat16``."""
    found = {type(node.op) for node in model.plan.nodes}
    return "int8" if ops.Quantize in found else "bfloat16" if ops.Bfloat16 in found else "float32"


def _on_floats(model: Model) -> Model:
    """The model without roundings to bfloat16."""
    plan = model.plan
    names = {node.name: node.inputs[0] for node in plan.nodes if isinstance(node.op, ops.Bfloat16)}
    kept = (node for node in plan.nodes if node.name not in names)
    nodes = tuple(msgspec.structs.replace(n, inputs=tuple(names.get(i, i) for i in n.inputs)) for n in kept)
    return Model({"main": msgspec.structs.replace(plan, nodes=nodes)}, model.tensors, model.card)


def _scale(model: Model) -> int:
    if model.card.scale == 1:
        raise UnsupportedOpError("the model does not enlarge; bicubic is a peer of upscalers only")
    return model.card.scale


def _bicubic(image: ByteImage, scale: int, coefficient: float) -> FloatImage:
    """What a bicubic enlargement must give, by the NumPy reference."""
    op = ops.Resize(mode="bicubic", factor=scale, coefficient=coefficient)
    planes, size = _planes(image), (image.shape[0], image.shape[1])
    plan = Plan(input_channels=len(planes), nodes=(Node(name="up", op=op, inputs=(INPUT,)),), outputs={"image": "up"})
    return _to_image(run_rows(plan, {}, (0, planes), size, (0, size[0] * scale)))


def _planes(image: ByteImage) -> FloatImage:
    """``H W`` or ``H W 3`` of 8 bits -> ``C H W`` in 0..1."""
    pixels = image if image.ndim == 3 else image[:, :, None]
    return np.ascontiguousarray(_from_bytes(pixels.transpose(2, 0, 1)))


def _to_image(planes: FloatImage) -> FloatImage:
    """``C H W`` -> ``H W`` or ``H W 3``."""
    return planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)


def _from_bytes(image: ByteImage) -> FloatImage:
    return np.divide(image, 255, dtype=np.float32)


TOLERANCES = {"float32": HALF_LEVEL, "int8": LOW_LEVELS, "bfloat16": LOW_LEVELS}

PEERS = {
    "ort": Peer(_ort, _load_ort, "onnx", ("onnx", "onnxruntime")),
    "openvino": Peer(_openvino, _load_openvino, "bench", ("onnx", "openvino")),
    "ncnn": Peer(_ncnn, _load_ncnn, "bench", ("ncnn",)),
    "opencv": Peer(_opencv, _load_opencv, "bench", ("opencv-python-headless",)),
    "pillow": Peer(_pillow, lambda: None, "bench", ("pillow",)),
}
