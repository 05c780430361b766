"""A small store, every question to it, and the answers of a store that was rebuilt from its documents."""

import os
import shutil
from pathlib import Path
from typing import Any

from localstore import JsonStorage, Message, Run, YamlStorage

Storage = JsonStorage | YamlStorage
_USERS = ("alice", "bob", None)
_KINDS = ("agent", "team")


def run_of(run_id: str, minute: int, **more: Any) -> Run:
    moment = f"2026-11-22T07:{minute:02d}:00.000Z"
    return Run(run_id=run_id, created_at=moment, messages=[Message(role="user", content=run_id)], **more)


def fill(storage: Storage) -> bytes:
    """Twelve sessions of two users and three entities; the manifest as it was before the second half was written."""
    for number in range(8):
        storage.append(
            f"s{number}",
            run_of(f"r{number}", 10 + number),
            user_id=_USERS[number % 3],
            entity_id=f"e{number % 2}",
            kind=_KINDS[number % 2],
        )
    older = (storage.root / ".localstore/manifest.jsonl").read_bytes()
    storage.append("s0", run_of("later", 50))  # the oldest one is the newest by now
    storage.append("s1", run_of("asked", 49, status="unfinished"))
    storage.append("s1", run_of("after", 48, session_state={"n": 1}))
    storage.update("s2", name="a name", tags=["t"])
    storage.delete_session("s3")
    for number in range(8, 12):
        storage.append(f"s{number}", run_of(f"r{number}", 20 + number), user_id=_USERS[number % 3], entity_id="e1")
    os.replace(storage.path("s4"), storage.path("s4").with_name(f"renamed{storage.path('s4').suffix}"))
    return older


_IDS = [f"s{number}" for number in range(12)]
_QUESTIONS = [
    *((user, None, None, limit) for limit in (1, 3) for user in ("alice", None)),
    *(
        (user, entity, kind, None)
        for user in ("alice", "bob", "nobody", None)
        for entity, kind in (("e0", None), ("e1", "agent"), (None, "team"), (None, None))
    ),
]
"""The user, entity, kind and limit of each listing."""


def answers(storage: Storage) -> dict[str, Any]:
    """What a store says to every question, the order included. Listing comes first, while everything is still new."""
    found: dict[str, Any] = {}
    for user, entity, kind, limit in _QUESTIONS:
        listed = [info.as_dict() for info in storage.list_sessions(user, entity, kind, limit)]
        for row in listed:
            row["path"] = os.path.relpath(row["path"], storage.root)
        found[f"{user} {entity} {kind} {limit}"] = listed
    for number, session_id in enumerate(_IDS):
        for last_runs in (None, 1, 0) if number < 3 else (None,):
            session = storage.read(session_id, last_runs=last_runs)
            found[f"{session_id} {last_runs}"] = session and session.model_dump()
    return found


def rebuilt(root: Path, copy: Path) -> dict[str, Any]:
    """The answers of a copy of the tree that has neither a manifest nor an index."""
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("manifest.jsonl", "index.sqlite*", "search.sqlite*"))
    return answers(JsonStorage(copy))
