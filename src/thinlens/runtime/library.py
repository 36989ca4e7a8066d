"""The native engine's shared library: where it lies, what its functions take, and which instruction set runs.

It is loaded on first use. Where it is missing, the package was installed without a compiler, and `why_missing` says so.
"""

import ctypes
import functools
import os
import sys
from pathlib import Path

import thinlens
from thinlens.errors import (
    ModelError,
    PlanError,
    ShapeError,
    ThinlensError,
    UnknownNameError,
    UnsupportedOpError,
)

INTERFACE = 2
FOLDER = "_engine"  # below the package
NAME = "thinlens_engine" + {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
VARIABLE = "THINLENS_ISA"
REFERENCE = "reference"  # a value of THINLENS_ISA: NumPy computes, although the library is there

OK, BAD_ARGUMENT, BAD_PLAN, BAD_SIZE, NEEDS_HEIGHT, NO_MEMORY, NOT_A_NUMBER, BAD_STATE, CANCELLED, BAD_ISA = range(10)
ERRORS: dict[int, type[ThinlensError]] = {
    BAD_PLAN: PlanError,
    BAD_SIZE: ShapeError,
    NEEDS_HEIGHT: ShapeError,
    NOT_A_NUMBER: ModelError,
    BAD_STATE: ShapeError,
    BAD_ISA: UnknownNameError,
}


class Request(ctypes.Structure):
    """``tl_request``: size of the image (height 0: not known), and rows of the result that are wanted (stop 0: all)."""

    _fields_ = (
        ("width", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("first_row", ctypes.c_int64),
        ("stop_row", ctypes.c_int64),
    )


class Schedule(ctypes.Structure):
    """``tl_schedule``: what is known before any pixel moves. See engine/include/thinlens.h."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            "out_width",
            "out_height",
            "out_channels",
            "in_first",
            "in_stop",
            "halo_above",
            "halo_below",
            "latency_rows",
            "buffer_bytes",
            "whole_image_node",
        )
    )
    out_width: int
    out_height: int  # 0: not known
    out_channels: int
    in_first: int
    in_stop: int  # 0: not known
    halo_above: int  # -1: the whole image, or all rows above
    halo_below: int
    latency_rows: int
    buffer_bytes: int
    whole_image_node: int  # -1: none, the plan streams


Progress = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)

_HANDLE, _BYTES, _SIZE, _LONG, _INT = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_int
_TEXT, _OUT = ctypes.c_char_p, ctypes.POINTER(ctypes.c_int64)
_REQUEST = ctypes.POINTER(Request)
_NEW = ctypes.POINTER(ctypes.c_void_p)

SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "tl_interface": (ctypes.c_uint32, ()),
    "tl_message": (_TEXT, ()),
    "tl_isa_names": (_TEXT, ()),
    "tl_plan_load": (_INT, (_BYTES, _SIZE, _TEXT, _NEW)),
    "tl_plan_free": (None, (_HANDLE,)),
    "tl_plan_isa": (_TEXT, (_HANDLE,)),
    "tl_plan_bytes": (_LONG, (_HANDLE,)),
    "tl_plan_schedule": (_INT, (_HANDLE, _REQUEST, _INT, ctypes.POINTER(Schedule))),
    "tl_plan_out_size": (_INT, (_HANDLE, _LONG, _LONG, _OUT, _OUT)),
    "tl_session_open": (_INT, (_HANDLE, _REQUEST, _INT, _NEW)),
    "tl_session_close": (None, (_HANDLE,)),
    "tl_session_ready": (_INT, (_HANDLE, _LONG, _INT, _OUT)),
    "tl_session_push": (_INT, (_HANDLE, _BYTES, _LONG, _LONG, _BYTES, _LONG, _LONG, _OUT)),
    "tl_session_flush": (_INT, (_HANDLE, _BYTES, _LONG, _LONG, _OUT)),
    "tl_session_state_bytes": (_LONG, (_HANDLE,)),
    "tl_session_save": (_INT, (_HANDLE, _BYTES, _SIZE)),
    "tl_session_load": (_INT, (_HANDLE, _BYTES, _SIZE)),
    "tl_run": (_INT, (_HANDLE, _REQUEST, _BYTES, _LONG, _BYTES, _LONG, _INT, Progress, _BYTES)),
    "tl_run_bytes": (_INT, (_HANDLE, _REQUEST, _INT, _OUT)),
    "tl_allocated": (_LONG, ()),
    "tl_allocated_peak": (_LONG, ()),
    "tl_allocated_reset": (None, ()),
}


def find_library() -> Path | None:
    """The library's file, if it was installed; an editable install keeps it apart from the sources."""
    paths = (Path(folder) / FOLDER / NAME for folder in thinlens.__path__)
    return next((path for path in paths if path.is_file()), None)


@functools.cache
def _open() -> tuple[ctypes.CDLL | None, str]:
    """The library, or why there is none."""
    path = find_library()
    if path is None:
        return None, "no native library: thinlens was installed without a C++ compiler; install it again with one"
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        return None, f"the native library cannot be loaded: {error}; install thinlens again"
    if (found := library.tl_interface()) != INTERFACE:
        return None, f"the native library has interface {found}, this thinlens needs {INTERFACE}; install it again"
    return library, ""


def why_missing() -> str | None:
    """Why there is no native engine; None if there is one."""
    library, reason = _open()
    return reason if library is None else None


def engine() -> ctypes.CDLL:
    """The loaded library.

    Raises:
        UnsupportedOpError: saying why, if there is none.
    """
    library, reason = _open()
    if library is None:
        raise UnsupportedOpError(reason)
    return library


def isa_names() -> tuple[str, ...]:
    """Instruction sets that the library was built for and this processor has, best first; none without the library."""
    library, _ = _open()
    return () if library is None else tuple(library.tl_isa_names().decode().split())


def wanted_isa() -> str | None:
    """What `THINLENS_ISA` asks for: an instruction set, `REFERENCE`, or None, which leaves the choice to the engine.

    Raises:
        UnknownNameError: listing what there is, if it is neither.
    """
    name = os.environ.get(VARIABLE, "").strip().lower()
    known = (*isa_names(), REFERENCE)
    if name and name not in known:
        missing = why_missing()
        advice = f"{VARIABLE} accepts here: {', '.join(known)}" + (f" ({missing})" if missing else "")
        raise UnknownNameError.of("instruction set", name, known, advice)
    return name or None


def last_message() -> str:
    """What the engine said of the last error in this thread."""
    return str(engine().tl_message().decode(errors="replace"))


def check(status: int, message: str | None = None) -> None:
    """Turn a status that is not ``TL_OK`` into an error.

    Args:
        status: what a function of the engine returned.
        message: what the engine said, if another thread was told; None: asks it.

    Raises:
        PlanError, ShapeError, ModelError, UnknownNameError, MemoryError: by the status.
    """
    if status == OK:
        return
    message = last_message() if message is None else message
    if status == NOT_A_NUMBER:
        message = "the network's result is not a number: its weights overflow; train it again"
    if status == NO_MEMORY:
        raise MemoryError(message)
    raise ERRORS.get(status, ThinlensError)(message)
