"""The search index of a store: which words occur in which entries of which sessions."""

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from localstore.disk.locks import LockPool
from localstore.disk.store_tree import SEARCH_FILE
from localstore.format.entry_texts import FoundText, entry_texts, header_texts
from localstore.format.item_messages import item_messages
from localstore.format.words import spaced
from localstore.index.overview import question_of
from localstore.index.search_content import NOWHERE, Content, StablePart
from localstore.index.search_matches import Match, matches_in_parts
from localstore.index.search_query import WordQuery
from localstore.index.sqlite_file import Layout, SqliteFile, is_busy
from localstore.models.excerpt import one_line
from localstore.models.progress import Progress
from localstore.models.times import parse_time

_LAYOUT = Layout(
    application=0x6C73_6678,
    format=1,
    statements="""
    CREATE TABLE session(
        number INTEGER PRIMARY KEY, session_id TEXT UNIQUE NOT NULL, state TEXT NOT NULL, title TEXT NOT NULL,
        settled INTEGER NOT NULL, size INTEGER NOT NULL, digest BLOB NOT NULL);
    CREATE TABLE entry(
        number INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, position INTEGER NOT NULL,
        start INTEGER NOT NULL, created INTEGER NOT NULL);
    CREATE INDEX entry_of_session ON entry(session, position);
    CREATE INDEX entry_by_time ON entry(created);
    CREATE VIRTUAL TABLE body USING fts5(text, content='', tokenize='ascii');
    INSERT INTO body(body, rank) VALUES ('hashsize', 16777216);
    """,
)
HEADER = -1
"""The position of the texts of the header, which come before the first entry."""
_BATCH = 4_000_000
"""How many characters are indexed in one transaction. Other processes may search and index between two of them."""
_SPARE_ENTRIES = 1000
"""How many outdated entries are always allowed. More, if they outnumber the others, are removed with all others."""
_WORTH_MERGING = 5000
"""From how many added entries on, if they are a quarter of all, the index is merged at the end of an update."""
_MERGED_AT_ONCE = 500
"""How many pages are merged in one transaction. Other processes may search and index between two of them."""
_BETWEEN_TEXTS = " \ue000 "
"""A word of its own that no text has. It keeps a phrase from matching across two texts."""


class _Indexed(NamedTuple):
    """What the table of sessions has of one that is indexed again."""

    number: int
    title: str
    stable: StablePart


class _Row(NamedTuple):
    """An entry to be indexed."""

    created: int
    session: int
    position: int
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class States:
    """The states of the documents of all sessions at one moment. No mapping here is changed after it was made."""

    of: Mapping[str, str]
    """The state of each session, as `state_of` returns it, oldest activity first."""
    before: Mapping[str, str] | None = None
    """States of an earlier moment; None if what changed since then is not known."""
    changed: Collection[str] = ()
    """The sessions that may have changed since then."""


class _Busy(Exception):
    """Another process holds the index, and has added to it since the last attempt if `progress` is true."""

    def __init__(self, *, progress: bool) -> None:
        super().__init__()
        self.progress = progress


ReadContent = Callable[[str, StablePart], Content]
FindRemoved = Callable[[Mapping[str, str]], list[str]]


