"""Search the sessions of a store: bring the index up to date, ask it, and read the documents of the hits."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from localstore.disk import filesystem
from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.engine.engine import Engine
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import LayoutMismatch
from localstore.format.entry_texts import entry_texts, header_texts
from localstore.format.words import composed
from localstore.index.row import IndexRow
from localstore.index.search_content import NOWHERE, Content, StablePart, read_content, state_of
from localstore.index.search_index import HEADER, SearchIndex, title_of
from localstore.index.search_matches import Match, QueryRefused
from localstore.index.search_query import LiteralQuery, Matcher, Places, WordQuery, parse_query
from localstore.models.filter import Filter
from localstore.models.search_hit import SearchHit
from localstore.models.times import parse_time
from localstore.storage.search_listing import SearchListing

_PATIENCE = 2.0
"""For how many seconds to wait for the writer of a document that seems broken."""
_FEW = 500
"""Up to how many sessions that match a filter are listed before the words are looked up."""
_BEFORE, _LONGEST = 40, 200
"""How many characters of a snippet may stand before the first word, and how many a snippet has."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""The place in the order of an entry whose time cannot be read."""
_NOTHING = StablePart()
_UNKNOWN = Content("")
"""The content of a document that cannot be read. Its state is unknown, so that the next search reads it again."""


