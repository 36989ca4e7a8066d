"""Mutated weight files of other people: imported. Needs torch."""

import io
from functools import cache

import numpy as np
import torch

from tests.fuzz import mutate
from thinlens.model.file import to_bytes
from thinlens.runtime.session import Session
from thinlens.train.importer import import_weights, official_name, official_shapes
from thinlens.train.networks import configurations

NAMES = (
    "edge_sr_max_k3_c1_x2",
    "edge_sr_tm_k5_c4_x2",
    "edge_sr_cnn_c4_d3_s6_x2",
    "espcn_d0_s3_x2",
    "fsrcnn_d32_s6_m4_x2",
)
PICTURE = np.random.default_rng(0).integers(0, 256, (5, 6), np.uint8)
ODD = (1, None, "x", [], {"w": 1}, 1.5)


def state_of(name: str, rng) -> dict[str, torch.Tensor]:
    """Random weights with the tensors of a configuration."""
    shapes = official_shapes(configurations()[name])
    return {key: torch.from_numpy(rng.normal(0, 0.1, shape).astype(np.float32)) for key, shape in shapes.items()}


@cache
def seeds() -> list[tuple[str, bytes]]:
    """File names and sound files, in torch's two formats."""
    rng, files = np.random.default_rng(0), []
    for name in NAMES:
        for zipped in (True, False):
            files.append((official_name(configurations()[name]), saved(state_of(name, rng), zipped=zipped)))
    return files


def saved(value, *, zipped=True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def make(rng) -> bytes:
    """A broken file; its first line is the name it goes by."""
    files = seeds()
    (name, data), (_, other) = (files[int(rng.integers(len(files)))] for _ in range(2))
    broken = mutate.mutated(data, rng, other) if rng.random() < 0.5 else saved(_broken_state(rng))
    return name.encode() + b"\n" + broken


def _broken_state(rng):
    state = state_of(NAMES[int(rng.integers(len(NAMES)))], rng)
    key = sorted(state)[int(rng.integers(len(state)))]
    tensor = state[key]
    changes = (
        lambda: tensor * float("nan"),
        lambda: tensor * 1e38,
        lambda: tensor.double(),
        lambda: tensor.half(),
        lambda: tensor.to(torch.bfloat16),
        lambda: tensor.int(),
        lambda: tensor.to_sparse(),
        lambda: tensor.reshape(-1),
        lambda: tensor[..., :1],
        lambda: torch.zeros(1).expand(1 << 40),
        lambda: tensor.to(torch.complex64),
        lambda: tensor.to("meta"),
        lambda: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([tensor.flatten()]),
        lambda: ODD[int(rng.integers(len(ODD)))],
    )
    state[key] = changes[int(rng.integers(len(changes)))]()
    if rng.random() < 0.2:
        state[int(rng.integers(5))] = tensor
    return state if rng.random() < 0.9 else list(state.values())


def put_through(data: bytes, folder, rng) -> None:
    """Import a file as `thinlens import` does; raises ThinlensError, or AssertionError if a result is wrong."""
    name, _, body = data.partition(b"\n")
    path = folder / f"{name.decode()}.model"
    path.write_bytes(body)
    try:
        model = import_weights(path).model
    finally:
        path.unlink()
    model.check()
    assert len(to_bytes(model)) > 0
    restored = Session(model, threads=1).run(PICTURE)
    assert restored.shape == tuple(side * model.card.scale for side in PICTURE.shape)
