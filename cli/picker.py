"""Lets a person choose a session from a list: with fzf where it is installed, otherwise in a list of our own."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from localstore.errors import SessionNotFound

from . import output
from .arguments import NO_SESSIONS
from .filter_options import without_archived

if TYPE_CHECKING:
    from localstore.models.filter import Filter
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage

    from .session_list import SessionList, ShortIds

_AT_ONCE = 500
"""How many sessions are listed before keys are looked at again."""
_IDLE = 0.5
"""How often, in seconds, a change of the size of the terminal is looked for."""
_BESIDE_FZF = 6
"""How many columns fzf needs beside its lines."""
_NO_MATCH, _INTERRUPTED = 1, 130
"""The exit codes of fzf if nothing was chosen."""


def pick_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--pick` to a command, which gets it as `pick`."""
    return click.option("--pick", is_flag=True, help="Choose the session from a list on the terminal.")(command)


def pick_session(
    storage: SessionStorage, where: Filter, *, named: str | tuple[str, ...] | None = None, archived: bool = False
) -> SessionInfo:
    """Let a person choose one of the sessions that match the filter, newest activity first.

    Archived ones are left out unless `archived` is true or the filter asks for them. `named` is what the command line
    gives as SESSION, which must be nothing.

    The list is on the terminal of the standard error, so that the standard output may be a pipe. Further sessions are
    listed while the first ones are shown.

    Raises UsageError without a terminal or if SESSION is given too, SessionNotFound if there are no sessions, and Abort
    if nothing is chosen.
    """
    if named:
        raise click.UsageError("SESSION and --pick cannot be combined", click.get_current_context())
    if not _has_terminal():
        problem = "There is no terminal to choose on. 'localstore ls' lists the sessions, to name one"
        raise click.UsageError(problem, click.get_current_context())
    infos = _each_once(storage.sessions(without_archived(where, archived)))
    first = next(infos, None)
    if first is None:
        why = "No sessions match. 'localstore ls --archived' lists all sessions." if len(storage) else NO_SESSIONS
        raise SessionNotFound(why)
    from shutil import which

    from .session_table import short_ids

    infos = chain([first], infos)
    shorten = partial(short_ids, storage)
    program = which("fzf")
    chosen = _from_list(infos, shorten) if program is None else _from_fzf(program, infos, shorten)
    if chosen is None:
        raise click.Abort
    return chosen


def _has_terminal() -> bool:
    is_drawable = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return is_drawable and output.can_ask()


def _each_once(infos: Iterator[SessionInfo]) -> Iterator[SessionInfo]:
    """Yield each session once. One that is written to meanwhile may be listed twice."""
    seen: set[str] = set()
    for info in infos:
        if info.session_id not in seen:
            seen.add(info.session_id)
            yield info


# Our own list


def _from_list(infos: Iterator[SessionInfo], shorten: ShortIds) -> SessionInfo | None:
    from .raw_keyboard import RawKeyboard
    from .session_list import SessionList

    choices = SessionList(shorten)
    with RawKeyboard() as keyboard, _other_screen():
        size = _size()
        choices.add(islice(infos, size.lines))
        _draw(choices, size)
        while True:
            key = keyboard.read(_IDLE if choices.is_complete else 0)
            if key == "escape":
                return None
            if key == "enter" and choices.selected is not None:
                return choices.selected
            if key is not None:
                choices.press(key)
            elif not choices.is_complete:
                more = list(islice(infos, _AT_ONCE))
                choices.add(more)
                choices.is_complete = not more
            elif size == _size():
                continue
            size = _size()
            _draw(choices, size)


@contextlib.contextmanager
def _other_screen() -> Iterator[None]:
    """Draw on the other screen of the terminal, so that the lines before are there again in the end."""
    sys.stderr.write("\x1b[?1049h")
    try:
        yield
    finally:
        sys.stderr.write("\x1b[?1049l")
        sys.stderr.flush()


def _size() -> os.terminal_size:
    size = os.get_terminal_size(sys.stderr.fileno())
    return os.terminal_size((size.columns or 80, size.lines or 24))


def _draw(choices: SessionList, size: os.terminal_size) -> None:
    """Draw the list, and put the cursor behind what was typed."""
    lines, selected, cursor = choices.frame(size.columns - 1, size.lines)
    drawn = [f"\x1b[7m{line}\x1b[0m" if number == selected else line for number, line in enumerate(lines)]
    drawn[1:2] = [f"\x1b[2m{line}\x1b[0m" for line in drawn[1:2]]
    sys.stderr.write("\x1b[H" + "\x1b[K\r\n".join(drawn) + f"\x1b[K\x1b[J\x1b[1;{cursor + 1}H")
    sys.stderr.flush()


# fzf


def _from_fzf(program: str, infos: Iterator[SessionInfo], shorten: ShortIds) -> SessionInfo | None:
    import subprocess

    from .session_list import lines_of

    listed: list[SessionInfo] = []
    size = _size()
    width = size.columns - _BESIDE_FZF
    options = ["--no-multi", "--delimiter=\t", "--with-nth=2..", "--tiebreak=index", "--prompt=session> "]
    with subprocess.Popen(  # noqa: S603 (it shows the list)
        [program, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as fzf:
        assert fzf.stdin is not None and fzf.stdout is not None  # noqa: S101, PT018 (for the type checker)
        with contextlib.suppress(BrokenPipeError), fzf.stdin:  # a person may choose before all are listed
            while more := list(islice(infos, _AT_ONCE if listed else size.lines)):
                lines = enumerate(lines_of(more, shorten, width), len(listed))
                listed += more
                fzf.stdin.write("".join([f"{number}\t{line}\n" for number, line in lines]))
        chosen = fzf.stdout.read()
        code = fzf.wait()
    if code in (_NO_MATCH, _INTERRUPTED):
        return None
    first = chosen.partition("\t")[0]
    if code or not first.isdecimal() or int(first) >= len(listed):
        output.note(f"{program} failed with exit code {code}. Here is the list without it.")
        return _from_list(chain(listed, infos), shorten)
    return listed[int(first)]
