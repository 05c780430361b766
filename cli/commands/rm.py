"""`localstore rm`: move sessions to the trash, and empty the trash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from localstore.errors import LocalstoreError

from .. import output
from ..arguments import find_sessions
from ..errors import message
from ..store_option import find_store, open_store, store_option

if TYPE_CHECKING:
    from localstore.disk.trash_folder import Trashed

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE = re.compile(r"([0-9]{1,6})([mhdw])\Z")


def _age(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Return an age such as `30d` in seconds, or None if it is not given."""
    match = None if value is None else _AGE.match(value)
    if value is not None and match is None:
        raise click.BadParameter("Give a number with m, h, d or w, such as 30d")
    return match and int(match[1]) * _SECONDS[match[2]]


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--empty-trash", is_flag=True, help="Permanently delete what is in the trash, after a confirmation.")
@click.option("--older-than", metavar="AGE", callback=_age, help="With --empty-trash: only what is older, such as 30d.")
@click.option("--yes", is_flag=True, help="With --empty-trash: do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print the moved or deleted documents as a JSON array.")
@store_option
def command(**options: Any) -> None:
    """Move sessions to the trash. 'localstore restore' brings them back.

    SESSION is an id, a name, the unique beginning of either, or a path; - reads ids from standard input, one per line.
    If one of them does not exist, nothing is moved. The trash is the folder .localstore/trash of the store; it is
    never emptied automatically.
    """
    context = click.get_current_context()
    sessions, empty_trash = options["sessions"], options["empty_trash"]
    if bool(sessions) == empty_trash:
        raise click.UsageError("Give either SESSION or --empty-trash", context)
    for option in ("older_than", "yes"):
        if options[option] not in (None, False) and not empty_trash:
            raise click.UsageError(f"--{option.replace('_', '-')} needs --empty-trash", context)
    if empty_trash:
        _empty(find_store(options["store"]), options["older_than"], sure=options["yes"], as_json=options["as_json"])
    else:
        _move(sessions, options["store"], options["as_json"])


def _move(sessions: tuple[str, ...], store: str | None, as_json: bool) -> None:
    storage = open_store(store)
    session_ids = [info.session_id for info in find_sessions(storage, sessions, exact=True)]
    from localstore.maintenance.trash import throw_away

    moved: list[Trashed] = []
    failed: list[LocalstoreError | OSError] = []
    for session_id in session_ids:
        try:
            items = throw_away(storage, session_id)
        except (LocalstoreError, OSError) as error:  # the other sessions are still moved
            failed.append(error)
            continue
        moved += items
        for item in [] if as_json else items:
            text = f"{session_id} is in the trash. Restore it with: localstore restore {item.name}"
            output.write(f"{output.one_line(text)}\n")
    if as_json:
        output.write_json([item.as_dict() for item in moved])
    for other in failed[:-1]:
        output.note(message(other))
    if failed:
        raise failed[-1]


def _empty(root: str, older_than: int | None, *, sure: bool, as_json: bool) -> None:
    from localstore.maintenance.trash import empty, trashed

    items = trashed(root, older_than=older_than or 0)
    if items and not sure:
        if not output.can_ask():
            raise click.UsageError(
                "No terminal to ask on. Add --yes to delete permanently", click.get_current_context()
            )
        size = sum(item.size for item in items)
        if not click.confirm(f"Delete {_count(items)} ({size:,} bytes) permanently?", err=True):
            items = []
    deleted = empty(root, items)
    if as_json:
        output.write_json([item.as_dict() for item in deleted])
    elif deleted:
        output.write(f"{_count(deleted)} deleted permanently\n")
    else:
        output.note("Nothing was deleted.")


def _count(items: list[Trashed]) -> str:
    return f"{len(items):,} {'document' if len(items) == 1 else 'documents'}"
