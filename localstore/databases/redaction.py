"""Replace secrets in the sessions of a database, and keep the old sessions in the trash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from localstore.databases.backend import TRASH, Entry, StoredEntry, text_of
from localstore.errors import LockTimeout, NewerFormat, SessionNotFound
from localstore.format.redaction import Redaction, Redactor, Rule
from localstore.format.values import json_equal
from localstore.maintenance.redact import Redacted, RedactedSession
from localstore.maintenance.upgrade.results import Problem
from localstore.models.times import now
from localstore.storage.arguments import not_found

if TYPE_CHECKING:
    from localstore.databases.session_change import SessionChange
    from localstore.databases.writing import DatabaseWriter


class _Found(NamedTuple):
    """What was found in a session, and the session without it. `trashed` is the name of the old one in the trash."""

    redactions: tuple[Redaction, ...]
    header: Entry
    entries: list[Entry]
    is_changed: bool
    trashed: str | None = None


def redact(storage: DatabaseWriter, session_ids: Sequence[str], rules: Sequence[Rule], *, dry_run: bool) -> Redacted:
    """Replace what the rules match, each session in one transaction, and return the result.

    Raises SessionNotFound before anything is changed, and StoreUnavailable: what was redacted until then stays so.
    """
    chosen = [*dict.fromkeys(session_ids)]
    there = {row["session_id"] for row in storage._backend.rows(chosen)}
    for session_id in chosen:
        if session_id not in there:
            raise not_found(session_id)
    at = now()
    found: dict[str, _Found] = {}
    problems: list[Problem] = []
    for session_id in chosen:
        try:
            if dry_run:
                stored = storage._backend.read(session_id)
                if stored is None:
                    raise not_found(session_id)
                found[session_id] = _search(stored.header, stored.entries, rules)
            else:
                found[session_id] = _redact(storage, session_id, rules, at)
        except (LockTimeout, NewerFormat, SessionNotFound) as error:
            problems.append(Problem.of(session_id, error))
    return Redacted(
        sum(one.is_changed for one in found.values()),
        tuple(RedactedSession(name, one.redactions) for name, one in found.items() if one.redactions),
        problems,
        trashed=tuple(one.trashed for one in found.values() if one.trashed is not None),
    )


def _redact(storage: DatabaseWriter, session_id: str, rules: Sequence[Rule], at: str) -> _Found:
    done: list[_Found] = []

    def work(change: SessionChange) -> _Found:
        stored = change.entries()
        one = _search(change.header(), [entry.entry for entry in stored], rules)
        if not one.is_changed:
            return done[0] if done else one  # an earlier call has redacted it before the connection broke
        name = change.set_aside(TRASH, [text_of(change.header()), *(entry.text for entry in stored)], made_at=at)
        change.rewrite(one.header, _same_where_equal(stored, one.entries))
        done[:] = [one._replace(trashed=name)]
        return done[0]

    return storage._change(session_id, None, work)


def _search(header: Entry, entries: Sequence[Entry], rules: Sequence[Rule]) -> _Found:
    redactor = Redactor(rules)
    new_header = redactor.record("header", header)
    new = [redactor.entry(entry, f"history[{number}]") for number, entry in enumerate(entries)]
    is_changed = not (json_equal(new_header, header) and json_equal(new, [*entries]))
    return _Found(tuple(redactor.found), new_header, new, is_changed)


def _same_where_equal(stored: Sequence[StoredEntry], entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, as the stored objects where nothing was replaced: those are not written again."""
    both = zip(stored, entries, strict=True)
    return [one.entry if json_equal(one.entry, entry) else entry for one, entry in both]
