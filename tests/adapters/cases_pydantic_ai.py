"""What `LocalConversationStore` does under a real release of Pydantic AI, beside its own store in memory."""

import asyncio
import random
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_ai import Agent, BinaryContent, DeferredToolRequests, RunUsage
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
    InMemoryConversationStore,
)
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.test import TestModel

from localstore.errors import OwnerMismatch, UnstorableValue
from localstore.integrations.pydantic_ai import LocalConversationStore
from tests.case_databases import one_of_them, storages
from tests.effort import rounds


def asked(text: str) -> ModelMessage:
    return ModelRequest(parts=[UserPromptPart(text, timestamp=datetime(2026, 1, 1, tzinfo=UTC))])


async def raises(kind: type[Exception], call: Any) -> None:
    try:
        await call
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


async def case_an_agent_goes_on_in_another_process(folder: Path) -> None:
    for storage in storages(folder):
        agent = Agent(TestModel(custom_output_text="Line 13A."))
        for question in ("Which bus?", "And back?"):
            store = LocalConversationStore(storage)
            conversation = await store.load("trip", scope="alice") or Conversation(conversation_id="trip")
            result = await agent.run(question, conversation=conversation)
            assert len(await store.save(result, scope="alice")) == 2
        stored = await LocalConversationStore(storage).load("trip")
        assert stored is not None
        assert stored.messages == result.all_messages()
        assert stored.usage == result.conversation.usage
        (info,) = storage.list_sessions(user_id="alice")
        assert info.session_id == "trip"
        assert {hit.session_id for hit in storage.search("13A")} == {"trip"}
        window = await LocalConversationStore(storage).load("trip", limit=1)
        assert window is not None
        assert window.messages == stored.messages[-1:]
        await store.save(await agent.run("Sure?", conversation=window))
        entries = await store.load_entries("trip")
        assert entries is not None
        assert len(entries) == 6


async def case_messages_and_records_come_back_exactly(folder: Path) -> None:
    call = ToolCallPart("trains", {"to": "Wien", "via": None}, tool_call_id="c1")
    messages: list[ModelMessage] = [
        ModelRequest(
            parts=[UserPromptPart(["ü\u2028\x00", BinaryContent(b"\x00\xff\n", media_type="application/pdf")])],
            instructions="Be brief.",
            metadata={"k": [None, 1.5]},
        ),
        ModelResponse(parts=[ThinkingPart("hm", signature="s"), call], model_name="tiny", provider_details={"a": 1}),
        ModelRequest(parts=[ToolReturnPart("trains", {"at": ["7:58"], "price": None}, tool_call_id="c1")]),
        ModelResponse(parts=[TextPart("At 7:58.")], finish_reason="stop"),
    ]
    for storage in storages(folder):
        store = LocalConversationStore(storage)
        parent, entries = None, []
        for number, message in enumerate(messages):
            entries.append(ConversationEntry(id=f"e{number}", parent_id=parent, message=message))
            parent = f"e{number}"
        record = ConversationRecord(
            conversation_id="trip",
            head_id=parent,
            usage=RunUsage(requests=2, input_tokens=5, details={"x": 1}),
            deferred_tool_requests=DeferredToolRequests(approvals=[call], metadata={"c1": {"why": None}}),
            scope="alice",
            branches=["e1"],
        )
        await store.write_record(record, new_entries=entries, expected_revision=None)
        again = LocalConversationStore(storage)
        assert await again.read_record("trip") == record
        assert await again.read_records() == [record]
        assert await again.read_history("e3") == entries
        assert await again.read_history("e3", limit=2) == entries[2:]
        assert await LocalConversationStore(storage).read_entry("e1") == entries[1]
        await raises(LookupError, again.read_entry("e9"))
        await raises(LookupError, again.read_entry("???"))
        assert await again.read_history(None) == []


