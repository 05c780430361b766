"""The transcripts of external agents (agno 3.1): `LocalDb` returns what agno's SqliteDb returns."""

import asyncio
import random
from pathlib import Path
from typing import Any

from agno.agents.claude.session_store import AgnoSessionStore
from agno.db.sqlite import SqliteDb

from localstore.integrations.agno_db import LocalDb
from tests.agno_db.parts import AGENT, opened, run, session, store

FRAMEWORK = "claude-agent-sdk"
NAMES = ("trip", "a/b", "Ä %2F")
SUBPATHS = (None, "subagents/agent-1", "subagents/a/b")


def entry(text: str, uuid: str | None = None) -> dict[str, Any]:
    return {"type": "user", "z": [1.5, None], "message": text} | ({} if uuid is None else {"uuid": uuid})


def listed(db: Any, project: str) -> list[str]:
    found = db.list_transcript_sessions(FRAMEWORK, project)
    assert all(isinstance(one["mtime"], int) and one.keys() == {"session_id", "mtime"} for one in found)
    return sorted(one["session_id"] for one in found)


def case_random_transcripts_are_as_in_agnos_own_database(folder: Path) -> None:
    chosen = random.Random(7)
    mine, theirs = opened(folder / "store"), SqliteDb(db_file=str(folder / "theirs.db"))
    for step in range(60):
        project, name = chosen.choice(("p", "p/q")), chosen.choice(NAMES)
        subpath, removed = chosen.choice(SUBPATHS), chosen.choice((None, "", *SUBPATHS[1:]))
        place: dict[str, Any] = {"framework": FRAMEWORK, "project_key": project, "session_id": name}
        for db in (mine, theirs):
            if step % 10 == 9:
                db.delete_transcript(**place, subpath=removed)
                continue
            uuids = [f"{step}-1", f"{step // 3}-1", None]
            entries = [entry(f"{step} {number}", uuid) for number, uuid in enumerate(uuids)]
            db.append_transcript_entries(**place, entries=entries, agno_session_id=f"of {name}", subpath=subpath)
        assert listed(mine, project) == listed(theirs, project)
        paths = mine.list_transcript_subpaths(**place)
        assert paths == theirs.list_transcript_subpaths(**place)
        for path in (None, "", *paths):
            found = mine.get_transcript_entries(**place, subpath=path)
            assert found == theirs.get_transcript_entries(**place, subpath=path)


def case_transcripts_are_deleted_with_their_session(folder: Path) -> None:
    db = opened(folder)
    store(db, session(), run("r1"))
    for name, of, subpath in (("t1", "s1", None), ("t1", "s1", "sub/a"), ("t2", "s2", None)):
        db.append_transcript_entries(FRAMEWORK, "p", name, [entry("hi", "u1")], of, subpath)
    assert [it.session_id for it in db.get_sessions(AGENT)] == ["s1"]
    assert db.delete_session("s1", user_id="bob") is False
    assert listed(db, "p") == ["t1", "t2"]
    assert db.delete_session("s1", user_id="alice") is True
    assert listed(db, "p") == ["t2"]
    assert db.list_transcript_subpaths(FRAMEWORK, "p", "t1") == []
    assert db.get_transcript_entries(FRAMEWORK, "p", "t2") == [entry("hi", "u1")]


def case_the_store_of_agnos_claude_agent_works(folder: Path) -> None:
    async def use(db: LocalDb) -> None:
        kept = AgnoSessionStore(db, "p", "s1")
        key = {"project_key": "elsewhere", "session_id": "t1"}
        assert await kept.load(key) is None
        await kept.append(key, [entry("q", "u1"), entry("a", "u2")])
        await kept.append({**key, "subpath": "sub/a"}, [entry("b")])
        await kept.append(key, [entry("a", "u2")])
        assert await kept.load(key) == [entry("q", "u1"), entry("a", "u2")]
        assert [one["session_id"] for one in await kept.list_sessions("p")] == ["t1"]
        assert await kept.list_subkeys(key) == ["sub/a"]
        await kept.delete(key)
        assert await kept.list_sessions("p") == []

    asyncio.run(use(opened(folder)))
