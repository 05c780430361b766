"""`localstore prune`: move old or large sessions to the trash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output
from ..amounts import age, size
from ..filter_options import archived_option, filter_options, without_archived
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from localstore.models.filter import Filter
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage


@click.command()
@filter_options
@archived_option
@click.option("--older-than", callback=age, metavar="AGE", help="Only sessions last active longer ago, such as 90d.")
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Keep the N most recently active of them.")
@click.option(
    "--larger-than", callback=size, metavar="SIZE", help="Only sessions with a larger document, such as 10MB."
)
@click.option("--dry-run", is_flag=True, help="Only list the sessions that would be moved.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(
    where: Filter,
    archived: bool,
    older_than: timedelta | None,
    keep: int | None,
    larger_than: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """Move the sessions that match all options to the trash, after a confirmation.

    Nothing is pruned automatically. 'localstore restore' brings sessions back. A session that changes meanwhile stays,
    and so does a document that cannot be read.

    --keep counts the sessions that match the filter, whatever --older-than and --larger-than say. With --dry-run in a
    pipe, each session is one line: id, title, time of the last activity and bytes, separated by tabs.
    """
    if not where and older_than is None and keep is None and larger_than is None:
        problem = "Say what to prune, with --older-than, --keep, --larger-than or a filter"
        raise click.UsageError(problem, click.get_current_context())
    storage = open_store(store)
    from ..removal import remove_selected, sessions_and_bytes

    where = without_archived(where, archived)
    found = storage.prune(where, older_than=older_than, keep=keep, larger_than=larger_than, dry_run=True)
    if not dry_run:
        remove_selected(storage, found.sessions, sure=yes, as_json=as_json)
    elif as_json:
        output.write_json([info.as_dict() for info in found.sessions])
    else:
        _list(storage, found.sessions)
        output.note(f"Would move {sessions_and_bytes(found.sessions)} to the trash.")


def _list(storage: SessionStorage, infos: Sequence[SessionInfo]) -> None:
    if output.to_terminal():
        from ..session_table import print_sessions

        print_sessions(storage, infos, "size", has_more=False)
        return
    from localstore.models.times import time_text

    times = ["" if info.updated_at is None else time_text(info.updated_at) for info in infos]
    output.write_rows(
        (info.session_id, info.title or "", time, str(info.size)) for info, time in zip(infos, times, strict=True)
    )
