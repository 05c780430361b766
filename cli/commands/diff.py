"""`localstore diff`: show how a session differs from another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from localstore.errors import SessionNotFound
from localstore.storage.comparing import compare, origin_of, read_backup
from localstore.storage.plain_session import PlainSession, read_plain

from .. import output
from ..arguments import find_session
from ..errors import FINDINGS
from ..store_option import folder_of, open_store, store_option

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage


@click.command()
@click.argument("session")
@click.argument("other", required=False)
@click.option("--backup", metavar="NAME", help="Compare with the session as it was in this backup.")
@click.option("--no-pager", is_flag=True, help="Print to the terminal, and not to the pager.")
@click.option("--json", "as_json", is_flag=True, help="Print the difference as JSON.")
@store_option
def command(
    session: str, other: str | None, backup: str | None, no_pager: bool, as_json: bool, store: str | None
) -> None:
    """Show how two sessions differ, run by run.

    SESSION is compared with OTHER. Without OTHER, it is compared with the session that it was forked from, or that it
    is a replay of; with --backup, with itself in that backup, whose name 'localstore backups' lists. Sessions are named
    as in 'show'.

    Runs with the same id are compared, then runs that ask the same question. Ids, times and metrics are not compared.
    The exit code is 0 if the sessions are the same, and 1 if they differ.
    """
    context = click.get_current_context()
    if other is not None and backup is not None:
        raise click.UsageError("OTHER and --backup cannot be combined", context)
    if backup == "":
        raise click.UsageError("NAME is empty", context)
    storage = open_store(store)
    session_id = find_session(storage, session).session_id
    if other is not None:
        other_id = find_session(storage, other).session_id
        old, new = (session_id, _read(storage, session_id)), (other_id, _read(storage, other_id))
    elif backup is not None:
        new = (session_id, _read(storage, session_id))
        old = (f"{session_id} in backup {backup}", read_backup(folder_of(storage, "--backup"), backup, session_id))
    else:
        new = (session_id, _read(storage, session_id))
        old = _origin(storage, new[1])
    difference = compare(old[1], new[1])
    if as_json:
        output.write_json(difference.as_dict())
    elif difference:
        from ..difference import print_difference

        print_difference(difference, old[0], new[0], wants_pager=not no_pager)
    elif output.to_terminal():
        count = difference.equal_runs
        same = "no runs" if not count else "the same run" if count == 1 else f"the same {count:,} runs"
        output.note(f"No differences between {old[0]} and {new[0]}: both have {same}.")
    if difference:
        context.exit(FINDINGS)


def _read(storage: SessionStorage, session_id: str) -> PlainSession:
    found = read_plain(storage, session_id)
    if found is None:
        raise SessionNotFound(f"Session '{session_id}' was deleted just now. 'localstore ls' lists the remaining ones.")
    return found


def _origin(storage: SessionStorage, session: PlainSession) -> tuple[str, PlainSession]:
    """Return the id and the content of the session that a fork or a replay comes from."""
    session_id = session.header["session_id"]
    origin = origin_of(session)
    if origin is None:
        problem = f"'{session_id}' is neither a fork nor a replay. Name a second session, or a backup with --backup"
        raise click.UsageError(problem, click.get_current_context())
    found = read_plain(storage, origin)
    if found is None:
        raise SessionNotFound(
            f"Session '{origin}', which '{session_id}' comes from, does not exist. 'localstore restore' lists what was "
            "deleted. To compare with another one, name it.",
            session_id=origin,
        )
    return origin, found
