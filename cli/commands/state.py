"""`localstore state`: print, edit or replace the state of a session."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

import click

from localstore.errors import Conflict, DocumentBroken, LocalstoreError, SessionNotFound

from .. import output
from ..arguments import find_session
from ..errors import REFUSED, message
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from localstore.models.session import Session
    from localstore.storage.storage import JsonStorage


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

    SESSION is an id, a name, or the unique beginning of an id. The state is printed and read as JSON, or as YAML with
    --yaml, whatever the format of the document.

    --edit and --set accept only a mapping. If another process changes the state while you edit it, nothing is
    overwritten: your text is kept in a file, and the message names the file.
    """
    context = click.get_current_context()
    if edit and source is not None:
        raise click.UsageError("--edit and --set cannot be combined", context)
    if as_json and as_yaml:
        raise click.UsageError("--json and --yaml cannot be combined", context)
    storage = open_store(store)
    session_id = find_session(storage, session).session_id
    stored = storage.read(session_id, last_runs=0)
    if stored is None:
        raise SessionNotFound(f"Session '{session_id}' was deleted just now. 'localstore ls' lists the remaining ones.")
    if edit:
        _edit(storage, stored, as_yaml)
    elif source is not None:
        state = _parsed(source.read(), as_yaml, "the standard input" if source.name == "<stdin>" else source.name)
        if _is_new(state, stored):
            storage.update(session_id, session_state=state)
            _report_stored(session_id)
    else:
        output.write(_text(stored.session_state, as_yaml))


def _edit(storage: JsonStorage, stored: Session, as_yaml: bool) -> None:
    from localstore.disk import file_names

    from ..editor import edit, editor, file_to_edit

    program = editor()
    text = _text(stored.session_state, as_yaml).encode()
    suffix = ".yaml" if as_yaml else ".json"
    with file_to_edit(text, f"state-of-{file_names.stem(stored.session_id)}", suffix) as path:
        while True:
            typed = edit(program, path)
            try:
                state = stored.session_state if typed == text else _parsed(typed, as_yaml, str(path))
                break
            except LocalstoreError as error:
                if not output.can_ask():
                    raise
                output.note(message(error))
                if not click.confirm("Edit it again?", default=True, err=True):
                    click.get_current_context().exit(REFUSED)
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


def _report_stored(session_id: str) -> None:
    output.note(f"The session_state of {session_id} was stored.")


def _is_new(state: dict[str, Any], stored: Session) -> bool:
    """Return whether the state differs from the stored one. If it does not, print a note."""
    from localstore.format.values import json_equal

    if json_equal(state, stored.session_state):
        output.note("Nothing was changed.")
        return False
    return True


def _text(state: dict[str, Any], as_yaml: bool) -> str:
    if as_yaml:
        from localstore.format.yaml_writer import mapping

        text = mapping(state)
        if output.lines(text) == text:
            return text
        # JSON is also valid YAML, and escapes control characters.
    return output.json_text(state)


def _parsed(raw: bytes, as_yaml: bool, where: str) -> dict[str, Any]:
    """Parse a mapping. Raises DocumentBroken, which names the line, or UnstorableValue."""
    from localstore.format.document import LAYOUTS
    from localstore.format.parse_error import ParseError
    from localstore.format.values import to_json_value

    layout = LAYOUTS[".yaml" if as_yaml else ".json"]
    try:
        layout.parse(raw)  # it names the line of more mistakes
        value = layout.parse_strict(raw)
        if not isinstance(value, dict):
            raise ParseError("expected a mapping", 1)
    except ParseError as error:
        place = "" if error.line is None else f", line {error.line}"
        place += "" if error.column is None else f", column {error.column}"
        raise DocumentBroken(
            f"{where}{place}: {error.problem}. Nothing was stored. Correct it and try again.",
            path=where,
            problem=error.problem,
            line=error.line,
            column=error.column,
        ) from None
    state: dict[str, Any] = to_json_value(value, "session_state")
    return state