async def case_a_value_that_json_cannot_hold_is_refused(folder: Path) -> None:
    """An integer beyond 64 bits in the arguments of a tool was stored as another number."""
    for storage in storages(folder):
        for value in (1 << 70, "\ud800"):
            call: list[ModelMessage] = [ModelResponse(parts=[ToolCallPart("t", {"v": value}, tool_call_id="c")])]
            conversation = Conversation(conversation_id="trip", messages=call)
            await raises(UnstorableValue, LocalConversationStore(storage).save(conversation))
        assert len(storage) == 0


async def case_of_writers_with_one_revision_one_succeeds(folder: Path) -> None:
    for storage in storages(folder):
        stores = [LocalConversationStore(storage) for _ in range(6)]
        await stores[0].save(Conversation(conversation_id="trip", messages=[asked("hi")]))
        for turn in range(3):
            loaded = [await store.load("trip") for store in stores]
            storage.update("trip", name=f"turn {turn}")  # changes no conversation
            for number, conversation in enumerate(loaded):
                assert conversation is not None
                conversation.messages.append(asked(f"{turn} {number}"))
            done = await asyncio.gather(
                *(store.save(one) for store, one in zip(stores, loaded, strict=True) if one is not None),
                return_exceptions=True,
            )
            kinds = [type(one).__name__ for one in done]
            assert (kinds.count("list"), kinds.count("ConversationConflict")) == (1, 5), kinds
        stored = await stores[0].load("trip")
        assert stored is not None
        assert len(stored.messages) == 4
        done = await asyncio.gather(
            *(store.save(Conversation(conversation_id="new", messages=[asked("hi")])) for store in stores),
            return_exceptions=True,
        )
        assert [type(one).__name__ for one in done].count("ConversationConflict") == 5


async def case_a_fork_shares_its_entries_and_survives_its_source(folder: Path) -> None:
    for storage in storages(folder):
        store = LocalConversationStore(storage)
        await store.save(Conversation(conversation_id="trip", messages=[asked(str(n)) for n in range(4)]), scope="bob")
        await store.fork("trip", at=2, new_conversation_id="side")
        one, other = [await store.load_entries(name) for name in ("trip", "side")]
        assert one is not None
        assert other == one[:2]
        record = await store.read_record("side")
        assert record is not None
        assert (record.forked_from, record.forked_at, record.scope) == ("trip", one[1].id, "bob")
        await store.delete("trip")
        assert await store.load("trip") is None
        assert await LocalConversationStore(storage).load_entries("side") == one[:2]
        assert await store.read_entry(one[0].id) == one[0]
        await raises(LookupError, store.read_entry(one[3].id))
        lost = ConversationRecord(conversation_id="lost", head_id=one[3].id, forked_from="trip")
        await raises(ConversationConflict, store.write_record(lost, expected_revision=None))
        storage.restore(storage.trashed()[0].name)
        assert await store.load_entries("trip") == one


async def case_a_conversation_is_deleted_only_as_it_was_read(folder: Path) -> None:
    for storage in storages(folder):
        store = LocalConversationStore(storage)
        conversation = Conversation(conversation_id="trip", messages=[asked("hi")])
        await store.save(conversation)
        old = conversation.revision
        assert old is not None
        conversation.messages.append(asked("more"))
        await store.save(conversation)
        await raises(ConversationConflict, store.delete_record("trip", expected_revision=old))
        await raises(ConversationConflict, store.delete_record("nowhere", expected_revision=old))
        assert conversation.revision is not None
        await store.delete_record("trip", expected_revision=conversation.revision)
        await raises(ConversationConflict, store.save(conversation))
        assert await store.list_conversations() == []
        await store.save(Conversation(conversation_id="trip", messages=[asked("again")]))


async def case_conversations_belong_to_their_scope(folder: Path) -> None:
    for storage in storages(folder):
        store = LocalConversationStore(storage)
        await store.save(Conversation(conversation_id="trip", messages=[asked("hi")]), scope="alice")
        assert await store.load("trip", scope="bob") is None
        await store.delete("trip", scope="bob")
        record = await store.read_record("trip")
        assert record is not None
        moved = deepcopy(record)
        moved.scope = "bob"
        await raises(OwnerMismatch, store.write_record(moved, expected_revision=record.revision))
        assert await store.read_records(scope="bob") == []
        assert await store.read_records(scope="alice") == [record]


