"""`localstore show`: show sessions as text or JSON."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn

import click

from localstore.errors import SessionNotFound
from localstore.models.filter import Filter
from localstore.storage.plain_session import PlainSession, plain_question, read_plain

from .. import output
from ..arguments import find_sessions, newest_session
from ..picker import pick_option, pick_session
from ..run_argument import find_run
from ..session_view import Excerpt, SessionView
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage

_FROM_END = re.compile("-[1-9][0-9]{0,5}")
"""How `--run` names a run that is counted from the end."""
ON_A_TERMINAL = 10
"""How many entries a terminal shows without `--all` or `--last`."""


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--last", type=click.IntRange(0, 10**18), metavar="N", help="Show only the last N entries.")
@click.option("--all", "everything", is_flag=True, help=f"Show all entries on a terminal, not only {ON_A_TERMINAL}.")
@click.option("--run", metavar="RUN", help="Show only this run: its number (-1 is the last), its id, or its beginning.")
@click.option("--messages", is_flag=True, help="Show only what was said: questions and answers.")
@click.option("--tools", is_flag=True, help="Show only tool calls, with their arguments and results.")
@click.option("--follow", is_flag=True, help="Show what is added, and how a run grows, until Ctrl-C is pressed.")
@click.option("--full", is_flag=True, help="Show the whole header, all tool output and all fields on a terminal.")
@click.option("--no-pager", is_flag=True, help="Print to the terminal, and not to the pager.")
@click.option("--json", "as_json", is_flag=True, help="Print the document as JSON, even if it is stored as YAML.")
@pick_option
@store_option
def command(
    sessions: tuple[str, ...],
    last: int | None,
    everything: bool,
    run: str | None,
    messages: bool,
    tools: bool,
    follow: bool,
    full: bool,
    no_pager: bool,
    as_json: bool,
    pick: bool,
    store: str | None,
) -> None:
    """Show sessions: their header, then their entries, oldest first.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls';
    - reads ids from standard input, one per line. Default: the most recently active session.

    On a terminal, the answers are rendered as Markdown, and the output goes through the pager that the environment
    variable PAGER names, by default 'less'.
    """
    context = click.get_current_context()
    chosen = {"--last": last is not None, "--all": everything, "--run": run is not None}
    if sum(chosen.values()) > 1:
        names = " and ".join(name for name, is_given in chosen.items() if is_given)
        raise click.UsageError(f"{names} cannot be combined", context)
    if as_json and (messages or tools):
        raise click.UsageError("--json prints whole entries. It cannot be combined with --messages or --tools", context)
    if follow and (as_json or run is not None):
        raise click.UsageError(f"--follow and {'--json' if as_json else '--run'} cannot be combined", context)
    storage = open_store(store)
    infos = [pick_session(storage, Filter(), named=sessions)] if pick else find_sessions(storage, sessions)
    infos = infos or [newest_session(storage)]
    if follow and len(infos) > 1:
        raise click.UsageError("--follow takes one session", context)
    if not sessions and not pick:
        output.note(f"Showing the newest session, {infos[0].session_id}")
    person = output.to_terminal()
    if person and not as_json and not any(chosen.values()):
        last = ON_A_TERMINAL
    if follow:
        screen = output.console() if person else None
        view = SessionView(screen, full=full, messages=messages, tools=tools)
        _follow(storage, infos[0], last, view, screen)
    read = (_read_run(storage, info, run) if run is not None else _read(storage, info, last) for info in infos)
    if as_json:
        for found in read:
            output.write_json({**found.session.header, "history": found.session.history})
        return
    if not person:
        SessionView(None, full=full, messages=messages, tools=tools).show(read)
        return
    from ..pager import paged

    first = next(read)  # if it cannot be read, no pager is started
    kinds = {"full": full, "messages": messages, "tools": tools}
    header = SessionView(output.console(), **kinds).header_lines(first.info) if len(infos) == 1 else 0
    with paged(wanted=not no_pager, header=header) as screen:
        SessionView(screen, **kinds).show(chain([first], read))


def _read(storage: SessionStorage, info: SessionInfo, last: int | None) -> Excerpt:
    """Return the session with its last entries, or all of them if `last` is None."""
    stored = read_plain(storage, info.session_id, last_runs=last)
    if stored is None:
        raise _deleted(info)
    return _end_of(info, stored, info.runs, last)


def _end_of(info: SessionInfo, stored: PlainSession, runs: int, last: int | None) -> Excerpt:
    """Return the session, which has `runs` runs, with its last entries, or all of them if `last` is None."""
    history = stored.history if last is None else stored.history[max(0, len(stored.history) - last) :]
    shown = PlainSession(stored.header, history, stored.current)
    return Excerpt(info, shown, max(0, runs - sum(entry["type"] == "run" for entry in history)))


def _follow(storage: SessionStorage, info: SessionInfo, last: int | None, view: SessionView, screen: Any) -> NoReturn:
    """Print the session as `_read` returns it, and then what is added. Ctrl-C ends it."""
    from localstore.storage.following import Follower

    from ..following import Following

    follower = Follower(storage, info.session_id, last_runs=None if last is None else max(1, last))
    following = Following(follower, view, screen)
    following.begin(_end_of(info, follower.session, follower.runs, last))
    following.run()


def _read_run(storage: SessionStorage, info: SessionInfo, text: str) -> Excerpt:
    """Return the session with one of its runs. For one that is counted from the end, only the end is read."""
    from_end = int(text[1:]) if _FROM_END.fullmatch(text) else None
    stored = read_plain(storage, info.session_id, last_runs=from_end)
    if stored is None:
        raise _deleted(info)
    runs = [entry for entry in stored.history if entry["type"] == "run"]
    if len(runs) == from_end:
        return Excerpt(info, PlainSession(stored.header, [runs[0]], {}), info.runs - from_end, is_one_run=True)
    number = find_run(info.session_id, [(run["run_id"], plain_question(run)) for run in runs], text)
    return Excerpt(info, PlainSession(stored.header, [runs[number - 1]], {}), number - 1, is_one_run=True)


def _deleted(info: SessionInfo) -> SessionNotFound:
    return SessionNotFound(
        f"Session '{info.session_id}' was deleted just now. 'localstore ls' lists the remaining ones."
    )
