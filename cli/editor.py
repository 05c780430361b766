"""Lets a person edit a text in their own editor, and keeps what they typed in a file if it cannot be stored."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from localstore.errors import LocalstoreError

from .errors import REFUSED, message
from .output import can_ask, note


def editor(otherwise: str = "give the text with --set") -> list[str]:
    """Return the editor command, split into words, from VISUAL or EDITOR.

    Raises UsageError if there is none; `otherwise` says what else the person can do.
    """
    context = click.get_current_context()
    for variable in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(os.environ.get(variable, ""), posix=os.name == "posix")
        except ValueError as error:
            raise click.UsageError(f"{variable} is not a valid command: {error}", context) from None
        if words:
            return words
    raise click.UsageError(f"There is no editor: set VISUAL or EDITOR, or {otherwise}", context)


@contextlib.contextmanager
def file_to_edit(text: bytes, name: str, suffix: str) -> Iterator[Path]:
    """Create a temporary file with `text`, yield its path, and remove the file when the block ends.

    If the block raises an error after the file was changed, keep the file and print a note that names it.
    """
    descriptor, path = tempfile.mkstemp(prefix=f"{name}-", suffix=suffix)
    try:
        with open(descriptor, "wb") as file:
            file.write(text)
        yield Path(path)
    except BaseException:
        if _is_changed(path, text):
            note(f"Your text is kept in {path}")
        else:
            _remove(path)
        raise
    _remove(path)


@contextlib.contextmanager
def kept_if_refused(text: bytes, name: str, suffix: str) -> Iterator[None]:
    """If the block raises an error, write `text` to a file and print a note that names it.

    For text from the standard input, which may exist nowhere else.
    """
    try:
        yield
    except BaseException:
        if text.strip():
            with contextlib.suppress(OSError):
                descriptor, path = tempfile.mkstemp(prefix=f"{name}-", suffix=suffix)
                with open(descriptor, "wb") as file:
                    file.write(text)
                note(f"Your text is kept in {path}")
        raise


def _is_changed(path: str, text: bytes) -> bool:
    try:
        return Path(path).read_bytes() != text
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


_WITH_PLUS = (
    "vi",
    "vim",
    "nvim",
    "view",
    "gvim",
    "nano",
    "emacs",
    "emacsclient",
    "micro",
    "kak",
    "joe",
    "mg",
    "mcedit",
)
"""The editors that begin at line N after `+N`."""
_WITH_COLON = {"code": ["--goto"], "codium": ["--goto"], "cursor": ["--goto"], "subl": [], "zed": [], "hx": []}
"""The editors that begin at line N of `FILE:N`, with the option that this needs."""
_TO_WAIT = ("code", "codium", "cursor", "subl", "zed")
"""The editors that return at once unless they get the option `--wait`."""


def _call(command: list[str], path: Path, line: int | None) -> list[str]:
    """Return the words that start the editor with the file, at this line if the editor is known to take one."""
    name = os.path.splitext(os.path.basename(command[0]))[0].lower()
    if name in _TO_WAIT and not {"--wait", "-w"} & set(command):
        command = [*command, "--wait"]
    if line is not None and name in _WITH_PLUS:
        return [*command, f"+{line}", str(path)]
    if line is not None and name in _WITH_COLON:
        return [*command, *_WITH_COLON[name], f"{path}:{line}"]
    return [*command, str(path)]


def ask_to_edit_again(path: Path, error: LocalstoreError) -> None:
    """Print why a text cannot be stored, and ask what to do with it. Return if it is to be edited again.

    Otherwise exit: the text stays in its file, or the file is removed. Call it within `file_to_edit`. Raises the error
    if there is no terminal to ask on.
    """
    if not can_ask():
        raise error
    note(message(error))
    question = "[e]dit it again, [k]eep it in a file, or [d]rop it?"
    choice = click.Choice(["e", "k", "d"], case_sensitive=False)
    answer = click.prompt(question, default="e", type=choice, show_choices=False, err=True)
    if answer == "e":
        return
    if answer == "d":
        _remove(str(path))
        note("Nothing was stored.")
    click.get_current_context().exit(REFUSED)


def edit(command: list[str], path: Path, line: int | None = None) -> bytes:
    """Open the file in the editor, wait until the editor ends, and return the new content.

    Editors that are known to take a line begin at `line`, counted from 1.

    Raises UsageError if the editor cannot be started, LocalstoreError if it fails or removes the file.
    """
    try:
        process = subprocess.Popen(_call(command, path, line))  # noqa: S603 (the user's own editor)
    except OSError as error:
        problem = f"The editor '{command[0]}' cannot be started: {error.strerror}. Set VISUAL or EDITOR"
        raise click.UsageError(problem, click.get_current_context()) from None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # while the editor has the terminal, Ctrl-C is for the editor
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        how = f"ended with code {code}" if code > 0 else f"was ended by signal {-code}"
        raise LocalstoreError(f"The editor '{command[0]}' {how}. Nothing was stored. Try again.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise LocalstoreError(f"The editor left no file at {path}. Nothing was stored. Try again.") from None
