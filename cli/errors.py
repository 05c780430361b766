"""Exit codes and error messages of the command line."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable

import click

from localstore.errors import (
    BackupNotFound,
    LocalstoreError,
    LockTimeout,
    RunNotFound,
    SessionNotFound,
    StoreNotFound,
    StoreUnavailable,
)

from .output import one_line

DONE, FINDINGS, USAGE, NOT_FOUND, REFUSED, CANNOT_NOW, BUG, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 4, 5, 70, 130, 141


class Ambiguous(LocalstoreError, LookupError):
    """A name matches no item or several. `candidates` are lines that list possible items."""

    def __init__(self, message: str, candidates: list[str]) -> None:
        super().__init__(message)
        self.candidates = candidates


MOST_CANDIDATES = 10


def candidates(items: Iterable[str]) -> list[str]:
    """Return the lines of an error that list possible items: at most MOST_CANDIDATES, and how many more there are."""
    lines = [f"  {item}" for item in items]
    left = len(lines) - MOST_CANDIDATES
    return [*lines[:MOST_CANDIDATES], f"  … and {left:,} more"] if left > 0 else lines


# The first matching row counts: our own errors are also OSError, LookupError and the like.
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (click.UsageError, USAGE),
    (SessionNotFound, NOT_FOUND),
    (RunNotFound, NOT_FOUND),
    (StoreNotFound, NOT_FOUND),
    (BackupNotFound, NOT_FOUND),
    (Ambiguous, NOT_FOUND),
    (LockTimeout, CANNOT_NOW),
    (StoreUnavailable, CANNOT_NOW),
    (LocalstoreError, REFUSED),
    (OSError, CANNOT_NOW),
    (MemoryError, CANNOT_NOW),
    (KeyboardInterrupt, INTERRUPTED),
    (click.Abort, INTERRUPTED),
    (Exception, BUG),
)


def run(action: Callable[[], None]) -> int:
    """Call `action` and flush its output. If it raises an error, print a message. Return the exit code."""
    try:
        action()
        if sys.stdout is None:
            raise OSError(errno.EBADF, "The standard output is closed")
        sys.stdout.flush()
        return DONE
    except click.exceptions.Exit as end:
        return _finish(end.exit_code)
    except BaseException as error:  # noqa: BLE001 (the last handler: users never see a traceback)
        return _fail(error)


def _finish(code: int) -> int:
    """Flush the output of a command that exited with `code`."""
    try:
        sys.stdout.flush()
    except (OSError, KeyboardInterrupt) as error:
        return _fail(error)
    return code


def _fail(error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):
        _discard_output()  # the reader has closed the pipe, as in `localstore ls | head -1`
        return BROKEN_PIPE
    code = next((code for kind, code in EXIT_CODES if isinstance(error, kind)), BUG)
    try:
        if code != INTERRUPTED:
            sys.stdout.flush()  # print the output before the error message
    except (OSError, AttributeError):
        pass
    _discard_output()
    if sys.stderr is not None:
        from localstore.databases.opening import without_passwords

        try:
            for line in (f"localstore: {message(error)}", *getattr(error, "candidates", ())):
                # It may quote a URL that stands in a wrong place of the command line.
                sys.stderr.write(f"{without_passwords(one_line(line))}\n")
            sys.stderr.flush()
        except OSError:
            pass  # standard error is closed; the exit code still reports the error
    return code


def _discard_output() -> None:
    """Discard the buffered output, so that Python's flush at exit cannot fail."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return  # closed, or not a real file
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def message(error: BaseException) -> str:
    """Return the text that says what went wrong and what to do next."""
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "localstore"
        text = error.format_message().replace(":\n\t", ": ").replace(",\n\t", ", ")  # click's list of choices
        text = text.replace("a valid integer range", "a whole number").replace("a valid float range", "a number")
        if isinstance(error, click.NoSuchOption) and error.possibilities:
            text = f"{error.message} Did you mean '{error.possibilities[0]}'?"
        return f"{text}{'' if text.endswith(('.', '?')) else '.'} See '{command} --help'."
    if isinstance(error, LocalstoreError):
        return str(error)
    if isinstance(error, OSError):
        return f"{_os_error(error)}."
    if isinstance(error, MemoryError):
        return "Out of memory. Close other programs, or look at fewer entries with --last."
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "Interrupted."
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
    return f"A bug in localstore ({type(error).__name__} at {place}: {error}). Please report this line."


def _os_error(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    if isinstance(error, ChildProcessError):
        return f"{where}{what}"  # says what to do
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "Free some space and try again"
    elif error.errno == errno.EBADF and not where:
        advice = "Connect it, for example to /dev/null, and try again"
    elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
        advice = "Check the permissions and try again"
    else:
        advice = "Check that the folder and the disk can be reached, and try again"
    return f"{where}{what}. {advice}"
