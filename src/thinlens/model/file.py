"""The model file: one safetensors file with tensors, plans and card. It executes nothing; its reader trusts nothing.

Metadata keys: ``format`` ("thinlens"), ``version`` (an integer), ``plans`` (JSON: name -> plan, ``main`` first),
``card`` (JSON) and ``sha256`` (of plans and tensors). Tensors are F32, F16, I8 or, as bits,
U8 on disk and float32 in memory.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from thinlens.atomic import write_bytes
from thinlens.errors import ModelError, PlanError
from thinlens.model.bits import are_signs, pack, unpack
from thinlens.model.card import ModelCard
from thinlens.model.graph import fitting_size
from thinlens.model.ops import BinaryConv2d, Conv2d, Quantize
from thinlens.model.plan import Plan

VERSION = 1
MAX_FILE_BYTES = 256 << 20
MAX_HEADER_BYTES = 8 << 20
MAX_VALUE = 65536.0  # of a pixel, in the range that a card may say
DTYPES: dict[str, npt.DTypeLike] = {"F32": "<f4", "F16": "<f2", "I8": "<i1", "U8": "u1"}
KEYS = ("format", "version", "plans", "card", "sha256")

Tensors = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Model:
    """A model in memory.

    Args:
        plans: name -> plan; ``main`` is the network, others (``dual``, ``scale3``) may share its tensors.
        tensors: name -> float32 array; every one is used by a plan.
        card: what the model promises.
    """

    plans: dict[str, Plan]
    tensors: Tensors
    card: ModelCard

    @property
    def plan(self) -> Plan:
        """The main plan."""
        return self.plans["main"]

    def check(self) -> None:
        """Check plans, tensors and card against each other.

        Raises:
            PlanError: if ops do not fit together, tensors do not fit their ops, or sizes break the card's scale.
            ModelError: if a tensor is unused or not finite.
        """
        if "main" not in self.plans:
            raise ModelError(f"plans are {list(self.plans)}; `main` must be among them")
        shapes = {name: array.shape for name, array in self.tensors.items()}
        used: set[str] = set()
        for plan in self.plans.values():
            plan.channels()
            plan.check_tensors(shapes)
            used |= plan.tensor_names()
        if unused := sorted(shapes.keys() - used):
            raise ModelError(f"no plan uses the tensors {unused[:5]}")
        for name, array in self.tensors.items():
            if not np.isfinite(array).all():
                raise ModelError(f"tensor `{name}` holds values that are not finite")
        for name in _sign_shapes(self.plans):
            if not are_signs(self.tensors[name]):
                raise ModelError(f"tensor `{name}` holds weights of a binary convolution; accepted: -1 and +1")
        self._check_card()

    def _check_card(self) -> None:
        low, high = self.card.value_range
        if not (abs(low) <= MAX_VALUE and abs(high) <= MAX_VALUE and high - low >= 1 / MAX_VALUE):
            raise ModelError(f"value range {low}..{high}; accepted: a low and a higher end, at most {MAX_VALUE:g}")
        image, size, scale = self.plan.outputs["image"], fitting_size(self.plan, (24, 32)), self.card.scale
        found = self.plan.sizes(size)[image]
        if found != (size[0] * scale, size[1] * scale):
            raise PlanError(f"the plan turns {size} into {found}; the card says scale {scale}")
        border = 1 if self.card.colour == "luma" else 3
        channels = self.plan.input_channels, self.plan.channels()[image]
        if channels != (border, border):
            raise PlanError(f"the plan maps {channels[0]} channels to {channels[1]}; the card says {self.card.colour}")


def write_model(path: Path, model: Model, *, half: bool = False, overwrite: bool = False) -> None:
    """Write a model file, atomically.

    Args:
        path: where to; the suffix should be ``.safetensors``.
        model: checked before anything is written.
        half: store weights as float16 (they are rounded).
        overwrite: replace an existing file.

    Raises:
        PlanError, ModelError: if the model does not hold together.
        OutputError: if the file exists or the folder cannot be written.
    """
    model.check()
    write_bytes(path, to_bytes(model, half=half), overwrite=overwrite)


def to_bytes(model: Model, *, half: bool = False) -> bytes:
    """A model as the bytes of its file; see `write_model`.

    Weights of binary convolutions take a bit each, those of convolutions behind `quantize` a byte, and any tensor that
    float16 can hold two, if nothing is lost.
    """
    stored = stored_tensors(model, half=half)
    plans = msgspec.json.encode(model.plans)
    metadata = {
        "format": "thinlens",
        "version": str(VERSION),
        "plans": plans.decode(),
        "card": msgspec.json.encode(model.card).decode(),
        "sha256": content_hash(plans, stored),
    }
    return _in_order(safetensors.numpy.save(stored, metadata))


def stored_tensors(model: Model, *, half: bool = False) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a model as its file holds them: U8 (bits), I8, F16 or F32; see `to_bytes`."""
    bytes_ = {name for plan in model.plans.values() for name in _byte_weights(plan)}
    binary = _sign_shapes(model.plans)
    return {
        name: pack(array) if name in binary else np.ascontiguousarray(_as_stored(array, name in bytes_, half))
        for name, array in model.tensors.items()
    }


