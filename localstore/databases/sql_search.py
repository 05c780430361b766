"""Conditions of SQL for a filter and for a search."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, cast, exists, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import TSQUERY

from localstore.databases.sql_session import LONGEST_WORD
from localstore.databases.sql_tables import Tables, key
from localstore.databases.words import ANYTHING, KELVIN, longest_word
from localstore.index.search_query import LiteralQuery, Term, WordQuery
from localstore.models.filter import ARCHIVED, Filter


def conditions(tables: Tables, where: Filter) -> list[ColumnElement[bool]]:
    """Return conditions for the sessions that match a filter. Where it has a name, they select too many."""
    sessions = tables.sessions.c
    found: list[ColumnElement[bool]] = []
    for column, value in (
        (sessions.user_id, where.user),
        (sessions.entity_id, where.entity),
        (sessions.kind, where.kind),
        (sessions.status, where.status),
    ):
        if value is not None:
            found.append(column == key(value))
    tags = (where.tag,) if isinstance(where.tag, str) else where.tag or ()
    found += [_has(tables, "tag", tag) for tag in tags]
    if where.archived is not None:
        archived = _has(tables, "tag", ARCHIVED)
        found.append(archived if where.archived else ~archived)
    if where.part_of is not None:
        labels = tables.labels.c
        parts = select(labels.session_id).where(labels.kind == "part_of", labels.value.in_(map(key, where.part_of)))
        found.append(sessions.session_id.in_(parts))
    if where.sub_sessions is not None:
        labels = tables.labels.c
        own = labels.session_id == sessions.session_id
        is_part = exists(select(labels.session_id).where(own, labels.kind == "part_of"))
        found.append(is_part if where.sub_sessions else ~is_part)
    if where.model is not None:
        found.append(_has(tables, "model", where.model))
    if where.rating is not None:
        found.append(_has(tables, "rating", where.rating))
    if where.name is not None:
        found.append(sessions.name.is_not(None))
    if where.since_text is not None:
        found.append(sessions.active_at >= where.since_text)
    if where.until_text is not None:
        found.append(and_(sessions.active_at < where.until_text, sessions.active_at > ""))
    return found


def _has(tables: Tables, kind: str, value: str) -> ColumnElement[bool]:
    labels = tables.labels.c
    return exists(
        select(labels.session_id).where(
            labels.session_id == tables.sessions.c.session_id, labels.kind == kind, labels.value == key(value)
        )
    )


def tsquery(query: WordQuery) -> str:
    """Return a query in the syntax of PostgreSQL. It finds all entries that match, and some that do not.

    Words have only letters and digits, so nothing needs an escape. The caller compares phrases.
    """
    wanted = [_lexeme(word, is_last and term.is_prefix) for term in query.terms for word, is_last in _words(term)]
    unwanted = [_lexeme(term.words[0], term.is_prefix) for term in query.excluded if len(term.words) == 1]
    parts = [*wanted, *(f"!{word}" for word in unwanted)]
    return f"({' & '.join(parts)}) | '{ANYTHING}'"


def _words(term: Term) -> list[tuple[str, bool]]:
    return [(word, at == len(term.words) - 1) for at, word in enumerate(term.words)]


def _lexeme(word: str, is_prefix: bool) -> str:
    return f"'{word[:LONGEST_WORD]}'{':*' if is_prefix else ''}"


def may_have(tables: Tables, query: WordQuery | LiteralQuery) -> list[ColumnElement[bool]]:
    """Return conditions for the entries that may have a text, without an index."""
    if isinstance(query, WordQuery):
        return []
    word = longest_word(query.text)
    content = tables.entries.c.content
    return [or_(content.contains(word), content.contains(KELVIN))] if word else []


def full_text(
    tables: Tables, query: WordQuery, *, rank: bool, one_by_one: bool
) -> tuple[list[ColumnElement[bool]], list[ColumnElement[Any]]]:
    """Return the conditions for the entries that the index of words finds, and the order by rank.

    With `one_by_one`, the index is asked for each entry that other conditions select.
    """
    words = tables.words
    if tables.is_postgres:
        asked = cast(tsquery(query), TSQUERY)
        return [words.op("@@", is_comparison=True)(asked)], [func.ts_rank(words, asked).desc()] if rank else []
    found = literal_column(words.table.name).op("MATCH", is_comparison=True)(query.expression())
    own = tables.entries.c.number == words
    if one_by_one:
        return [exists(select(words).where(own, found))], []
    return [own, found], [literal_column("rank")] if rank else []
