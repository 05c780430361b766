"""`localstore rm`: move sessions to the trash, and empty the trash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from localstore.errors import LocalstoreError

from .. import output
from ..errors import message
from ..sessions import find_session
from ..store import find_store, open_store, store_option

if TYPE_CHECKING:
    from localstore.disk.trash_folder import Trashed

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE = re.compile(r"([0-9]{1,6})([mhdw])\Z")


def _age(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """The seconds in `30d`."""
    match = None if value is None else _AGE.match(value)
    if value is not None and match is None:
        raise click.BadParameter("Give a number and m, h, d or w, as in 30d")
    return match and int(match[1]) * _SECONDS[match[2]]


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--empty-trash", is_flag=True, help="Delete for good what is in the trash. It asks first.")
@click.option("--older-than", metavar="AGE", callback=_age, help="With --empty-trash: only what is older, as in 30d.")
@click.option("--yes", is_flag=True, help="With --empty-trash: do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was moved, or deleted, as a JSON array.")
@store_option
def command(**given: Any) -> None:
    """Move sessions to the trash of the store. 'localstore restore' gets them back.

    SESSION is an id, a name, or the beginning of an id that no other one shares. When one of them is wrong, nothing
    is moved. The trash is the store's folder .localstore/trash; it is never emptied by itself.
    """
    context = click.get_current_context()
    sessions, empty_trash = given["sessions"], given["empty_trash"]
    if bool(sessions) == empty_trash:
        raise click.UsageError("Give either SESSION or --empty-trash", context)
    for option in ("older_than", "yes"):
        if given[option] not in (None, False) and not empty_trash:
            raise click.UsageError(f"--{option.replace('_', '-')} goes with --empty-trash", context)
    if empty_trash:
        _empty(find_store(given["store"]), given["older_than"], sure=given["yes"], as_json=given["as_json"])
    else:
        _move(sessions, given["store"], given["as_json"])


def _move(named: tuple[str, ...], store: str | None, as_json: bool) -> None:
    storage = open_store(store)
    session_ids = dict.fromkeys([find_session(storage, text).session_id for text in named])
    from localstore.maintenance.trash import throw_away

    moved: list[Trashed] = []
    failed: list[LocalstoreError | OSError] = []
    for session_id in session_ids:
        try:
            items = throw_away(storage, session_id)
        except (LocalstoreError, OSError) as error:  # it keeps no other one from being moved
            failed.append(error)
            continue
        moved += items
        for one in [] if as_json else items:
            text = f"{session_id} is in the trash. Get it back with: localstore restore {one.name}"
            output.write(f"{output.one_line(text)}\n")
    if as_json:
        output.write_json([one.as_dict() for one in moved])
    for other in failed[:-1]:
        output.note(message(other))
    if failed:
        raise failed[-1]


def _empty(root: str, older_than: int | None, *, sure: bool, as_json: bool) -> None:
    from localstore.maintenance.trash import empty, trashed

    found = trashed(root, older_than=older_than or 0)
    if found and not sure:
        if not output.can_ask():
            raise click.UsageError("There is nobody to ask. Add --yes to delete for good", click.get_current_context())
        size = sum(one.size for one in found)
        if not click.confirm(f"Delete {_count(found)} ({size:,} bytes) for good?", err=True):
            found = []
    deleted = empty(root, found)
    if as_json:
        output.write_json([one.as_dict() for one in deleted])
    elif deleted:
        output.write(f"{_count(deleted)} deleted for good\n")
    else:
        output.note("Nothing was deleted.")


def _count(items: list[Trashed]) -> str:
    return f"{len(items):,} {'document' if len(items) == 1 else 'documents'}"
