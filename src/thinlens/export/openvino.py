"""OpenVINO IR: what ONNX says, with binary convolutions as the operation that OpenVINO has for them.

No converter of a framework writes `BinaryConvolution`; it takes a bit a weight and counts bits, as the engine does. It
wants the size of the image before it is compiled (`reshape`). Where OpenVINO 2026.4 is wrong floats stay:
input channels that are no multiple of eight, and values that come straight from another binary convolution, whose end
it then takes the signs into.

Signs come from a `FakeQuantize` of two levels: what is above its limits is positive, and they are the two numbers just
below ``-threshold``.

Source: OpenVINO operation sets, BinaryConvolution-1 and FakeQuantize-1.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.atomic import replacing
from thinlens.errors import OutputError
from thinlens.export.onnx import to_onnx, without_clashes
from thinlens.model.file import Model
from thinlens.model.ops import BinaryConv2d
from thinlens.model.plan import Node

TINY = np.finfo(np.float32).tiny


def write_openvino(model: Model, path: Path, *, overwrite: bool = False) -> int:
    """Write a model as OpenVINO IR: an XML file, and a file of weights beside it that is named alike.

    Args:
        model: the model; its output is ``image``, height and width are free.
        path: of the XML file, ``.xml``.
        overwrite: replace existing files.

    Returns:
        Bytes of both.

    Raises:
        UnsupportedOpError: naming an op that the format cannot say.
        OutputError: if the path does not end in ``.xml``, a file exists, or the folder cannot be written; then neither
            file is new.
    """
    if path.suffix != ".xml":
        raise OutputError(
            f"`{path}`: OpenVINO reads a network from a file named `.xml`, its weights beside it; name it so"
        )
    both = {"overwrite": overwrite}
    with replacing(path, **both) as network, replacing(path.with_suffix(".bin"), **both) as beside:
        xml, weights = _serialised(to_network(model), path.stem)
        network.write_bytes(xml)
        beside.write_bytes(weights)
    return len(xml) + len(weights)


def to_network(model: Model) -> Any:
    """A model as `openvino.Model`."""
    import openvino as ov

    network = ov.Core().read_model(to_onnx(model))
    by_name = {name: op for op in network.get_ordered_ops() for out in op.outputs() for name in out.get_names()}
    nodes = without_clashes(model.plan).nodes
    for node in nodes:
        if isinstance(node.op, BinaryConv2d) and node.op.in_channels % 8 == 0 and not _ends_in_signs(node, nodes):
            sums = by_name[f"{node.name}:sums"]
            value = by_name[f"{node.name}:shifted"].input_value(0)
            _replace(sums, _binary_convolution(node, value, model.tensors))
    network.validate_nodes_and_infer_types()
    return network


def _ends_in_signs(node: Node, nodes: Sequence[Node]) -> bool:
    """Whether a binary convolution reads what another gives, with nothing but affine ops and activations between."""
    made_by = {made.name: made for made in nodes}
    source = made_by.get(node.inputs[0])
    while source is not None and len(source.inputs) == 1 and not isinstance(source.op, BinaryConv2d):
        source = made_by.get(source.inputs[0])
    return source is not None and isinstance(source.op, BinaryConv2d)


def _replace(old: Any, new: Any) -> None:
    for reader in old.output(0).get_target_inputs():
        reader.replace_source_output(new.output(0))


def _binary_convolution(node: Node, value: Any, tensors: dict[str, npt.NDArray[np.float32]]) -> Any:
    import openvino as ov
    from openvino import opset13

    op: Any = node.op
    high = _below(-tensors[node.tensors["threshold"]].reshape(1, -1, 1, 1))
    minus, plus = (ov.op.Constant(np.full((1, 1, 1, 1), sign, np.float32)) for sign in (-1, 1))
    signs = opset13.fake_quantize(value, ov.op.Constant(_below(high)), ov.op.Constant(high), minus, plus, 2)
    weight = tensors[node.tensors["weight"]]
    bits = np.packbits(weight.ravel() > 0, bitorder="little")
    kernel = ov.op.Constant(ov.Tensor(bits, ov.Shape(weight.shape), ov.Type.u1), shared_memory=False)
    padding = list(op.padding)
    return opset13.binary_convolution(
        signs, kernel, [1, 1], padding, padding, [1, 1], "xnor-popcount", float(op.pad_value), name=f"{node.name}:sums"
    )


def _below(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The next numbers below, none of them so small that a processor may take it for 0."""
    return np.minimum(
        np.nextafter(values, np.float32(-np.inf)), np.where(np.abs(values) <= TINY, values - TINY, values)
    )


def _serialised(network: Any, name: str) -> tuple[bytes, bytes]:
    """The two files' bytes, by way of a folder of their own."""
    import openvino as ov

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.xml"
        ov.save_model(network, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