class SearchIndex:
    """Finds words in the entries of all sessions. `update` brings it up to date, and `matches` asks it."""

    def __init__(self, root: str, locks: LockPool, progress: Progress | None) -> None:
        """`progress` is called while `update` reads documents."""
        self._progress = progress
        self._file = SqliteFile(root, SEARCH_FILE, _LAYOUT, locks)
        self._sessions: Mapping[str, str] = {}
        """The states in the table `session`, as they were in the version `_version`. The lock of the file guards both.

        Nothing else of the table is loaded: a search in a large store compares the states of all sessions. The mapping
        is replaced and never changed, so that it can be that of the last update."""
        self._version: tuple[int, int] | None = None

    def close(self) -> None:
        """Close the file, unless another thread uses it. The next call opens it again."""
        self._file.close()

    def discard(self) -> None:
        """Remove the file with every word that it ever had. The next search makes it again."""
        self._file.discard()

    def states(self) -> Mapping[str, str]:
        """Return the state in which the document of each session was indexed. Raises sqlite3.Error."""
        return self._file.use(self._load)

    # Bringing up to date

    def update(self, states: States, read: ReadContent, removed: FindRemoved) -> None:
        """Index the sessions that changed, and forget those that are gone.

        Several processes may do this at the same time: each transaction does a part of what is left to do. If another
        process holds the index for seconds and adds nothing, an index in memory is used. Raises sqlite3.Error if SQLite
        cannot be used at all.

        Args:
            states: The current states of the documents. Where they are known to follow those of the last update, only
                the sessions that changed are compared.
            read: Returns the content of a session, given the part of its document that is indexed already.
            removed: Returns which of some sessions are removed, given their last states. Another thread or process may
                have indexed a session that was made after `states`.
        """
        if self._file.use(lambda connection: self._sessions is states.of and self._is_loaded(connection)):
            return
        attempted: dict[int, set[str]] = defaultdict(set)
        before = self._file.use(_last_number)
        while True:
            try:
                if self._file.use(
                    lambda connection: self._update_some(
                        connection, states, read, removed, attempted[self._file.opened]
                    )
                ):
                    break
            except _Busy as busy:
                if not busy.progress:
                    self._file.use_memory()
        last = self._file.use(_last_number)
        if last - before >= max(_WORTH_MERGING, last // 4):
            self._merge()

    def _update_some(
        self,
        connection: sqlite3.Connection,
        states: States,
        read: ReadContent,
        removed: FindRemoved,
        attempted: set[str],
    ) -> bool:
        """Do one transaction of the update. Return whether nothing is left to do.

        `attempted` are the sessions that were read for this update. They are not read again if they keep changing.
        """
        before = self._version
        if not any(self._differences(connection, states, attempted)):
            return True
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            raise _Busy(progress=_version(connection) != (before or (0, 0))[1]) from None
        gone, changed = self._differences(connection, states, attempted)
        if gone:
            attempted.update(gone)
            gone = removed({session_id: self._sessions[session_id] for session_id in gone})
        self._version = None  # the sessions in memory are ahead of the file until the end of the transaction
        self._sessions = sessions = {**self._sessions}
        for session_id in gone:
            del sessions[session_id]
            if (indexed := _indexed(connection, session_id)) is not None:
                _forget_entries(connection, indexed.number, HEADER)
                connection.execute("DELETE FROM session WHERE number = ?", (indexed.number,))
        self._index(connection, sessions, changed, read, attempted)
        is_cleared = _clear_if_outdated(connection)
        connection.execute("COMMIT")
        if is_cleared:
            attempted.clear()
        else:
            self._version = self._file.opened, _version(connection)
        return False

    def _merge(self) -> None:
        """Merge what is stored about each word, so that a search looks it up in one place. Searches need not wait."""
        pages = -_MERGED_AT_ONCE  # the first time negative: everything is to be merged
        while self._file.use(partial(_merge_some, pages=pages)):
            pages = _MERGED_AT_ONCE
        self._file.use(_shrink)

    def _differences(
        self, connection: sqlite3.Connection, states: States, attempted: set[str]
    ) -> tuple[list[str], list[str]]:
        """Return the sessions that are gone, and those that are new or changed, in the order of `states`."""
        sessions, current = self._load(connection), states.of
        if sessions is states.before:
            compared = [session_id for session_id in states.changed if session_id not in attempted]
            gone = [session_id for session_id in compared if session_id in sessions and session_id not in current]
            changed = [one for one in compared if one in current and sessions.get(one) != current[one]]
            return gone, changed
        if sessions == current:
            self._sessions = current  # the texts are then in memory once
            return [], []
        gone = [session_id for session_id in sessions if session_id not in current and session_id not in attempted]
        changed = [
            session_id
            for session_id, state in current.items()
            if sessions.get(session_id) != state and session_id not in attempted
        ]
        return gone, changed

    def _load(self, connection: sqlite3.Connection) -> Mapping[str, str]:
        """Return the states of all sessions as they are in the file, read again if another connection changed it."""
        if not self._is_loaded(connection):
            self._sessions = dict(connection.execute("SELECT session_id, state FROM session"))
            self._version = self._file.opened, _version(connection)
        return self._sessions

    def _is_loaded(self, connection: sqlite3.Connection) -> bool:
        """Return whether no other connection has changed the table of sessions since it was read."""
        return self._version == (self._file.opened, _version(connection))

    def _index(
        self,
        connection: sqlite3.Connection,
        states: dict[str, str],
        session_ids: list[str],
        read: ReadContent,
        attempted: set[str],
    ) -> None:
        """Index sessions until the batch is full, and change their states in `states`."""
        rows: list[_Row] = []
        size = 0
        total = len(attempted) + len(session_ids)
        for session_id in session_ids:
            attempted.add(session_id)
            states[session_id], new = self._read_rows(connection, session_id, read)
            rows += new
            size += sum(len(row.text) for row in new)
            if self._progress is not None:
                self._progress(len(attempted), total)
            if size > _BATCH:
                break
        last = _last_number(connection)
        rows.sort(key=lambda row: row.created)  # the index is smaller and faster when it is filled in this order
        connection.executemany(
            "INSERT INTO entry(number, session, position, start, created) VALUES (?, ?, ?, ?, ?)",
            [(number, row.session, row.position, row.start, row.created) for number, row in enumerate(rows, last + 1)],
        )
        connection.executemany(
            "INSERT INTO body(rowid, text) VALUES (?, ?)",
            [(number, row.text) for number, row in enumerate(rows, last + 1)],
        )

    def _read_rows(self, connection: sqlite3.Connection, session_id: str, read: ReadContent) -> tuple[str, list[_Row]]:
        """Read a session, update its line in the table of sessions, and return its state and the rows to add."""
        indexed = _indexed(connection, session_id)
        content = read(session_id, indexed.stable if indexed is not None else StablePart())
        title = indexed.title if indexed is not None and content.first else ""
        title = title or title_of(content)
        if indexed is None:
            cursor = connection.execute(
                "INSERT INTO session(session_id, state, title, settled, size, digest) VALUES (?, '', '', 0, 0, x'')",
                (session_id,),
            )
            number = cursor.lastrowid or 0
        else:
            number = indexed.number
            _forget_entries(connection, number, content.first or HEADER)
        stable = content.stable
        connection.execute(
            "UPDATE session SET state = ?, title = ?, settled = ?, size = ?, digest = ? WHERE number = ?",
            (content.state, title, stable.entries, stable.size, stable.digest, number),
        )
        return content.state, list(_rows(number, content))

    # Asking

    def matches(self, query: WordQuery, session_ids: Iterable[str] | None, *, rank: bool = False) -> Iterator[Match]:
        """Yield the entries that match, newest first; with `rank`, the best ones first.

        `session_ids` are the sessions to search, a few; None for all. Raises QueryRefused, sqlite3.Error.
        """
        names = None if session_ids is None else set(session_ids)
        seen: set[tuple[str, int]] = set()
        for matches in matches_in_parts(self._file, query, names, rank=rank):
            for match in matches:
                place = match.session_id, match.position
                if place not in seen and (names is None or match.session_id in names):
                    seen.add(place)
                    yield match


def _indexed(connection: sqlite3.Connection, session_id: str) -> _Indexed | None:
    """Return the line of a session in the table of sessions, or None if it is not indexed."""
    found = connection.execute(
        "SELECT number, title, settled, size, digest FROM session WHERE session_id = ?", (session_id,)
    ).fetchone()
    return None if found is None else _Indexed(found[0], found[1], StablePart(*found[2:]))


def _version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection changes the index."""
    version: int
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return version


def _last_number(connection: sqlite3.Connection) -> int:
    """Return the number of the last entry that was added; it may be outdated. Return 0 if there was none."""
    last: int
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
    return last


def _merge_some(connection: sqlite3.Connection, *, pages: int) -> bool:
    """Merge some pages of the index. Return False if nothing is left to merge, or if it is not possible now."""
    before = connection.total_changes
    try:
        connection.execute("INSERT INTO body(body, rank) VALUES ('merge', ?)", (pages,))
    except sqlite3.OperationalError:  # another process writes, or the disk is full: the index is complete without it
        return False
    return connection.total_changes - before >= 2  # SQLite counts the statement itself as one change


def _shrink(connection: sqlite3.Connection) -> None:
    """Give the pages back to the file system that a merge left empty."""
    with contextlib.suppress(sqlite3.OperationalError):  # as in `_merge_some`
        connection.executescript("PRAGMA incremental_vacuum")  # `execute` would free a single page


def _forget_entries(connection: sqlite3.Connection, session: int, first: int) -> None:
    """Forget the entries of a session from a position on. Their words stay in the index, and lead nowhere."""
    connection.execute("DELETE FROM entry WHERE session = ? AND position >= ?", (session, first))


def _clear_if_outdated(connection: sqlite3.Connection) -> bool:
    """Empty the index if most of its words lead nowhere, so that it is filled again. Return whether it was emptied."""
    added = _last_number(connection)
    (entries,) = connection.execute("SELECT count(*) FROM entry").fetchone()
    if added - entries <= (entries + _SPARE_ENTRIES if entries else 0):
        return False
    connection.execute("INSERT INTO body(body) VALUES ('delete-all')")
    connection.execute("DELETE FROM entry")
    connection.execute("DELETE FROM session")
    connection.execute("DELETE FROM sqlite_sequence")
    return True


def title_of(content: Content) -> str:
    """Return the name of a session, otherwise its first question, on one line and shortened."""
    name = (content.header or {}).get("name")
    if isinstance(name, str) and (title := one_line(name)):
        return title
    questions = (
        question_of(entry if entry.get("type") == "run" else {"messages": item_messages(entry)})
        for entry in content.entries
    )
    return next(filter(None, questions), "")


def _rows(session: int, content: Content) -> Iterator[_Row]:
    if content.header is not None:
        texts = header_texts(content.header)
        if texts:
            yield _Row(_milliseconds(content.header), session, HEADER, NOWHERE, _body(texts))
    for position, (entry, start) in enumerate(zip(content.entries, content.starts, strict=True), content.first):
        texts = entry_texts(entry)
        if texts:
            yield _Row(_milliseconds(entry), session, position, start, _body(texts))


def _body(texts: list[FoundText]) -> str:
    return _BETWEEN_TEXTS.join([spaced(text.text) for text in texts])


def _milliseconds(record: dict[str, Any]) -> int:
    created_at = record.get("created_at")
    time = parse_time(created_at) if isinstance(created_at, str) else None
    return 0 if time is None else int(time.timestamp() * 1000)
