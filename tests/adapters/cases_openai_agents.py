"""What `LocalSession` does under a real release of the OpenAI Agents SDK."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from localstore import Item, JsonStorage, UnstorableValue
from localstore.errors import OwnerMismatch
from localstore.integrations.openai_agents import LocalSession
from tests.case_databases import storages
from tests.scripted_server import ScriptedServer, scripted_server, text, tool_call

set_tracing_disabled(True)
QUESTION, ANSWER = {"role": "user", "content": "When?"}, {"role": "assistant", "content": "At 7:58."}
CALL = {"type": "function_call", "call_id": "c1", "name": "trains", "arguments": '{"to": "Wien"}', "id": "fc_1"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "7:58"}


def agent(server: ScriptedServer, **options: Any) -> Agent[Any]:
    client = AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0)
    return Agent(name="guide", model=OpenAIChatCompletionsModel("tiny", client), **options)


async def case_a_conversation_goes_on_in_another_object(folder: Path) -> None:
    @function_tool  # type: ignore[untyped-decorator] # the SDK may be absent
    def trains(to: str) -> str:
        """The trains to a city."""
        return f"7:58 to {to}"

    for storage in storages(folder):
        with scripted_server(tool_call("trains", '{"to": "Wien"}'), text("At 7:58."), text("Yes.")) as server:
            guide = agent(server, tools=[trains])
            done = await Runner.run(guide, "When?", session=LocalSession("trip", storage, user_id="alice"))
            assert done.final_output == "At 7:58."
            await Runner.run(guide, "Sure?", session=LocalSession("trip", storage, user_id="alice"))
            *_, result, answer, question = server.requests[2]["messages"]
            assert (result["role"], answer["role"], question["content"]) == ("tool", "assistant", "Sure?")
            assert "7:58 to Wien" in json.dumps(result)
            assert "At 7:58." in json.dumps(answer)
        items = storage.items("trip")
        assert [item.source for item in items] == ["openai-agents"] * 6
        assert len(storage) == 1


async def case_items_come_back_exactly(folder: Path) -> None:
    odd = {"z": 1, "content": [{"text": "\u2028 ü \x00 {\n"}], "a": {"b": [None, 1.5, True, 2**53]}, "role": "user"}
    for storage in storages(folder):
        session = LocalSession("trip", storage)
        assert await session.get_items() == []
        assert await session.pop_item() is None
        await session.clear_session()
        await session.add_items([])
        assert len(storage) == 0
        await session.add_items([QUESTION, CALL])
        await session.add_items([RESULT, ANSWER, ANSWER, odd])
        given = [QUESTION, CALL, RESULT, ANSWER, ANSWER, odd]
        assert json.dumps(await LocalSession("trip", storage).get_items()) == json.dumps(given)
        assert await session.get_items(2) == given[-2:]
        assert await session.get_items(0) == []
        assert await session.get_items(2_147_483_647) == await session.get_items(-1) == given
        assert await session.pop_item() == odd
        assert await session.pop_item() == ANSWER
        assert await session.get_items() == given[:4]
        await session.clear_session()
        assert await session.get_items() == []
        await session.replace_items([RESULT])
        assert await session.get_items() == [RESULT]


async def case_what_json_cannot_hold_leaves_the_session_as_it_was(folder: Path) -> None:
    for storage in storages(folder):
        session = LocalSession("trip", storage)
        await session.add_items([QUESTION])
        for change in (session.add_items, session.replace_items):
            try:
                await change([ANSWER, {"content": object()}])
            except UnstorableValue:
                pass
            else:
                raise AssertionError
            assert await session.get_items() == [QUESTION]


async def case_sessions_belong_to_their_users(folder: Path) -> None:
    for storage in storages(folder):
        await LocalSession("trip", storage, user_id="alice", entity_id="guide").add_items([QUESTION])
        other = LocalSession("trip", storage, user_id="bob")
        assert await other.get_items() == []
        for change in (other.add_items([ANSWER]), other.pop_item(), other.clear_session()):
            try:
                await change
            except OwnerMismatch:
                pass
            else:
                raise AssertionError
        (info,) = storage.list_sessions()
        assert (info.user_id, info.entity_id) == ("alice", "guide")
        assert await LocalSession("trip", storage).get_items() == [QUESTION]


async def case_what_another_framework_stored_in_the_session_stays_out_of_it(folder: Path) -> None:
    """The SDK got the checkpoints of a LangGraph thread with the same id, and removed them when it cleared."""
    for storage in storages(folder):
        session = LocalSession("trip", storage)
        storage.append_items("trip", [Item({"type": "checkpoint"}, "langgraph")])
        await session.add_items([QUESTION, ANSWER])
        storage.append_items("trip", [Item({"type": "checkpoint"}, "langgraph")])
        assert await session.get_items() == [QUESTION, ANSWER]
        assert await session.get_items(1) == [ANSWER]
        assert await session.pop_item() == ANSWER
        await session.replace_items([ANSWER])
        await session.clear_session()
        assert await session.get_items() == []
        assert [item.source for item in storage.items("trip")] == ["langgraph"] * 2


async def case_tasks_on_one_session_lose_nothing(folder: Path) -> None:
    for storage in storages(folder):
        sessions = [LocalSession("trip", storage) for _ in range(4)]
        await asyncio.gather(
            *(
                sessions[n % 4].add_items([{"role": "user", "content": f"{n}.{part}"} for part in "ab"])
                for n in range(24)
            )
        )
        said = [item["content"] for item in await sessions[0].get_items()]
        assert sorted(said) == sorted(f"{n}.{part}" for n in range(24) for part in "ab")
        assert all(said[at].split(".")[0] == said[at + 1].split(".")[0] for at in range(0, 48, 2))


async def case_a_write_is_finished_although_its_task_is_cancelled(folder: Path) -> None:
    storage = JsonStorage(folder)
    session = LocalSession("trip", storage)
    await session.add_items([QUESTION])
    begun, may_go_on, append, replace = (
        threading.Event(),
        threading.Event(),
        storage.append_items,
        storage.replace_items,
    )

    def slow(call: Any) -> Any:
        def changed(*args: Any, **options: Any) -> Any:
            begun.set()
            may_go_on.wait(30)
            return call(*args, **options)

        return changed

    storage.append_items, storage.replace_items = slow(append), slow(replace)  # type: ignore[method-assign]
    for write, expected in (
        (session.add_items([ANSWER]), [QUESTION, ANSWER]),
        (session.replace_items([RESULT]), [RESULT]),
        (session.clear_session(), []),
    ):
        begun.clear()
        may_go_on.clear()
        task = asyncio.ensure_future(write)
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        may_go_on.set()
        try:
            await task
        except asyncio.CancelledError:
            pass
        else:
            raise AssertionError
        assert await session.get_items() == expected


async def case_the_settings_limit_what_is_read(folder: Path) -> None:
    try:
        from agents import SessionSettings
    except ImportError:
        return  # older releases have none
    session = LocalSession("trip", JsonStorage(folder), session_settings=SessionSettings(limit=1))
    await session.add_items([QUESTION, ANSWER])
    assert await session.get_items() == [ANSWER]
    assert await session.get_items(2) == [QUESTION, ANSWER]
    with scripted_server(text("Yes.")) as server:
        await Runner.run(agent(server), "Sure?", session=session)
        assert [message["role"] for message in server.requests[0]["messages"]] == ["assistant", "user"]


async def case_a_compaction_replaces_the_end_unless_it_changed(folder: Path) -> None:
    try:
        from agents.memory.session import _CompactionSnapshot
    except ImportError:
        return  # older releases clear and add
    for storage in storages(folder):
        session = LocalSession("trip", storage)
        await session.add_items([QUESTION, CALL, RESULT, ANSWER])
        snapshot = await session._get_compaction_snapshot(3)
        assert isinstance(snapshot, _CompactionSnapshot)
        assert (snapshot.items, snapshot.complete) == ([CALL, RESULT, ANSWER], False)
        await session.add_items([QUESTION])
        assert not await snapshot.replace_suffix(0, [ANSWER])
        assert await session.get_items() == [QUESTION, CALL, RESULT, ANSWER, QUESTION]
        snapshot = await session._get_compaction_snapshot(4)
        assert await snapshot.replace_suffix(1, [RESULT])
        assert await session.get_items() == [QUESTION, CALL, RESULT]
        snapshot = await session._get_compaction_snapshot(1, prune_prefix=lambda item: item == QUESTION)
        assert await snapshot.replace_suffix(0, [ANSWER])
        assert await session.get_items() == [CALL, ANSWER]
        assert not await snapshot.replace_suffix(1, [ANSWER])


async def case_sessions_of_the_sdk_are_imported_and_continued(folder: Path) -> None:
    from agents import SQLiteSession

    stock = SQLiteSession("trip", folder / "sdk.db")
    given: list[Any] = [QUESTION, CALL, RESULT, ANSWER]
    await stock.add_items(given)
    stock.close()
    for storage in storages(folder):
        assert not storage.import_from("openai-agents", folder / "sdk.db").skipped
        session = LocalSession("trip", storage)
        assert await session.get_items() == given
        await session.add_items([QUESTION])
        assert storage.import_from("openai-agents", folder / "sdk.db").items == 0
        assert await session.get_items() == [*given, QUESTION]
