"""`localstore show`: show sessions as text or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from localstore.errors import SessionNotFound
from localstore.storage.plain_session import PlainSession, read_plain

from .. import output
from ..arguments import find_sessions, newest_session
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.storage import JsonStorage

ON_A_TERMINAL = 10
"""How many entries a terminal shows without `--all` or `--last`."""


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--last", type=click.IntRange(min=0), metavar="N", help="Show only the last N entries.")
@click.option("--all", "everything", is_flag=True, help=f"Show all entries on a terminal, not only {ON_A_TERMINAL}.")
@click.option("--full", is_flag=True, help="Show all tool output and fields on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print the document as JSON, even if it is stored as YAML.")
@store_option
def command(
    sessions: tuple[str, ...], last: int | None, everything: bool, full: bool, as_json: bool, store: str | None
) -> None:
    """Show sessions: their header, then their entries, oldest first.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls';
    - reads ids from standard input, one per line. Default: the most recently active session.
    """
    if last is not None and everything:
        raise click.UsageError("--last and --all cannot be combined", click.get_current_context())
    storage = open_store(store)
    infos = find_sessions(storage, sessions) or [newest_session(storage)]
    if not sessions:
        output.note(f"Showing the newest session, {infos[0].session_id}")
    if last is None and output.to_terminal() and not everything and not as_json:
        last = ON_A_TERMINAL
    for number, info in enumerate(infos):
        if number and not as_json:
            output.write("\n")
        _show(storage, info, last, full=full, as_json=as_json)


def _show(storage: JsonStorage, info: SessionInfo, last: int | None, *, full: bool, as_json: bool) -> None:
    """Print a session with its last entries, or all of them if `last` is None."""
    stored = read_plain(storage, info.session_id, last_runs=last)
    if stored is None:
        raise SessionNotFound(
            f"Session '{info.session_id}' was deleted just now. 'localstore ls' lists the remaining ones."
        )
    history = stored.history if last is None else stored.history[max(0, len(stored.history) - last) :]
    if as_json:
        output.write_json({**stored.header, "history": history})
        return

    from ..transcript import Piece, Printer, Transcript

    person = output.to_terminal()
    transcript = Transcript(person=person, fold=person and not full)
    pieces = list(transcript.header(PlainSession(stored.header, history, stored.current), info))
    number = max(0, info.runs - sum(entry["type"] == "run" for entry in history))
    if number:
        hidden = f"… {number:,} earlier run{'s' * (number > 1)}. --all shows {'them' if number > 1 else 'it'}."
        pieces.append(Piece(hidden, style="dim"))
    printed = Printer(person)
    printed(pieces)
    for entry in history:
        is_run = entry["type"] == "run"
        number += is_run
        printed([Piece(""), *transcript.entry(entry, number if is_run else None)])
