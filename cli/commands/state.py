"""`localstore state`: print, edit or replace the state of a session."""

from __future__ import annotations

import os
import stat
import sys
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from localstore.errors import Conflict, LocalstoreError, SessionNotFound
from localstore.storage.plain_session import read_plain

from .. import output
from ..arguments import find_session
from ..state_text import has_comments, parsed, refuse_comments, refuse_rounded_state, state_text, suffix
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from localstore.models.session import Session
    from localstore.storage.contract import SessionStorage

Read = TypeVar("Read")


class _Source(click.File):
    """The type of an option that names a file to read, or `-` for standard input, which may be closed."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "-" and sys.stdin is None:
            self.fail("The standard input is closed", param, ctx)
        return super().convert(value, param, ctx)


@click.command()
@click.argument("session")
@click.option("--edit", is_flag=True, help="Edit the state in the editor named by VISUAL or EDITOR.")
@click.option(
    "--set", "source", type=_Source("rb"), metavar="FILE", help="Replace the state with FILE; - is standard input."
)
@click.option("--yaml", "as_yaml", is_flag=True, help="Print, edit or read YAML instead of JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print, edit or read JSON. This is the default.")
@store_option
def command(
    session: str, edit: bool, source: IO[bytes] | None, as_yaml: bool, as_json: bool, store: str | None
) -> None:
    """Print, edit or replace the state of a session.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls'.
    The state is printed and read as JSON, or as YAML with --yaml, whatever the format of the document.

    --edit and --set accept only a mapping whose values can be kept. A state has no comments: those in FILE are ignored,
    and --edit and the standard input refuse them. If your text is refused, or another process changed the state while
    you edited it, nothing is overwritten: your text is kept in a file, and the message names the file.
    """
    context = click.get_current_context()
    if edit and source is not None:
        raise click.UsageError("--edit and --set cannot be combined", context)
    if as_json and as_yaml:
        raise click.UsageError("--json and --yaml cannot be combined", context)
    storage = open_store(store)
    session_id = find_session(storage, session).session_id
    if not edit and source is None:
        current = _existing(read_plain(storage, session_id, last_runs=0), session_id).current
        output.write(state_text(current.get("session_state", {}), as_yaml))
        return
    stored = _existing(storage.read(session_id, last_runs=0), session_id)
    if edit:
        _edit(storage, stored, as_yaml)
    elif source is not None:
        _replace(storage, stored, source, as_yaml)


def _existing(session: Read | None, session_id: str) -> Read:
    """Return a session that was read. Raises SessionNotFound if it is None."""
    if session is None:
        raise SessionNotFound(f"Session '{session_id}' was deleted just now. 'localstore ls' lists the remaining ones.")
    return session


def _replace(storage: SessionStorage, stored: Session, source: IO[bytes], as_yaml: bool) -> None:
    """Replace the state with the content of a file or of the standard input."""
    from ..editor import kept_if_refused

    text = source.read()
    where = "the standard input" if source.name == "<stdin>" else source.name
    if _is_file(source):
        _store(storage, stored, parsed(text, as_yaml, where))
        if as_yaml and has_comments(text):
            output.note(f"The comments in {where} are not part of the state.")
        return
    with kept_if_refused(text, _name(stored), suffix(as_yaml)):
        state = parsed(text, as_yaml, where)
        refuse_comments(text, as_yaml, where)
        _store(storage, stored, state)


def _is_file(source: IO[bytes]) -> bool:
    """Return whether the text is in a file that stays. That of a pipe, a terminal or a here-document is lost."""
    try:
        status = os.fstat(source.fileno())
    except (OSError, ValueError):  # click's tests have no real file
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink > 0


def _store(storage: SessionStorage, stored: Session, state: dict[str, Any]) -> None:
    if _is_new(state, stored):
        storage.update(stored.session_id, session_state=state)
        _report_stored(stored.session_id)


def _edit(storage: SessionStorage, stored: Session, as_yaml: bool) -> None:
    from localstore.storage.storage import Storage

    from ..editor import ask_to_edit_again, edit, editor, file_to_edit

    program = editor()
    if isinstance(storage, Storage):
        refuse_rounded_state(storage.path(stored.session_id))
    text = state_text(stored.session_state, as_yaml).encode()
    with file_to_edit(text, _name(stored), suffix(as_yaml)) as path:
        line: int | None = None
        while True:
            typed = edit(program, path, line)
            try:
                state = stored.session_state if typed == text else parsed(typed, as_yaml, str(path))
                refuse_comments(typed, as_yaml, str(path))
                break
            except LocalstoreError as error:
                ask_to_edit_again(path, error)
                line = getattr(error, "line", None)
        if not _is_new(state, stored):
            return
        stored.session_state = state
        try:
            storage.upsert(stored)  # raises Conflict if the state was changed since it was read
        except Conflict:
            raise Conflict(
                f"The session_state of {stored.session_id!r} was changed elsewhere while you edited it. Nothing "
                "was stored. Edit it again, and copy what you need from what you typed.",
                session_id=stored.session_id,
            ) from None
        _report_stored(stored.session_id)


def _name(stored: Session) -> str:
    from localstore.disk import file_names

    return f"state-of-{file_names.stem(stored.session_id)}"


def _report_stored(session_id: str) -> None:
    output.note(f"The session_state of {session_id} was stored.")


def _is_new(state: dict[str, Any], stored: Session) -> bool:
    """Return whether the state differs from the stored one. If it does not, print a note."""
    from localstore.format.values import json_equal

    if json_equal(state, stored.session_state):
        output.note("Nothing was changed.")
        return False
    return True
