"""Steps of compression in a row, each measured and written into the card; what is done survives a kill.

Beside the output lies a folder while the chain is at work, ``OUT.work``: what was asked for (``job.json``), the model
behind each finished step, and a folder of each step's own. With ``resume`` a chain goes on there and gives the same
bytes. The folder goes when the chain ends or a step is refused; behind a kill, or a full disk, it stays.

    model -> step 1 -> measure -> 1.safetensors -> step 2 -> measure -> ... -> OUT
"""

import hashlib
import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt

from thinlens.atomic import check_target, write_bytes
from thinlens.bench.pairs import create_pairs
from thinlens.bench.quality import read_hq
from thinlens.compress.compress import PRECISIONS, Change, Progress, Settings, compress, deal, finish_step
from thinlens.errors import CompressionError, OutputError, ThinlensError, UnknownNameError
from thinlens.model.file import Model, read_model, to_bytes
from thinlens.model.ops import BinaryConv2d, Conv2d, ConvTranspose2d
from thinlens.model.plan import Plan
from thinlens.model.value_range import to_unit_range

PRUNING = ("dual-regression", "cp", "thinet", "dcp", "uniform")
TRAINED = (*PRUNING, "bidirectional", "binarize")  # by `thinlens.train.compress.steps`
METHODS = (*TRAINED, *PRECISIONS)
WITH_RATIO = (*PRUNING, "bidirectional")
JOB = "job.json"

Images = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # lq and hq, H W or H W 3, as the network takes and should make them
Step = Callable[[Model, str, Sequence[Images], Path, Progress], Model]


@dataclass(frozen=True)
class Chain:
    """What is to be done.

    Args:
        methods: of `METHODS`, in order.
        paths: clean images: every other one is learned from and calibrated on, the rest is measured on.
        settings: how to calibrate and measure, and what a step may lose.
        step: takes one step of `TRAINED`: model, method, pairs to learn from, a folder of its own, progress -> the
            smaller model (`thinlens.train.compress.steps.take_step`); None: there are no such steps.
        options: what else the steps depend on; ``ratio`` and ``finetune_steps`` go into the card.
    """

    methods: Sequence[str]
    paths: Sequence[Path]
    settings: Settings
    step: Step | None = None
    options: Mapping[str, object] | None = None

    def job(self, model: Model) -> bytes:
        """All that decides the result."""
        images = [(str(path.resolve()), path.stat().st_size) for path in self.paths]
        settings = {key: value for key, value in asdict(self.settings).items() if key != "threads"}
        fields = {
            "methods": list(self.methods),
            "images": images,
            "settings": settings,
            "options": dict(self.options or {}),
        }
        return msgspec.json.encode({"model": hashlib.sha256(to_bytes(model)).hexdigest(), **fields}, order="sorted")


def check_methods(methods: Sequence[str]) -> None:
    """Refuse methods that there are not, or in an order that cannot work.

    Raises:
        UnknownNameError: listing near matches.
        CompressionError: if something would be trained after weights were rounded.
    """
    for name in methods:
        if name not in METHODS:
            raise UnknownNameError.of("method", name, METHODS, f"accepted: {', '.join(METHODS)}")
    for first, second in itertools.pairwise(methods):
        if first in PRECISIONS:
            raise CompressionError(f"`{second}` after `{first}`: rounded weights cannot be changed; put `{first}` last")


