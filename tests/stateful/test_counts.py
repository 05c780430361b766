"""Filters, counts and stats agree with a count over the raw files, after any operations and edits by hand."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localstore import Filter, JsonStorage, Message, Metrics, Run, YamlStorage
from localstore.models.stats import GROUP_KEYS, GroupKey
from tests import oracle
from tests.effort import rounds
from tests.stateful import by_hand

Storage = JsonStorage | YamlStorage
USERS = ("alice", "bob", None)
MODELS = ("big", "small-2026-01-01", None)
TAGS = ("travel", "work", "x", "archived")
NAMES = ("Trip to Vienna", "a trip", "Straße", None)
MONTHLY = tuple(name for name in GROUP_KEYS if name != "day")
"""The groups that are counted without reading documents."""
NUMBERS = ("sessions", "runs", "failures", "input_tokens", "output_tokens", "cached_tokens", "milliseconds")
PRICES = {"big": (10, 20), "small": (1.0, 2.0, 0.5)}


class Chance(random.Random):
    """Random runs and filters."""

    def run(self, **fields: Any) -> Run:
        status = self.choice(("completed", "completed", "error", "cancelled"))
        members = [
            Run(run_id=f"m{number}", model=self.choice(MODELS), metrics=self.metrics(9))
            for number in range(self.choice((0, 0, 0, 1, 2)))
        ]
        values: dict[str, Any] = {
            "run_id": f"r{self.randrange(10**9)}",
            "created_at": self.time(),
            "messages": [Message(role="user", content="Question?")],
            "model": self.choice(MODELS),
            "status": status,
            "error": "offline" if status == "error" else None,
            "metrics": self.metrics(1000),
            "member_runs": members or None,
            "rating": self.choice(("good", "bad", None, None)),
        }
        return Run(**values | fields)

    def metrics(self, most: int) -> Metrics | None:
        if self.random() < 0.3:
            return None
        return Metrics(
            input_tokens=self.choice((None, 0, most)),
            output_tokens=self.choice((None, 7)),
            cached_tokens=self.choice((None, most // 2)),
            duration_seconds=self.choice((None, 0.25, 1.5)),
        )

    def time(self) -> datetime:
        return datetime(2026, self.randint(8, 11), self.randint(1, 20), self.randrange(24), tzinfo=UTC)

    def filter(self) -> Filter:
        since = self.time()
        fields: dict[str, Any] = {
            "user": self.choice(("alice", "bob", "carol")),
            "entity": "guide",
            "kind": "agent",
            "name": self.choice(("TRIP", "strasse", "vienna")),
            "tag": self.sample(TAGS, self.randint(0, 2)),
            "model": self.choice(("big", "small-2026-01-01")),
            "status": self.choice(("completed", "error", "cancelled", "unfinished")),
            "rating": self.choice(("good", "bad")),
            "since": since,
            "until": since + timedelta(days=self.randint(1, 60)),  # a filter without a period is an error
            "archived": self.choice((True, False)),
            "sub_sessions": self.choice((True, False)),
        }
        return Filter(**{name: fields[name] for name in self.sample(sorted(fields), self.choice((1, 1, 2, 3)))})


# What a count over the raw files says


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _runs(document: oracle.Document) -> list[dict[str, Any]]:
    return [entry for entry in document.history if entry["type"] == "run"]


def _status(document: oracle.Document) -> str | None:
    return next((run.get("status", "completed") for run in reversed(_runs(document))), None)


def _tokens(run: dict[str, Any]) -> list[int]:
    metrics = run.get("metrics", {})
    return [metrics.get(name, 0) for name in ("input_tokens", "output_tokens", "cached_tokens")]


def _shares(run: dict[str, Any]) -> list[tuple[str | None, list[int]]]:
    """What a run adds to each model: runs, failures, tokens, milliseconds. Tokens of its members are not its own."""
    if run.get("status") == "unfinished":
        return [(None, [1, 0, 0, 0, 0, 0])]
    members = [(member.get("model"), _tokens(member)) for member in run.get("member_runs", [])]
    own = [max(0, number - sum(tokens[at] for _, tokens in members)) for at, number in enumerate(_tokens(run))]
    milliseconds = round(1000 * run.get("metrics", {}).get("duration_seconds", 0))
    first = (run.get("model"), [1, int(run.get("status") == "error"), *own, milliseconds])
    return [first, *((model, [0, 0, *tokens, 0]) for model, tokens in members if model or any(tokens))]


def matches(document: oracle.Document, where: Filter) -> bool:
    header, finished = document.header, [run for run in _runs(document) if run.get("status") != "unfinished"]
    active_at = _time(document.updated_at)
    models = {model for run in _runs(document) for model, _ in _shares(run)}
    return (
        where.user in (None, header.get("user_id"))
        and where.entity in (None, header.get(f"{header['kind']}_id"))
        and where.kind in (None, header["kind"])
        and (where.name is None or where.name.casefold() in header.get("name", "").casefold())
        and set(where.tag or ()) <= set(header.get("tags", []))
        and where.sub_sessions in (None, "part_of" in header)
        and where.archived in (None, "archived" in header.get("tags", []))
        and (where.model is None or where.model in models)
        and where.status in (None, _status(document))
        and (where.rating is None or where.rating in [run.get("rating") for run in finished])
        and (where.since is None or (isinstance(where.since, datetime) and active_at >= where.since))
        and (where.until is None or (isinstance(where.until, datetime) and active_at < where.until))
    )


def counted(documents: list[oracle.Document], by: tuple[GroupKey, ...]) -> dict[tuple[str | None, ...], Counter[str]]:
    """The numbers of each group."""
    groups: dict[tuple[str | None, ...], Counter[str]] = {}
    for document in documents:
        header, seen = document.header, set()
        shares = [(run["created_at"], *share) for run in _runs(document) for share in _shares(run)]
        for time, model, numbers in shares or [(header["created_at"], None, [0] * 6)]:
            values: dict[GroupKey, str | None] = {
                "user": header.get("user_id"),
                "month": f"{_time(time):%Y-%m}",
                "day": f"{_time(time):%Y-%m-%d}",
                "model": model,
                "entity": header.get(f"{header['kind']}_id"),
                "status": _status(document),
            }
            key = tuple(values[name] for name in by)
            group = groups.setdefault(key, Counter())
            group.update(dict(zip(NUMBERS, [int(key not in seen), *numbers], strict=True)))
            seen.add(key)
    return groups


def _pages(storage: Storage, where: Filter, *, newest_first: bool) -> list[str]:
    """The ids in pages of two sessions."""
    found: list[str] = []
    cursor = None
    while page := storage.list_sessions(where=where, limit=2, after=cursor, newest_first=newest_first):
        found += [info.session_id for info in page]
        cursor = page[-1].cursor
    return found


def assert_counts(storage: Storage, chance: Chance) -> None:
    documents = oracle.sessions(storage.root)
    for where in (Filter(), chance.filter(), chance.filter()):
        expected = {session_id for session_id, document in documents.items() if matches(document, where)}
        assert storage.count(where) == len(expected), where
        infos = list(storage.sessions(where))
        assert {info.session_id for info in infos} == expected, where
        assert all(info.matches(where) for info in infos)
        listed = [info.session_id for info in storage.list_sessions(where=where)]
        assert [info.session_id for info in infos] == listed, where
        assert _pages(storage, where, newest_first=True) == listed, where
        assert _pages(storage, where, newest_first=False) == listed[::-1], where
        for by in (GROUP_KEYS, MONTHLY, *((name,) for name in GROUP_KEYS)):
            groups = counted([documents[session_id] for session_id in expected], by)
            stats = storage.stats(where, by=by)
            found = {
                tuple(getattr(group, name) for name in by): [
                    *(getattr(group, name) for name in NUMBERS[:-1]),
                    round(1000 * group.seconds),
                ]
                for group in stats.groups
            }
            assert found == {key: [group[name] for name in NUMBERS] for key, group in groups.items()}, (where, by)
            assert stats.total.sessions == len(expected)
            assert stats.total.runs == sum(group["runs"] for group in groups.values())


# What happens to the store


def append(storage: Storage, chance: Chance, session_id: str) -> None:
    storage.append(session_id, chance.run())


def grow(storage: Storage, chance: Chance, session_id: str) -> None:
    """Store the question, perhaps something else, and perhaps the finished run."""
    run = Run(run_id=f"r{chance.randrange(10**9)}", status="unfinished", created_at=chance.time())
    storage.append(session_id, run)
    if chance.random() < 0.3:
        append(storage, chance, session_id)
    if chance.random() < 0.7:
        created_at = chance.time() if chance.random() < 0.1 else run.created_at
        storage.append(session_id, chance.run(run_id=run.run_id, created_at=created_at))


def change_header(storage: Storage, chance: Chance, session_id: str) -> None:
    name, tags = chance.choice(NAMES), chance.sample(TAGS, chance.randint(0, 2))
    storage.update(session_id, name=name, tags=tags)


def change_state(storage: Storage, chance: Chance, session_id: str) -> None:
    storage.update(session_id, session_state={"n": chance.randrange(9)})


def rate(storage: Storage, chance: Chance, session_id: str) -> None:
    session = storage.read(session_id)
    assert session is not None
    if session.runs:
        storage.rate(session_id, chance.choice(session.runs).run_id, chance.choice(("good", "bad", None)))


def rewrite(storage: Storage, chance: Chance, session_id: str) -> None:
    """Remove an entry, change a run and add one."""
    session = storage.read(session_id)
    assert session is not None
    if session.history:
        session.history.pop(chance.randrange(len(session.history)))
    if session.runs:
        session.runs[0].model = chance.choice(MODELS)
    session.history.append(chance.run())
    storage.upsert(session)


def take_back(storage: Storage, chance: Chance, session_id: str) -> None:
    session = storage.read(session_id)
    assert session is not None
    if chance.random() < 0.5 and session.runs:
        storage.fork(session_id, chance.choice(session.runs).run_id)
    elif session.runs:
        storage.undo(session_id)


def delete(storage: Storage, chance: Chance, session_id: str) -> None:
    storage.delete_session(session_id)


def remove_by_hand(storage: Storage, chance: Chance, session_id: str) -> None:
    by_hand.locate(storage.root, session_id).unlink()


def move_by_hand(storage: Storage, chance: Chance, session_id: str) -> None:
    path = by_hand.locate(storage.root, session_id)
    by_hand.move(
        path, storage.root / "sessions" / f"2026-0{chance.randint(1, 9)}" / f"{chance.randrange(99)}{path.name}"
    )


def copy_by_hand(storage: Storage, chance: Chance, session_id: str) -> None:
    path = by_hand.locate(storage.root, session_id)
    copy = f"copy-{chance.randrange(10**9)}"
    path.with_name(f"{copy}{path.suffix}").write_bytes(by_hand.rename_session(path.read_bytes(), path.suffix, copy))


def restyle_by_hand(storage: Storage, chance: Chance, session_id: str) -> None:
    path = by_hand.locate(storage.root, session_id)
    by_hand.write_by_rename(path, by_hand.restyle(path.read_bytes(), path.suffix, chance.randrange(20)))


_EDITS = (
    (rb'(user_id"?: "?)\w+', rb"\1carol"),
    (rb'(status"?: "?)(completed|cancelled)', rb"\1error"),
    (rb'(tokens"?: )7\b', rb"\g<1>8"),
    (rb'(model"?: "?)big', rb"\1small-2026-01-01"),
    (rb'(rating"?: "?)good', rb"\1bad"),
    (rb'(name"?: "?)Trip to', rb"\1Trains from"),
    (rb'(created_at"?: "?)2026-\d\d-\d\dT\d\d:00:00.000Z', rb"\g<1>2026-10-31T23:30:00-02:00"),
)


def edit_by_hand(storage: Storage, chance: Chance, session_id: str) -> None:
    path = by_hand.locate(storage.root, session_id)
    pattern, new = chance.choice(_EDITS)
    write = chance.choice((by_hand.write_in_place, by_hand.write_by_rename))
    write(path, re.sub(pattern, new, path.read_bytes(), count=chance.randint(0, 3)))


def forget(storage: Storage, chance: Chance, session_id: str) -> None:
    """Delete what is derived from the documents."""
    for path in [storage.root / "manifest.jsonl", *(storage.root / ".localstore").glob("*manifest*")]:
        path.unlink(missing_ok=True)


OPERATIONS: tuple[Callable[[Storage, Chance, str], None], ...] = (
    *(append, append, grow, grow, change_header, change_state, rate, rewrite, take_back, delete, remove_by_hand),
    *(move_by_hand, copy_by_hand, restyle_by_hand, edit_by_hand, edit_by_hand, edit_by_hand, forget),
)


@pytest.mark.parametrize("seed", range(rounds(1, 6, 500)))
@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage], ids=["json", "yaml"])
def test_counts_are_those_of_the_raw_files(kind: type[Storage], seed: int, tmp_path: Path) -> None:
    """Of a storage that is open all the time, of one beside it, and of a new one."""
    chance = Chance(f"{kind.__name__} {seed}")
    storage, other = kind(tmp_path), kind(tmp_path)
    for number in range(60):
        session_ids = sorted(oracle.sessions(tmp_path))
        if len(session_ids) < 2 or (chance.random() < 0.15 and len(session_ids) < 9):
            user, entity = chance.choice(USERS), chance.choice(("guide", None))
            team = "team" if chance.random() < 0.3 else None
            storage.append(f"s|{number}", chance.run(), user_id=user, entity_id=entity, kind=team)
        else:
            chance.choice(OPERATIONS)(chance.choice((storage, other)), chance, chance.choice(session_ids))
        if number % 3 == 0:
            assert_counts(chance.choice((storage, other)), chance)
    for handle in (storage, other, kind(tmp_path)):
        assert_counts(handle, chance)
