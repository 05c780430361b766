"""`localstore edit`: edit the document of a session, or one run of it, in an editor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from localstore.errors import DocumentBroken

from .. import output
from ..arguments import find_session
from ..errors import FINDINGS, message
from ..run_argument import find_run
from ..store_option import folder_of, is_path, open_store, store_option

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage
    from localstore.storage.edited_document import Replaced, RunText
    from localstore.storage.storage import JsonStorage, YamlStorage

    from ..edited_part import EditedPart

T = TypeVar("T")


@click.command()
@click.argument("session")
@click.option(
    "--run", "run", metavar="RUN", help="Edit only this run: its number (-1 is the last), its id, or its beginning."
)
@click.option("--drop-run", metavar="RUN", help="Take this run out. It is kept, and 'localstore rescue' restores it.")
@store_option
def command(session: str, run: str | None, drop_run: str | None, store: str | None) -> None:
    """Edit a session in the editor named by VISUAL or EDITOR.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls'.
    The path may be that of a file in which no session can be read.

    The editor opens a copy of the document. Afterwards, the text is checked, and the document gets exactly this text.
    If others wrote to the session meanwhile, both changes are merged, run by run. If both changed the same run, theirs
    stays, yours is kept in the rescue folder, and the exit code is 1. Runs that you remove are kept there, too.

    If the text has an error, you can edit it again, at the line of the error. If the text does not change, or the
    editor fails, nothing is stored. A text that cannot be stored is kept in a file, and the message names the file.

    In a database, the editor opens the JSON document that the session would have in a folder. Its values are stored,
    and what is kept can be put back with 'localstore restore'.
    """
    if run is not None and drop_run is not None:
        raise click.UsageError("--run and --drop-run cannot be combined", click.get_current_context())
    storage = open_store(store)
    try:
        info = find_session(storage, session)
    except DocumentBroken:
        if not is_path(session) or run is not None or drop_run is not None:
            raise
        output.note(f"{_edited_file(folder_of(storage), Path(session))} was stored: it can be read again.")
        return
    if drop_run is not None:
        number, chosen = _find_run(storage.read_document(info.session_id), info, drop_run)
        name = storage.remove_run(info.session_id, chosen.run_id)
        output.note(f"Run {number} of {info.session_id} was taken out. To restore it, run:")
        output.note(f"localstore rescue {name} --restore" if info.has_file else f"localstore restore {name}")
        return
    done = _edited(storage, info, run)
    _report(info, done)
    if done.lost:
        click.get_current_context().exit(FINDINGS)


def _find_run(document: bytes, info: SessionInfo, text: str) -> tuple[int, RunText]:
    """Return a run in the bytes of a document and its number, counted from 1."""
    from localstore.storage.edited_document import runs_in
    from localstore.storage.plain_session import plain_question

    runs = runs_in(document, _path(info))
    number = find_run(info.session_id, [(run.run_id, plain_question(run.entry)) for run in runs], text)
    return number, runs[number - 1]


def _path(info: SessionInfo) -> Path:
    """Return the path of the document, or of the one that a session of a database would have."""
    from localstore.storage.edited_document import document_name

    return info.path if info.has_file else document_name(info.session_id)


def _edited(storage: SessionStorage, info: SessionInfo, run: str | None) -> Replaced:
    """Let a person edit the document or a run of it until the text can be stored, and return what was changed."""
    from localstore.storage.edited_document import document_name

    from ..edited_part import EditedPart
    from ..editor import editor

    otherwise = "open the file that 'localstore path' prints" if info.has_file else "copy the session to a folder"
    program = editor(otherwise)
    base = storage.read_document(info.session_id)
    path, name = _path(info), document_name(info.session_id).stem
    if run is None:
        part = EditedPart.whole(base, path)
    else:
        number, chosen = _find_run(base, info, run)
        part = EditedPart.of_run(base, path, chosen)
        name = f"run-{number}-of-{name}"
    store = partial(storage.replace_document, info.session_id, base=base)
    return _until_stored(program, part, name, lambda typed: store(part.document_with(typed)))


def _edited_file(storage: JsonStorage | YamlStorage, path: Path) -> str:
    """Let a person edit a file in which no session can be read until it is one, and return the session's id."""
    from ..edited_part import EditedPart
    from ..editor import editor

    program = editor(f"open {path}")
    base = path.read_bytes()
    store = partial(storage.replace_unreadable, path, base=base)
    return _until_stored(program, EditedPart.whole(base, path), path.stem, store)


def _until_stored(program: list[str], part: EditedPart, name: str, store: Callable[[bytes], T]) -> T:
    """Let a person edit a part of a document until `store`, which gets the text, takes it. Return its result.

    The error of a document that is broken already is printed before the editor opens.
    """
    from ..editor import ask_to_edit_again, edit, file_to_edit

    line = None if part.is_run else _first_error(part)
    with file_to_edit(part.shown, name, part.path.suffix) as file:
        while True:
            typed = edit(program, file, line)
            try:
                return store(typed)
            except DocumentBroken as error:
                if error.problem is None:
                    raise
                refusal = part.refusal(error, str(file))
            ask_to_edit_again(file, refusal)
            line = refusal.line


def _first_error(part: EditedPart) -> int | None:
    """Return the line of the error in a broken document, and print the error. Return None if there is none."""
    try:
        part.check()
    except DocumentBroken as error:
        output.note(message(part.refusal(error, str(part.path))))
        return error.line
    return None


def _report(info: SessionInfo, done: Replaced) -> None:
    if not done.changes:
        output.note("Nothing was changed.")
        return
    output.note(f"{info.session_id} was stored: {', '.join(done.changes)}.")
    if done.elsewhere:
        output.note(f"Meanwhile, others wrote to it as well: {', '.join(done.elsewhere)}.")
    if done.removed is not None:
        way = f"rescue {done.removed} --restore" if info.has_file else f"restore {done.removed}"
        output.note(f"What you removed is kept. To put it back, run: localstore {way}")
    for name in done.lost:
        output.note(f"Both changed {name}. The document has the form of the others.")
    for kept in done.rescued:
        way = f"See it with: localstore rescue {kept}"
        if not info.has_file:
            way = f"To make it another session, run: localstore restore {kept} --to ID"
        output.note(f"Your form is kept. {way}")
