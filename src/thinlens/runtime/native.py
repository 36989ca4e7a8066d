"""A model on the native engine: one compiled plan for each kind of image, made when the first of that kind comes."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from thinlens.errors import PlanError, UnsupportedOpError
from thinlens.image.colour import bleed
from thinlens.model.file import Tensors
from thinlens.model.ops import Op, Resize, kind_of
from thinlens.model.plan import Plan
from thinlens.runtime import library
from thinlens.runtime.compile import Compiled, ImageKind, compile_plan
from thinlens.runtime.engine import NativePlan
from thinlens.runtime.fuse import live_nodes
from thinlens.runtime.library import REFERENCE, VARIABLE

AnyImage = npt.NDArray[Any]

_said: set[str] = set()


class NativeModel:
    """The plans of one network, compiled and loaded when they are first asked for; may be used from several threads.

    Args:
        plan: of the network.
        tensors: its tensors.
        scale: its scale.

    Raises:
        UnknownNameError: if `THINLENS_ISA` asks for an instruction set that is not here.
    """

    def __init__(self, plan: Plan, tensors: Tensors, scale: int) -> None:
        self._network = plan, tensors, scale
        self._isa = library.wanted_isa()
        self._plans: dict[ImageKind, tuple[NativePlan, Compiled]] = {}
        self._lock = threading.Lock()
        self.reason: str | None = f"{VARIABLE}={REFERENCE}" if self._isa == REFERENCE else library.why_missing()
        if self.reason is not None and self._isa != REFERENCE:
            say_once(self.reason)

    def find(self, kind: ImageKind) -> NativePlan | None:
        """The plan for a kind of image; None if the engine cannot run it, and `reason` then says why."""
        try:
            return self.load(kind)[0]
        except UnsupportedOpError as error:
            if self.reason is None:
                self.reason = str(error)
                say_once(self.reason)
            return None

    def whole_image_op(self) -> str | None:
        """The first node that needs its whole input before it gives a row, with its op; None: the network streams."""
        return self._first(lambda op: op.whole_image)

    def height_op(self) -> str | None:
        """The first node that must know the height before it gives a row, with its op; None: there is none."""
        return self._first(lambda op: isinstance(op, Resize) and op.factor is None)

    def _first(self, wanted: Callable[[Op], bool]) -> str | None:
        nodes = live_nodes(self._network[0])
        return next((f"node `{node.name}` ({kind_of(node.op)})" for node in nodes if wanted(node.op)), None)

    def load(self, kind: ImageKind) -> tuple[NativePlan, Compiled]:
        """The plan for a kind of image, loaded, and as it was compiled.

        Raises:
            UnsupportedOpError: if there is no engine, or it cannot run the network.
        """
        if self.reason is not None:
            raise UnsupportedOpError(self.reason)
        with self._lock:
            if kind not in self._plans:
                compiled = compile_plan(*self._network[:2], kind, self._network[2])
                try:
                    self._plans[kind] = NativePlan(compiled.data, self._isa), compiled
                except PlanError as error:  # a network beyond the engine's limits
                    raise UnsupportedOpError(f"the native engine does not take this network: {error}") from error
            return self._plans[kind]


def say_once(reason: str) -> None:
    """Say in the log, once a process, why NumPy computes."""
    if reason not in _said:
        _said.add(reason)
        logging.getLogger(__name__).warning("thinlens: the slow NumPy reference runs: %s", reason)


def kind_of_image(image: AnyImage) -> ImageKind:
    """The kind of a checked image."""
    return ImageKind(1 if image.ndim == 2 else image.shape[2], image.dtype.name)


def prepared(image: AnyImage) -> AnyImage:
    """A checked image as the engine reads it: C-contiguous, and with colour under its transparent pixels."""
    if kind_of_image(image).alpha:
        filled = np.array(image, order="C")
        filled[..., :-1] = bleed(image[..., :-1], image[..., -1])
        return filled
    return np.ascontiguousarray(image)
