"""The table of sessions that listings show on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from localstore.models.times import time_text

from . import output
from .local_times import when

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo, SortKey
    from localstore.storage.contract import SessionStorage

_MARKS = {"error": "✗", "unfinished": "…", "cancelled": "■"}
_ASCII_MARKS = {"error": "x", "unfinished": "~", "cancelled": "#"}
SHORT = 12
"""An id of at most this many characters is shown as a whole: it is probably a word."""


def short_ids(storage: SessionStorage, ids: Sequence[str]) -> dict[str, str]:
    """Return what to show for the id of each session: itself, or a beginning of it that names the session alone."""
    long = [session_id for session_id in ids if len(session_id) > SHORT and not session_id.startswith("@")]
    return dict(zip(ids, ids, strict=True)) | storage.short_ids(long)


def marks_of(rows: Sequence[SessionInfo], *, ascii_only: bool = False) -> list[str]:
    """Return a mark for each session that says how its last run ended, "" if it was completed."""
    marks = _ASCII_MARKS if ascii_only else _MARKS
    return ["" if row.status is None else marks.get(row.status, "") for row in rows]


def _when(time: datetime | None) -> str:
    return "" if time is None else when(time_text(time))


def print_sessions(storage: SessionStorage, shown: Sequence[SessionInfo], sort: SortKey, *, has_more: bool) -> None:
    """Print a table of sessions. Columns that would say the same in all rows are left out.

    Args:
        storage: The storage of the sessions.
        shown: The sessions, in their order.
        sort: What they are sorted by. It is shown.
        has_more: Whether there are others, which the last line says.
    """
    if not shown:
        return
    from .table import print_table

    screen = output.console()
    marks = marks_of(shown, ascii_only=screen.options.ascii_only)
    ids = short_ids(storage, [row.session_id for row in shown])
    columns = {
        "": marks,
        "title": [row.title or "-" for row in shown],
        "id": [ids[row.session_id] for row in shown],
    }
    if sort == "created":
        columns["created"] = [_when(row.created_at) for row in shown]
    else:
        columns["updated"] = [_when(row.updated_at) for row in shown]
    columns["runs"] = [f"{row.runs:,}" for row in shown]
    if sort == "tokens":
        columns["tokens"] = [f"{row.input_tokens + row.output_tokens:,}" for row in shown]
    if sort == "size":
        columns["bytes"] = [f"{row.size:,}" for row in shown]
    about = {
        "user": [row.user_id or "" for row in shown],
        "entity": [row.entity_id or "" for row in shown],
        "kind": [row.kind for row in shown],
        "tags": [", ".join(row.tags) for row in shown],
    }
    columns.update((name, cells) for name, cells in about.items() if len(set(cells)) > 1)
    print_table(
        screen,
        columns,
        numbers=("runs", "tokens", "bytes"),
        kept_longest=(
            *("title", "", "id", "created", "updated", "tokens", "bytes"),
            *("runs", "user", "tags", "entity", "kind"),
        ),
        marked=[bool(row.problem) for row in shown],
        roomy={"title": 32, "id": 24, "": 1, "created": 10, "updated": 10, "tokens": 7, "bytes": 7},
        styles={"": "yellow", "id": "cyan", "created": "dim", "updated": "dim", "tags": "magenta"},
        elide=("id",),
    )
    for row in shown:
        if row.problem:
            screen.print(output.one_line(f"{row.session_id}: {row.problem}"), style="red")
    if has_more:
        screen.print("… and more. --all lists them.", style="dim")