async def case_records_are_listed_newest_first_beside_other_sessions(folder: Path) -> None:
    for storage in storages(folder):
        store = LocalConversationStore(storage)
        for number in range(12):
            await store.save(Conversation(conversation_id=f"c{number}", messages=[asked("hi")]), scope="ab"[number % 2])
            storage.update(f"c{number}", name="named")
        storage.upsert(storage_session("other"))
        everything = await store.list_conversations()
        assert [one.conversation_id for one in everything] == [f"c{number}" for number in range(11, -1, -1)]
        for limit in (0, 1, 5, 50):
            assert await store.list_conversations(limit=limit) == everything[:limit]
            assert await store.list_conversations(scope="a", limit=limit) == everything[1::2][:limit]


def storage_session(session_id: str) -> Any:
    from localstore import Session

    return Session(session_id=session_id)


async def case_random_calls_agree_with_the_store_in_memory(folder: Path) -> None:
    for seed in range(rounds(2, 4, 40)):
        ours: ConversationStore = LocalConversationStore(one_of_them(folder / str(seed), seed))
        await compare(random.Random(seed), ours, InMemoryConversationStore())


async def compare(chance: random.Random, *stores: ConversationStore) -> None:
    """Make the same calls on stores, which must return the same or raise the same.

    The stores make ids and revisions of their own: those of the first one count in both.
    """
    for step in range(60):
        name, other = chance.choice("abc"), chance.choice("abc")
        scope = {"a": None, "b": "x", "c": "y"}[name]
        point, action = (
            chance.randrange(5),
            chance.choice(["save", "save", "rewrite", "fork", "branch", "back", "delete"]),
        )
        results: list[Any] = []
        for store in stores:
            try:
                results.append(await act(store, action, name, other, scope, point, step))
            except (UserError, LookupError) as error:
                results.append(type(error).__name__)
        assert results[0] == results[1], (step, action, results)
        states = [await state(store) for store in stores]
        assert states[0] == states[1], (step, action)


async def act(store: ConversationStore, action: str, name: str, other: str, scope: Any, point: int, step: int) -> Any:
    conversation = await store.load(name)
    match action:
        case "save":
            conversation = conversation or Conversation(conversation_id=name)
            conversation.messages.append(asked(f"{step}"))
            return len(await store.save(conversation, scope=scope))
        case "rewrite":
            if conversation is None:
                return None
            kept = [*conversation.messages[:point], asked(f"re {step}")]
            rewritten = Conversation(conversation_id=name, messages=kept, revision=conversation.revision)
            return len(await store.save(rewritten))
        case "fork":
            return len((await store.fork(name, at=point, new_conversation_id=other)).messages)
        case "branch":
            revision = None if conversation is None else conversation.revision
            return len((await store.branch(name, at=point, expected_revision=revision)).messages)
        case "back":
            record = await store.read_record(name)
            if record is None or not record.branches:
                return None
            tip = record.branches[point % len(record.branches)]
            return len((await store.branch(name, from_entry=tip, expected_revision=record.revision)).messages)
        case _:
            return await store.delete(name, scope=scope)


async def state(store: ConversationStore) -> Any:
    """Return everything that a store shows, without the ids that it made."""
    found = []
    for scope in (None, "x", "y"):
        for record in await store.list_conversations(scope=scope):
            entries = await store.load_entries(record.conversation_id, limit=3)
            whole = await store.load_entries(record.conversation_id)
            assert whole is not None
            assert entries == whole[max(0, len(whole) - 3) :]
            branches = [[entry.message for entry in await store.read_history(tip)] for tip in record.branches]
            single = [await store.read_entry(entry.id) for entry in whole]
            assert single == whole
            shown = (record.conversation_id, record.scope, record.forked_from, [entry.message for entry in whole])
            found.append((*shown, branches))
    return found
