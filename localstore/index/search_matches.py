"""Ask the search index which entries match a query: newest first or best first, and only as many as are used."""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from localstore.index.search_query import WordQuery

_FIRST_PAGE, _SECOND_PAGE, _ALL = 60, 500, -1
"""How many matches the statements return. Few searches need more than the first page."""
_RARE = 500
"""Up to how many matches are sorted by time. Of more, the newest entries are compared with the set of all matches,
because soon enough of them are in it."""
_COMMON = 10_000
"""From how many matches on, the newest entries are looked up one by one at first, which needs no set of all matches."""
_AT_ONCE = 50
"""How many entries one statement looks up."""
_MOST_LOOKED_UP = 300
"""After how many of the newest entries the set of all matches is made after all."""

_MATCHES = """
    SELECT session_id, position, start, state, title FROM ({entries}) AS found
    JOIN session ON session.number = found.session ORDER BY {order}"""
_BY_TIME = "created DESC, found.number DESC"
_SORTED = _MATCHES.format(
    entries="""
        SELECT entry.* FROM body CROSS JOIN entry ON entry.number = body.rowid WHERE body MATCH :query
        ORDER BY created DESC, entry.number DESC LIMIT :limit""",
    order=_BY_TIME,
)
_IN_SET = _MATCHES.format(
    entries="""
        SELECT * FROM entry INDEXED BY entry_by_time
        WHERE +number IN (SELECT rowid FROM body WHERE body MATCH :query)
        ORDER BY created DESC, number DESC LIMIT :limit""",
    order=_BY_TIME,
)
_OF_SESSIONS = _MATCHES.format(
    entries="""
        SELECT * FROM entry INDEXED BY entry_of_session
        WHERE session IN (SELECT number FROM session WHERE session_id IN ({names}))
        AND +number IN (SELECT rowid FROM body WHERE body MATCH :query)
        ORDER BY created DESC, number DESC LIMIT :limit""",
    order=_BY_TIME,
)
_RANKED = _MATCHES.format(
    entries="""
        SELECT entry.*, body.rank AS place FROM body CROSS JOIN entry ON entry.number = body.rowid
        WHERE body MATCH :query ORDER BY place, created DESC, entry.number DESC LIMIT :limit""",
    order=f"place, {_BY_TIME}",
)
_AMONG_NEWEST = _MATCHES.format(
    entries="""
        SELECT * FROM (SELECT * FROM entry ORDER BY created DESC, number DESC LIMIT :limit OFFSET :begin) AS newest
        WHERE EXISTS (SELECT 1 FROM body WHERE body MATCH :query AND rowid = newest.number)""",
    order=_BY_TIME,
)
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM body WHERE body MATCH :query LIMIT :limit)"
_Result = TypeVar("_Result")


class Match(NamedTuple):
    """An entry, or the header of a session, that matched when the session was indexed."""

    session_id: str
    position: int
    start: int
    """The offset of the entry in the file, or `NOWHERE`."""
    state: str
    title: str


class QueryRefused(Exception):
    """Raised if SQLite cannot process a query, such as one of very many words."""


class Connections(Protocol):
    """Gives a function a connection to the index."""

    def use(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Return the result of `work`, which is called with an open connection."""


def matches_in_parts(
    index: Connections, query: WordQuery, session_ids: Collection[str] | None, *, rank: bool
) -> Iterator[list[Match]]:
    """Yield the matches in order, newest first or, with `rank`, best first. The parts overlap.

    `session_ids` are a few sessions to search, None for all. With `rank`, there are matches of others, too.

    Each part is the result of one statement, so that no entry is missed that is indexed again at the same time. Raises
    QueryRefused, sqlite3.Error.
    """
    expression = query.expression()
    statement = _RANKED if rank else _SORTED
    names: dict[str, str] = {}
    if session_ids is not None and not rank:
        names = {f"name_{number}": session_id for number, session_id in enumerate(session_ids)}
        statement = _OF_SESSIONS.replace("{names}", ", ".join(f":{name}" for name in names))
    elif not rank and not query.has_prefix:  # SQLite merges the entries of all words with a prefix in each statement
        count = index.use(partial(_count, expression=expression))
        if count > _COMMON:
            for begin in range(0, _MOST_LOOKED_UP, _AT_ONCE):
                yield index.use(partial(_matches, _AMONG_NEWEST, expression, names, limit=_AT_ONCE, begin=begin))
        if count > _RARE:
            statement = _IN_SET
    for limit in (_FIRST_PAGE, _SECOND_PAGE, _ALL):
        matches = index.use(partial(_matches, statement, expression, names, limit=limit))
        yield matches
        if len(matches) < limit:
            break


def _count(connection: sqlite3.Connection, *, expression: str) -> int:
    """Return how many entries match, at most one more than `_COMMON`. Outdated entries count too."""
    count: int = _fetch(connection, _COUNT, query=expression, limit=_COMMON + 1)[0][0]
    return count


def _matches(
    statement: str, expression: str, names: Mapping[str, str], connection: sqlite3.Connection, **values: int
) -> list[Match]:
    return [Match(*row) for row in _fetch(connection, statement, query=expression, **names, **values)]


def _fetch(connection: sqlite3.Connection, statement: str, **values: str | int) -> list[Any]:
    """Return the result of a statement with a full-text query. Raises QueryRefused."""
    try:
        return connection.execute(statement, values).fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            raise QueryRefused(str(error)) from None
        raise