class Search:
    """Searches the documents of an open store. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._index = SearchIndex(engine.root, engine.locks, engine.progress)
        self._listing = SearchListing(engine)

    def close(self) -> None:
        """Close the file of the index, unless another thread uses it."""
        self._index.close()

    def hits(self, text: str, where: Filter, *, literal: bool, rank: bool, sweep: bool) -> Iterator[SearchHit]:
        """Yield the entries that have the words of `text`, newest first; with `rank`, the best ones first.

        With `literal`, or if `text` has no words, entries that have exactly this text. Only the sessions that match
        the filter are searched. Without `sweep`, documents are taken to be as their rows say.
        """
        query = None if literal else parse_query(text)
        if query is None:
            yield from self._scan(LiteralQuery(composed(text)), where)
            return
        try:
            states = self._listing.states(self._index.states, sweep=sweep)
            self._index.update(states, self._content, self._listing.removed)
            rows = self._engine.rows(where, _FEW + 1) if where else []
            if len(rows) > _FEW:  # most hits will be in one of so many: their rows are asked
                yield from self._verified(self._index.matches(query, None, rank=rank), query, where)
            else:
                chosen = [row["session_id"] for row in rows] if where else None
                yield from self._verified(self._index.matches(query, chosen, rank=rank), query, Filter())
        except (sqlite3.Error, QueryRefused):
            yield from self._scan(query, where)

    # Reading documents

    def _content(self, session_id: str, before: StablePart = _NOTHING) -> Content:
        """Return what the index needs to know of a session. A document that cannot be read has no entries."""
        row = self._engine.locate(session_id)
        return _UNKNOWN if row is None else self._content_of(row, before)

    def _content_of(self, row: IndexRow, before: StablePart = _NOTHING) -> Content:
        try:
            return self._read(row, before)
        except (LocalstoreError, OSError):
            return _UNKNOWN

    def _read(self, row: IndexRow, before: StablePart) -> Content:
        """Read a document. One that seems broken may be one that is being written, and is read again under its lock."""
        locks = self._engine.locks
        try:
            return read_content(self._engine.root, row, locks, before)
        except DocumentBroken:
            if not locks.has_been_used(row["session_id"]):
                raise
            with locks.session(row["session_id"], min(_PATIENCE, self._engine.timeout)):
                return read_content(self._engine.root, row, locks, before)

    # Hits

    def _verified(self, matches: Iterable[Match], query: WordQuery, where: Filter) -> Iterator[SearchHit]:
        """Yield a hit for each match in a session that the filter selects, if its document still has the words."""
        rows: dict[str, IndexRow | None] = {}
        whole: dict[str, Content] = {}
        for match in matches:
            if match.session_id not in rows:
                found = self._engine.locate(match.session_id)
                is_selected = found is not None and (not where or self._engine.select([found], where))
                rows[match.session_id] = found if is_selected else None
            row = rows[match.session_id]
            record = None if row is None else self._record(match, row, whole)
            if row is not None and record is not None:
                yield from hits_in(row, match.title, match.position, record, query)

    def _record(self, match: Match, row: IndexRow, whole: dict[str, Content]) -> dict[str, Any] | None:
        """Return the entry or the header of a match as the document has it now, or None if it is not there.

        `whole` are the documents that had to be read as a whole so far.
        """
        if match.start != NOWHERE:
            try:
                with DocumentFile(f"{self._engine.root}/{row['path']}") as file:
                    if state_of(row["path"], fingerprint(file.status)) == match.state:
                        return file.entry_at(match.start)
            except (LayoutMismatch, LocalstoreError, OSError):
                pass
        if match.session_id not in whole:
            whole[match.session_id] = self._content_of(row)
        content = whole[match.session_id]
        if match.position == HEADER:
            return content.header
        return content.entries[match.position] if match.position < len(content.entries) else None

    def _scan(self, query: Matcher, where: Filter) -> Iterator[SearchHit]:
        """Yield the hits of a query without the index: read every document. Newest first."""
        hits = []
        for row in reversed(self._engine.rows(where)):
            if isinstance(query, LiteralQuery) and not self._may_hold(row, query.text):
                continue
            content = self._content_of(row)
            title = title_of(content)
            if content.header is not None:
                hits += hits_in(row, title, HEADER, content.header, query)
            for position, entry in enumerate(content.entries):
                hits += hits_in(row, title, position, entry, query)
        yield from sorted(hits, key=_time_of, reverse=True)

    def _may_hold(self, row: IndexRow, text: str) -> bool:
        """Return whether the file of a row may have a literal text: whether it needs to be parsed."""
        word = max(_ASCII_WORD.findall(text), key=len, default="").encode()
        if not word:
            return True
        try:
            raw = filesystem.read_file(f"{self._engine.root}/{row['path']}")
        except OSError:
            return True
        return any(part in raw for part in (word, *_UNUSUAL)) or _ESCAPE.search(raw) is not None


_ASCII_WORD = re.compile("[A-Za-z0-9]+")
_ESCAPE = re.compile(rb"\\[uUx\r\n]")
"""The beginning of what may stand for a letter or digit in a document, or for nothing within a word."""
_UNUSUAL = (b"\0", "\u212a".encode())
"""NUL bytes, as in UTF-16, and the sign of Kelvin, which is a K when it is composed."""


def hits_in(row: IndexRow, title: str, position: int, record: dict[str, Any], query: Matcher) -> list[SearchHit]:
    """Return the hit for an entry, or for the header if `position` is `HEADER`. Return [] if it does not match."""
    texts = header_texts(record) if position == HEADER else entry_texts(record)
    if not query.matches(texts):
        return []
    best = max(texts, key=lambda text: query.count(composed(text.text)))  # of several with as many words, the first
    text = composed(best.text)
    snippet, places_in_it = _snippet(text, query.places(text))
    run_id = record.get("run_id") if record.get("type") == "run" else None
    created_at = record.get("created_at")
    hit = SearchHit(
        session_id=row["session_id"],
        title=title,
        user_id=row.get("user_id"),
        run_id=run_id if isinstance(run_id, str) else None,
        run_number=_run_number(row, position) if record.get("type") == "run" else None,
        entry=None if position == HEADER else position,
        message=best.message,
        role=best.role,
        field=best.field,
        snippet=snippet,
        places=places_in_it,
        created_at=parse_time(created_at) if isinstance(created_at, str) else None,
    )
    return [hit]


def _run_number(row: IndexRow, position: int) -> int | None:
    """Return the number of the run at this position, or None if the row does not say how many entries are no runs."""
    if position == 0 or row["runs"] == row["entries"]:
        return position + 1
    return row["runs"] if position == row["entries"] - 1 else None


def _snippet(text: str, places: Places) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return a part of the text with the first of the places, on one line, and the places that are in it."""
    first, first_end = places[0]
    begin = first - _BEFORE if first > _BEFORE else 0
    if begin:
        space = text.find(" ", begin, first)
        begin = begin if space < 0 else space + 1
    end = max(begin + _LONGEST, first_end)
    if end < len(text):
        space = text.rfind(" ", first_end, end)
        end = end if space < 0 else space
    left, right = "…" if begin else "", "…" if end < len(text) else ""
    shift = len(left) - begin
    shown = tuple((start + shift, stop + shift) for start, stop in places if begin <= start and stop <= end)
    return left + _SPACE.sub(" ", text[begin:end]) + right, shown


_SPACE = re.compile(r"\s")


def _time_of(hit: SearchHit) -> datetime:
    return hit.created_at or _LONG_AGO
