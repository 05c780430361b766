"""`localstore rm`: move sessions to the trash, and empty the trash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from localstore.models.figures import counted

from .. import output
from ..amounts import age
from ..arguments import find_sessions
from ..filter_options import archived_option, filter_options, without_archived
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from datetime import timedelta

    from localstore.models.filter import Filter
    from localstore.storage.contract import SessionStorage


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@filter_options
@archived_option
@click.option("--empty-trash", is_flag=True, help="Permanently delete what is in the trash, after a confirmation.")
@click.option("--older-than", metavar="AGE", callback=age, help="With --empty-trash: only what is older, such as 30d.")
@click.option("--yes", is_flag=True, help="With a filter or --empty-trash: do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print the moved or deleted documents as a JSON array.")
@store_option
def command(sessions: tuple[str, ...], where: Filter, archived: bool, **options: Any) -> None:
    """Move sessions to the trash. 'localstore restore' brings them back.

    SESSION is an id, a name, the unique beginning of either, or a path; - reads ids from standard input, one per line.
    If one of them does not exist, nothing is moved. With filters, only sessions that match all of them are moved, after
    a confirmation; without SESSION, all that match.

    The trash is the folder .localstore/trash of the store; it is never emptied automatically.
    """
    context = click.get_current_context()
    empty_trash = options["empty_trash"]
    if bool(sessions or where) == empty_trash:
        raise click.UsageError("Give SESSION, a filter or --empty-trash", context)
    if options["older_than"] is not None and not empty_trash:
        raise click.UsageError("--older-than needs --empty-trash. 'localstore prune' has it for sessions", context)
    if archived and (sessions or not where):
        raise click.UsageError("--archived needs a filter, and no SESSION", context)
    if options["yes"] and not empty_trash and not where:
        raise click.UsageError("--yes needs a filter or --empty-trash", context)
    if empty_trash:
        _empty(open_store(options["store"]), options["older_than"], sure=options["yes"], as_json=options["as_json"])
        return
    storage = open_store(options["store"])
    infos = find_sessions(storage, sessions, exact=True)
    from ..removal import remove, remove_selected

    if not where:
        remove(storage, [info.session_id for info in infos], as_json=options["as_json"])
        return
    selected = [info for info in infos if info.matches(where)]
    if not sessions:
        listed = storage.list_sessions(where=without_archived(where, archived))
        selected = [info for info in listed if info.problem is None]
    remove_selected(storage, selected, sure=options["yes"], as_json=options["as_json"])


def _empty(storage: SessionStorage, older_than: timedelta | None, *, sure: bool, as_json: bool) -> None:
    from localstore.maintenance.trash import empty
    from localstore.storage.storage import Storage

    items = storage.trashed(older_than=older_than)
    if items and not sure:
        size = sum(item.size for item in items)
        question = f"Delete {counted(len(items), 'document')} ({size:,} bytes) permanently?"
        if not output.is_confirmed(question, yes_would="delete permanently"):
            items = []
    if isinstance(storage, Storage):
        deleted = empty(storage, items)  # nothing that was moved to the trash while a person was asked
    else:
        deleted = storage.empty_trash(older_than=older_than) if items else []
    if as_json:
        output.write_json([item.as_dict() for item in deleted])
    elif deleted:
        output.write(f"{counted(len(deleted), 'document')} deleted permanently\n")
    else:
        output.note("Nothing was deleted.")