def run_chain(
    model: Model, chain: Chain, output: Path, *, overwrite: bool = False, resume: bool = False, report: Progress
) -> bytes:
    """Compress a model step by step and write what comes out.

    Args:
        model: checked.
        chain: the steps.
        output: the model file to write.
        overwrite: replace it, or the work of another chain that was killed.
        resume: go on with the work that a killed chain left.
        report: called with what is being done, how much of it is done, and how much there is.

    Returns:
        The bytes of the file.

    Raises:
        OutputError: if the output exists, or unfinished work lies beside it that is not to be resumed, or another's.
        CompressionError: if a method does not fit, or loses more than is accepted; nothing is left then.
        UnknownNameError: if there is no such method.
        ImageError, ShapeError: if an image cannot be used.
    """
    check_methods(chain.methods)
    work = _Work(output.with_name(f"{output.name}.work"))
    worth = any(method in TRAINED for method in chain.methods)  # keeping: the others take seconds
    resumed = worth and work.begin(chain.job(model), overwrite=overwrite, resume=resume)
    try:
        check_target(output, overwrite=overwrite or resumed)
        for index, method in enumerate(chain.methods, 1):
            found = work.finished(index) if worth else None
            model = found or _take(model, method, chain, work.folder(index), report)
            if worth and not found:
                model = work.finish(index, model)
        written = to_bytes(model)
        if not (resumed and output.is_file() and output.read_bytes() == written):
            write_bytes(output, written, overwrite=overwrite)
    except ThinlensError as error:
        if isinstance(error, CompressionError) or not work.finished(1):
            work.remove()
        raise
    work.remove()
    return written


def _take(model: Model, method: str, chain: Chain, folder: Path, report: Progress) -> Model:
    """One step, measured."""
    if method in PRECISIONS:
        return compress(model, method, chain.paths, chain.settings, report)
    if chain.step is None:
        raise CompressionError(f"`{method}`: no step is given that trains; give one")
    options = chain.options or {}
    way = create_pairs(colour=model.card.colour == "rgb", **chain.settings.degradation)
    images = [way.make(read_hq(path))[::-1] for path in chain.paths[::2]]
    folder.mkdir(exist_ok=True)
    result = chain.step(model, method, images, folder, report)
    steps, ratio = options.get("finetune_steps", 0), options.get("ratio")
    change = Change(
        method,
        changed_convolutions(model.plan, result.plan),
        ratio=ratio if method in WITH_RATIO and isinstance(ratio, float) else None,
        steps=steps if isinstance(steps, int) else 0,
    )
    return finish_step(to_unit_range(model), result, change, deal(chain.paths)[1], chain.settings, report)


def changed_convolutions(before: Plan, after: Plan) -> int:
    """How many convolutions of a plan are gone in another, or are not what they were."""
    kinds = Conv2d | ConvTranspose2d | BinaryConv2d
    left = {node.name: node.op for node in after.nodes}
    return sum(isinstance(node.op, kinds) and left.get(node.name) != node.op for node in before.nodes)


class _Work:
    """The folder of a chain at work."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, job: bytes, *, overwrite: bool, resume: bool) -> bool:
        """Make the folder, or take up what it holds: whether it does."""
        held = self.path / JOB
        if held.is_file() and resume:
            if held.read_bytes() == job:
                return True
            raise OutputError(
                f"`{self.path}` holds work on another model, or with other methods, images or options; resume with "
                "those, or begin anew with `--overwrite`"
            )
        if held.is_file() and not overwrite:
            raise OutputError(
                f"`{self.path}` holds unfinished work; `--resume` goes on with it, `--overwrite` begins anew"
            )
        self.remove()
        try:
            self.path.mkdir(parents=False)
        except OSError as error:
            raise OutputError(f"`{self.path}`: cannot be made: {error.strerror}") from error
        try:
            write_bytes(held, job)
        except OutputError:
            self.remove()  # nothing is in it that a later call could go on with
            raise
        return False

    def folder(self, index: int) -> Path:
        """The folder of a step, counted from 1."""
        return self.path / f"step_{index}"

    def finished(self, index: int) -> Model | None:
        """The model behind a step; None: it is not finished."""
        path = self._model(index)
        return read_model(path) if path.is_file() else None

    def finish(self, index: int, model: Model) -> Model:
        """Keep the model behind a step; given back as a file holds it."""
        model.check()
        write_bytes(self._model(index), to_bytes(model), overwrite=True)
        return read_model(self._model(index))

    def remove(self) -> None:
        """Remove the folder with all that it holds."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _model(self, index: int) -> Path:
        return self.path / f"{index}.safetensors"
