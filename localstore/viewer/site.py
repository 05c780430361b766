"""The same pages as files: a folder to share or to keep, with a search that needs no server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from localstore.exporting.characters import json_text
from localstore.exporting.labels import title
from localstore.models.excerpt import one_line
from localstore.models.session import Session
from localstore.viewer.assets import asset
from localstore.viewer.counting import Figures
from localstore.viewer.dashboard import dashboard_body
from localstore.viewer.filters import read_query
from localstore.viewer.frame import View, page
from localstore.viewer.links import SiteLinks
from localstore.viewer.session_list import session_table
from localstore.viewer.session_page import Part, session_body

_POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src 'self' file: data:; base-uri 'none'; "
    "form-action 'none'"
)
_ASSETS = ("style.css", "site.js", "icon.svg")
_MOST_TEXT = 20_000
"""How many characters of a run the search knows."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class _Row:
    """What the list says of a session."""

    session_id: str
    title: str
    kind: str
    entity_id: str | None
    user_id: str | None
    tags: tuple[str, ...]
    runs: int
    failures: int
    status: str | None
    input_tokens: int
    output_tokens: int
    seconds: float
    ratings: dict[str, int]
    updated_at: datetime | None
    problem: None = None


def write_site(sessions: Iterable[Session], folder: Path, store: str, figures: Figures | None = None) -> None:
    """Write the pages of sessions to a new folder.

    The pages refer to each other by relative addresses, so the folder may be moved, served or opened from the disk.
    `index.html` is written last: a folder without it is not complete.

    Args:
        sessions: The sessions, which are read one at a time.
        folder: The folder, which must not exist. Only its owner can read it.
        store: The name of the store on the pages.
        figures: What the dashboard shows. None leaves it out.

    Raises FileExistsError and OSError.
    """
    os.mkdir(folder, 0o700)
    for name in ("static", "sessions"):
        (folder / name).mkdir()
    for name in _ASSETS:
        (folder / "static" / name).write_bytes(asset(name))
    outer = View(
        SiteLinks(), store, is_static=True, scripts=("search.js", "site.js"), has_dashboard=figures is not None
    )
    inner = replace(outer, links=SiteLinks("../"), scripts=("site.js",))
    files: dict[str, str] = {}
    rows: list[_Row] = []
    with (folder / "static" / "search.js").open("w", encoding="utf-8") as search:
        search.write('"use strict";\nwindow.localstoreSessions = [\n')
        for number, session in enumerate(sessions, 1):
            file = f"sessions/{number}-{_NOT_IN_NAMES.sub('_', session.session_id)[:60].strip('.')}.html"
            body = session_body(inner, Part(session, None, 0), None)
            text = page(inner, title(session), body, place="session", policy=_POLICY)
            (folder / file).write_text(text, encoding="utf-8")
            files[session.session_id] = file
            rows.append(_row(session))
            search.write(f"{json_text(_searchable(session, file))},\n")
        search.write("];\n")
    outer = replace(outer, links=SiteLinks("", files))
    if figures is not None:
        shown = ["<h1>Dashboard</h1>\n", *dashboard_body(outer, read_query([]), figures)]
        text = page(outer, "Dashboard", shown, place="dashboard", policy=_POLICY)
        (folder / "dashboard.html").write_text(text, encoding="utf-8")
    text = page(outer, "Sessions", _index(outer, rows), policy=_POLICY)
    (folder / "index.html").write_text(text, encoding="utf-8")


def _index(view: View, rows: list[_Row]) -> Iterator[str]:
    yield '<h1 class="hidden">Sessions</h1>\n'
    yield (
        '<search class="filters"><label class="search"><span>Search</span><input type="search" id="q" '
        'autocomplete="off" placeholder="Words that were said, names, tags, users"></label></search>\n'
        '<div id="found" role="status"></div>\n<div id="results">'
    )
    yield from session_table(view, rows, "")
    yield "</div>\n"


def _row(session: Session) -> _Row:
    runs = session.runs
    metrics = [run.metrics for run in runs if run.metrics is not None]
    ratings: dict[str, int] = {}
    for run in runs:
        if run.rating:
            ratings[run.rating] = ratings.get(run.rating, 0) + 1
    times = [entry.created_at for entry in session.history if entry.created_at is not None]
    return _Row(
        session.session_id,
        one_line(title(session)),
        session.kind,
        session.entity_id,
        session.user_id,
        tuple(session.tags),
        len(runs),
        sum(run.status == "error" for run in runs),
        runs[-1].status if runs else None,
        sum(one.input_tokens or 0 for one in metrics),
        sum(one.output_tokens or 0 for one in metrics),
        sum(one.duration_seconds or 0.0 for one in metrics),
        ratings,
        max(times, default=session.created_at),
    )


def _searchable(session: Session, file: str) -> dict[str, Any]:
    """Return what the search knows of a session: its names, and the texts of its runs with their anchors."""
    from localstore.exporting.html_run import Anchors

    anchors = Anchors()
    names = [title(session), session.session_id, session.user_id, session.entity_id, *session.tags]
    runs = [
        [anchors.new("run", run.run_id), "\n".join(message.text for message in run.messages)[:_MOST_TEXT]]
        for run in session.runs
    ]
    return {"file": file, "title": one_line(title(session)), "names": " · ".join(filter(None, names)), "runs": runs}