def _as_stored(array: npt.NDArray[np.float32], byte: bool, half: bool) -> npt.NDArray[Any]:
    """As small as loses nothing; a byte only where that is wanted."""
    for dtype in ("I8", "F16")[0 if byte else 1 :]:
        with np.errstate(invalid="ignore", over="ignore"):
            smaller = array.astype(DTYPES[dtype])
        if np.array_equal(smaller, array):
            return smaller
    return array.astype(DTYPES["F16" if half else "F32"])


def _byte_weights(plan: Plan) -> set[str]:
    """Names of the weights of convolutions behind `quantize`."""
    rounded = {node.name for node in plan.nodes if isinstance(node.op, Quantize)}
    convolutions = (node for node in plan.nodes if isinstance(node.op, Conv2d))
    return {node.tensors["weight"] for node in convolutions if node.inputs[0] in rounded}


def _sign_shapes(plans: Mapping[str, Plan]) -> dict[str, tuple[int, ...]]:
    """Names of the weights of binary convolutions -> their shapes."""
    nodes = [node for plan in plans.values() for node in plan.nodes if isinstance(node.op, BinaryConv2d)]
    return {node.tensors["weight"]: node.op.tensor_shapes()["weight"] for node in nodes if "weight" in node.tensors}


def read_model(path: Path) -> Model:
    """Read a model file, trusting nothing in it.

    Args:
        path: a ``.safetensors`` file.

    Raises:
        ModelError: if the file is missing, too large, damaged, newer than this version, or does not match its plan.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"`{path}`: {path.stat().st_size} bytes; accepted: up to {MAX_FILE_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"`{path}`: cannot be read: {error.strerror}") from error
    try:
        return from_bytes(data)
    except (ModelError, PlanError) as error:
        raise ModelError(f"`{path}`: {error}") from error


def from_bytes(data: bytes) -> Model:
    """The model in the bytes of a model file; see `read_model`."""
    metadata = _metadata(data)
    try:
        stored = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, TypeError) as error:
        raise ModelError(f"not a sound safetensors file: {error}") from error
    if content_hash(metadata["plans"].encode(), stored) != metadata["sha256"]:
        raise ModelError("the file is damaged: plan and tensors do not match their sha256; get it again")
    try:
        plans = msgspec.json.decode(metadata["plans"], type=dict[str, Plan])
        card = msgspec.json.decode(metadata["card"], type=ModelCard)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ModelError(f"plan or card is not valid: {error}") from error
    model = Model(plans, _in_memory(stored, _sign_shapes(plans)), card)
    model.check()
    return model


def _in_memory(stored: Mapping[str, npt.NDArray[Any]], signs: Mapping[str, tuple[int, ...]]) -> Tensors:
    """Stored tensors as float32.

    Raises:
        ModelError: if one is stored as bits that should not be, or the other way round.
    """
    tensors: Tensors = {}
    for name, array in stored.items():
        if (array.dtype == np.uint8) != (name in signs):
            raise ModelError(
                f"tensor `{name}` is stored as {array.dtype}; bits (U8) are for binary weights, and they alone"
            )
        try:
            tensors[name] = unpack(array, signs[name]) if name in signs else array.astype(np.float32)
        except ModelError as error:
            raise ModelError(f"tensor `{name}`: {error}") from error
    return tensors


def _in_order(data: bytes) -> bytes:
    """The same file with its header's keys sorted: the library writes metadata in a random order."""
    (length,) = struct.unpack("<Q", data[:8])
    header = msgspec.json.encode(msgspec.json.decode(data[8 : 8 + length]), order="sorted")
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of 8
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def content_hash(plans: bytes, stored: Mapping[str, npt.NDArray[Any]]) -> str:
    """Sha256 over the plans' JSON and every tensor's name, dtype, shape and bytes, in the order of names."""
    digest = hashlib.sha256(plans)
    for name in sorted(stored):
        array = stored[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _metadata(data: bytes) -> dict[str, str]:
    """Read and check the header before anything is allocated for tensors."""
    if len(data) < 8:
        raise ModelError(f"{len(data)} bytes are too few for a model file")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ModelError(f"header of {length} bytes; accepted: up to {MAX_HEADER_BYTES}, inside the file")
    try:
        header = msgspec.json.decode(data[8 : 8 + length], type=dict[str, dict[str, Any]])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ModelError(f"not a safetensors header: {error}") from error
    metadata = header.pop("__metadata__", {})
    for name, entry in header.items():
        if entry.get("dtype") not in DTYPES:
            raise ModelError(f"tensor `{name}` is {entry.get('dtype')}; accepted: {', '.join(DTYPES)}")
    if metadata.get("format") != "thinlens":
        raise ModelError("a safetensors file, but not a thinlens model; use `thinlens import` for foreign weights")
    if metadata.get("version") != str(VERSION):
        raise ModelError(f"format version {metadata.get('version')}; this thinlens reads {VERSION}; update it")
    if missing := [key for key in KEYS if not isinstance(metadata.get(key), str)]:
        raise ModelError(f"metadata lacks {missing}")
    return metadata
