"""What `LocalSessionStore` does under a real release of the Claude Agent SDK."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, get_session_messages_from_store, list_sessions_from_store
from claude_agent_sdk.testing import run_session_store_conformance

from localstore import Filter, UnstorableValue
from localstore.errors import OwnerMismatch
from localstore.integrations.claude import LocalSessionStore
from tests.case_databases import kinds, one_of_them, storages

KEY = {"project_key": "-home-alice-trips", "session_id": "8c5a0b4e-0b0e-4c50-9d7c-4a2f7a3a5b11"}
SUB = {**KEY, "subpath": "subagents/agent-1"}


def said(uuid: str, text: str, role: str = "user", **more: Any) -> dict[str, Any]:
    message = {"role": role, "content": text if role == "user" else [{"type": "text", "text": text}]}
    times = {"timestamp": "2026-11-22T07:01:20.123Z", "sessionId": KEY["session_id"]}
    return {"type": role, "uuid": uuid, "message": message, **times, **more}


async def case_the_contracts_of_the_sdk_are_kept(folder: Path) -> None:
    number = itertools.count()
    for kind in range(len(kinds())):
        await run_session_store_conformance(
            lambda kind=kind: LocalSessionStore(one_of_them(folder / f"{next(number)}", kind))
        )


async def case_an_entry_is_stored_once(folder: Path) -> None:
    for storage in storages(folder):
        store = LocalSessionStore(storage)
        first, second, title = said("u1", "When?"), said("u2", "At 7:58.", "assistant"), {"type": "title", "n": 1}
        await store.append(KEY, [first, second, first])
        await store.append(KEY, [first, said("u2", "changed"), said("u3", "Sure?")])
        await store.append(KEY, [title])
        await store.append(KEY, [title])
        assert await LocalSessionStore(storage).load(KEY) == [first, second, said("u3", "Sure?"), title, title]
        many = [said(f"m{number}", str(number)) for number in range(200)]
        await store.append(SUB, many)
        await store.append(SUB, many)
        await store.append(SUB, many[:2])
        assert await store.load(SUB) == many


async def case_keys_may_be_any_text(folder: Path) -> None:
    for storage in storages(folder):
        store = LocalSessionStore(storage)
        keys = [("a/b", "c"), ("a", "b/c"), ("a%2Fb", "c"), ("..", ".."), ("ü \n", "x")]
        for project, session in keys:
            await store.append({"project_key": project, "session_id": session}, [said("u1", f"{project} {session}")])
        for project, session in keys:
            found = await store.load({"project_key": project, "session_id": session})
            assert found == [said("u1", f"{project} {session}")]
            assert [one["session_id"] for one in await store.list_sessions(project)] == [session]


async def case_subagents_are_deleted_with_their_session(folder: Path) -> None:
    for storage in storages(folder):
        store = LocalSessionStore(storage)
        await store.append(SUB, [said("s1", "Search")])
        assert await store.list_sessions(KEY["project_key"]) == []
        await store.append(KEY, [said("u1", "When?")])
        assert storage.count(Filter(sub_sessions=False)) == 1
        assert [hit.field for hit in storage.search("Search")] == ["content"]
        (info,) = storage.list_sessions(where=Filter(sub_sessions=False))
        assert (info.title, info.entity_id) == ("When?", KEY["project_key"])
        await store.delete(KEY)
        assert await store.load(SUB) is None
        assert len(storage) == 0


async def case_the_sdk_reads_what_was_stored(folder: Path) -> None:
    for storage in storages(folder):
        store = LocalSessionStore(storage)
        assert ClaudeAgentOptions(session_store=store).session_store is store
        from claude_agent_sdk import project_key_for_directory

        key = {**KEY, "project_key": project_key_for_directory(str(folder))}
        await store.append(key, [said("u1", "When?"), said("a1", "At 7:58.", "assistant", parentUuid="u1")])
        (info,) = await list_sessions_from_store(store, directory=str(folder))
        assert (info.session_id, info.first_prompt) == (KEY["session_id"], "When?")
        messages = await get_session_messages_from_store(store, KEY["session_id"], directory=str(folder))
        assert [message.type for message in messages] == ["user", "assistant"]


async def case_writers_of_one_session_lose_nothing(folder: Path) -> None:
    for storage in storages(folder):
        stores = [LocalSessionStore(storage) for _ in range(4)]
        await asyncio.gather(*(stores[n % 4].append(KEY, [said(f"{n}.{k}", "x") for k in "ab"]) for n in range(16)))
        found = [entry["uuid"] for entry in await stores[0].load(KEY) or ()]
        assert sorted(found) == sorted(f"{n}.{k}" for n in range(16) for k in "ab")
        (summary,) = await stores[0].list_session_summaries(KEY["project_key"])
        assert summary["session_id"] == KEY["session_id"]


async def case_what_cannot_be_stored_leaves_the_session_as_it_was(folder: Path) -> None:
    for storage in storages(folder):
        await LocalSessionStore(storage, user_id="alice").append(KEY, [said("u1", "When?")])
        for store, entries, kind in (
            (LocalSessionStore(storage), [said("u2", "x"), {"type": "x", "n": object()}], UnstorableValue),
            (LocalSessionStore(storage, user_id="bob"), [said("u2", "x")], OwnerMismatch),
        ):
            try:
                await store.append(KEY, entries)
            except kind:
                pass
            else:
                raise AssertionError
        assert await LocalSessionStore(storage).load(KEY) == [said("u1", "When?")]
        assert await LocalSessionStore(storage, user_id="bob").load(KEY) is None
