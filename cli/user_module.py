"""Imports Python modules that the user names, and calls functions in them, without losing an error or their output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType

import click


def imported(load: Callable[[], ModuleType], folder: str, problem: Callable[[str], click.UsageError]) -> ModuleType:
    """Return the module that `load` imports.

    The module finds other modules in `folder`. What it prints goes to standard error.

    Args:
        load: Imports the module.
        folder: The folder that is added to `sys.path`: last, so that no file there replaces an installed module.
        problem: Returns the error to raise for a text that says why the module cannot be imported.

    Raises the error that `problem` returns, whatever the module does. A ModuleNotFoundError is raised unchanged.
    """
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        with printing_to_stderr():
            return load()
    except ModuleNotFoundError:
        raise
    except (Exception, SystemExit) as error:  # whatever the module does
        raise problem(f"cannot be imported: {error_text(error)}") from error


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Redirect prints to standard error, because standard output is for answers."""
    with redirect_stdout(sys.stderr):
        yield


def error_text(error: BaseException) -> str:
    """Return the type and message of an error, and the file and line where it was raised."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or isinstance(error, SyntaxError):  # a SyntaxError names its line
        return text
    return f"{text} ({os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno})"
