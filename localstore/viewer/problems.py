"""The page of problems: documents that cannot be read, files that are not read, and what was set aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from localstore.databases.database_storage import DatabaseStorage
from localstore.exporting.html_text import escaped
from localstore.models.figures import counted
from localstore.storage.storage import Storage
from localstore.viewer.frame import View

if TYPE_CHECKING:
    from localstore.maintenance.finding import Finding
    from localstore.storage.contract import SessionStorage

_NEWEST = 500
"""How many of the newest sessions are looked at without a check."""
_MOST = 500
"""How many lines each list shows."""


def problems_body(view: View, storage: SessionStorage, *, is_full: bool) -> Iterator[str]:
    """Yield the main part of the page. With `is_full`, every document is checked."""
    yield "<h1>Problems</h1>\n"
    problems = {info.session_id: info.problem for info in storage.list_sessions(limit=_NEWEST) if info.problem}
    if problems:
        yield _list(f"Sessions that cannot be read ({len(problems):,})", list(problems.items()))
    if isinstance(storage, Storage):
        copies = storage.duplicate_files()
        unreadable = {path: why for path, why in storage.unreadable_files().items() if path not in copies}
        ignored = storage.ignored_files()
        yield from _files("Files that cannot be read", storage, unreadable)
        yield from _files(
            "Copies of sessions, which are not read",
            storage,
            {path: f"is a copy of session {of!r}. 'localstore merge' unites them." for path, of in copies.items()},
        )
        yield from _files("Files that are not read", storage, ignored)
        yield from _rescued(storage)
        if not (problems or unreadable or copies or ignored):
            yield "<p>No problem is known. A check reads every document.</p>\n"
    yield '<section aria-labelledby="check"><h2 id="check">Check every document</h2>\n'
    if is_full:
        yield from _checked(storage)
    else:
        address = view.links.page("problems", check="all")
        yield f'<p><a class="button" href="{escaped(address)}">Check now</a> It reads the whole store.</p>\n'
    yield "</section>\n"


def _files(title: str, storage: Storage, files: Mapping[Path, str]) -> Iterator[str]:
    if files:
        rows = [(_relative(storage, str(path)), problem) for path, problem in files.items()]
        yield _list(f"{title} ({len(files):,})", rows)


def _rescued(storage: Storage) -> Iterator[str]:
    from localstore.maintenance.rescue import rescued

    files = rescued(storage)
    if not files:
        return
    rows = []
    for file in files:
        of = f"session {file.session_id!r}" if file.session_id else "no session"
        rows.append((file.name, f"{file.reason}: {of}, {file.size:,} bytes, {file.set_aside_at}"))
    yield _list(f"Set aside ({len(files):,})", rows)
    yield "<p>Show one with <code>localstore rescue NAME</code>, and put it back with <code>--restore</code>.</p>\n"


def _checked(storage: SessionStorage) -> Iterator[str]:
    from localstore.maintenance.check import check

    findings: Iterable[Finding]
    if isinstance(storage, Storage):
        findings = check(storage)
    elif isinstance(storage, DatabaseStorage):
        findings = storage.check()
    else:
        yield "<p>This kind of storage has no check.</p>\n"
        return
    found = list(findings)
    if not found:
        yield "<p>No findings.</p>\n"
        return
    relative = (lambda path: _relative(storage, path)) if isinstance(storage, Storage) else str
    rows = [(relative(one.place), f"{one.severity}: {one.problem}. {one.advice}") for one in found]
    yield _list(counted(len(found), "finding"), rows)
    if any(one.kind is not None for one in found):
        yield "<p><code>localstore check --repair</code> repairs some of them.</p>\n"


def _list(title: str, rows: list[tuple[str, str]]) -> str:
    lines = "".join(
        f"<li><code><bdi>{escaped(name)}</bdi></code> {escaped(text)}</li>\n" for name, text in rows[:_MOST]
    )
    more = f"<p>and {len(rows) - _MOST:,} more</p>\n" if len(rows) > _MOST else ""
    return f'<section><h2>{escaped(title)}</h2>\n<ul class="problems">\n{lines}</ul>\n{more}</section>\n'


def _relative(storage: Storage, path: str) -> str:
    return path.removeprefix(f"{storage.root}/")
