"""What every verb shares: `--debug`, and the one place where an error becomes a line on stderr and an exit code."""

import contextlib
import contextvars
import functools
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from thinlens.cli.output import clean
from thinlens.errors import MissingExtraError, RecipeError, ThinlensError, UnknownNameError

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class UsageError(ThinlensError):
    """Arguments that contradict each other, or would do harm."""


USAGE_ERRORS = (UsageError, UnknownNameError, RecipeError, MissingExtraError)
PASSED_ON = (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError)
_debug = contextvars.ContextVar("debug", default=False)


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def verb(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a verb the option `--debug`, and let whatever it raises end as one line on stderr and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, debug: bool = False, **kwargs: Any) -> int | None:
        _debug.set(debug)
        try:
            return function(*args, **kwargs)
        except PASSED_ON:
            raise
        except Exception as error:  # noqa: BLE001  # the outermost frame: nobody else could report it
            print_error(line_of(error))
            print_trace(error)
            return USAGE if isinstance(error, USAGE_ERRORS) else FAILED

    signature = inspect.signature(function)
    option = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Debug)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what typer reads the options from
        parameters=[*signature.parameters.values(), option]
    )
    run.__annotations__ = {**function.__annotations__, "debug": Debug}
    return run


def print_error(line: str) -> None:
    """Print a line about what went wrong on stderr."""
    sys.stderr.write(f"thinlens: {line}\n")


def is_debug() -> bool:
    """Whether `--debug` is given."""
    return _debug.get()


def set_debug(on: bool) -> None:
    """Let this process show tracebacks; for those that work for a command in another process."""
    _debug.set(on)


def print_trace(error: BaseException) -> None:
    """Print where an error came from, if `--debug` is given."""
    if _debug.get():
        traceback.print_exception(error)


def line_of(error: Exception) -> str:
    """An error as one line of printable text."""
    if isinstance(error, ThinlensError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "not enough memory; use fewer threads (`-j 1`) or smaller images"
    elif isinstance(error, OSError) and error.strerror:
        where = f"`{error.filename}`: " if error.filename is not None else ""
        text = f"{where}{error.strerror}"
    else:
        text = f"unexpected {type(error).__name__}: {error}; this is a bug: rerun with `--debug` and report it"
    return clean(text)


@contextlib.contextmanager
def needing_extra(what: str, extra: str) -> Iterator[None]:
    """Imports inside this context belong to an extra: one that is missing becomes an error with the pip command."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("thinlens"):
            raise
        raise MissingExtraError.of(what, extra) from error
