"""What `LocalCheckpointSaver` does under a real release of LangGraph, beside LangGraph's own savers."""

import asyncio
import operator
import os
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypedDict
from uuid import UUID

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt

from localstore import Item, JsonStorage, Run, SessionStorage, YamlStorage
from localstore.integrations.langgraph import LocalCheckpointSaver, import_from, replay
from tests.case_databases import kinds, one_of_them, storages
from tests.effort import rounds

TRIP: Any = {"configurable": {"thread_id": "trip"}}


class Talk(TypedDict):
    messages: Annotated[list[Any], add_messages]
    count: int


def graph(saver: BaseCheckpointSaver[Any]) -> Any:
    """Return a graph that answers each question, and forgets the oldest messages where it is told to."""

    def answer(state: Talk) -> dict[str, Any]:
        question = state["messages"][-1].content
        if question == "forget":
            return {"messages": [RemoveMessage(id=message.id) for message in state["messages"][:-1]]}
        return {"messages": [AIMessage(f"{question}?", id=f"a{len(state['messages'])}")], "count": len(question)}

    builder = StateGraph(Talk)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


def ask(saver: BaseCheckpointSaver[Any], question: str, config: Any = TRIP) -> Any:
    return graph(saver).invoke({"messages": [HumanMessage(question, id=f"q {question}")]}, config)


async def case_the_suite_of_langgraph_certifies_all_capabilities(folder: Path) -> None:
    for kind, make in (kinds() | {"yaml": YamlStorage}).items():
        place = folder / kind
        place.mkdir()
        storage = make(place)

        @checkpointer_test(name=kind)  # type: ignore[untyped-decorator] # LangGraph may be absent
        async def saver(storage: SessionStorage = storage) -> AsyncIterator[LocalCheckpointSaver]:
            yield LocalCheckpointSaver(storage)

        report = await validate(saver)
        results = {name: (result.passed, result.failures) for name, result in report.results.items()}
        assert len(results) == 8
        assert {result for result, _ in results.values()} == {True}, results


def case_a_thread_goes_on_in_another_process(folder: Path) -> None:
    for storage in storages(folder):
        for question in ("When", "Where"):
            state = ask(LocalCheckpointSaver(storage), question)
        assert [message.content for message in state["messages"]] == ["When", "When?", "Where", "Where?"]
        history = [*graph(LocalCheckpointSaver(storage)).get_state_history(TRIP)]
        assert [len(one.values.get("messages", ())) for one in history] == [4, 3, 2, 2, 1, 0]
        older = graph(LocalCheckpointSaver(storage)).invoke(None, history[3].config)  # nothing is left to do there
        assert len(older["messages"]) == 2
        assert {hit.session_id for hit in storage.search("where")} == {"trip"}


def case_values_come_back_exactly(folder: Path) -> None:
    odd = {
        "none": None,
        "bytes": b"\x00\xff",
        "set": {1},
        "when": datetime(2026, 1, 1),  # noqa: DTZ001 - without a time zone on purpose
        "span": timedelta(1),
        "id": UUID(int=1),
        "keys": {1: "a", None: "b"},
        "$ext": {"$ext": 1, "value": 2},
        "bytes like": {"$bytes": "AA=="},
        "numbers": [0, -1, 2**63, 1.5, -0.0, float("inf"), True],
        "texts": ["", "ü\u2028\x00", "x" * 70000],
        "many": list(range(70000)),
        "message": HumanMessage("hi", id="1", additional_kwargs={"a": (1, 2)}),
        "deep": [[[[[[[[[[[[1]]]]]]]]]]]],
    }
    for storage in storages(folder):
        saver = LocalCheckpointSaver(storage)
        versions = {name: saver.get_next_version(None, None) for name in odd}
        checkpoint: Any = {**empty_checkpoint(), "channel_values": odd, "channel_versions": versions}
        config = {"configurable": {"thread_id": "trip", "checkpoint_ns": ""}}
        saved = saver.put(config, checkpoint, {"source": "input", "step": 1, "odd": (1, b"x")}, versions)
        saver.put_writes(saved, list(odd.items()), "task")
        serde = JsonPlusSerializer()
        expected = {name: serde.loads_typed(serde.dumps_typed(value)) for name, value in odd.items()}
        for again in (saver, LocalCheckpointSaver(storage)):
            found = again.get_tuple(TRIP)
            assert found is not None
            assert repr(found.checkpoint["channel_values"]) == repr(expected)
            assert found.checkpoint["channel_versions"] == versions
            assert repr(found.pending_writes) == repr([("task", name, value) for name, value in expected.items()])
            assert found.config == saved


def case_what_changed_in_a_list_is_stored_and_not_the_list(folder: Path) -> None:
    """Also after the list was made anew, and in a branch of the thread."""
    for storage in storages(folder):
        savers: list[BaseCheckpointSaver[Any]] = [LocalCheckpointSaver(storage), InMemorySaver()]
        for question in ("one", "two", "forget", "three"):
            states = [ask(saver, question)["messages"] for saver in savers]
            assert states[0] == states[1]
        tops = [[*graph(saver).get_state_history(TRIP)] for saver in savers]
        for saver, history in zip(savers, tops, strict=True):
            ask(saver, "branch", history[7].config)
        values = [[one.values for one in graph(saver).get_state_history(TRIP)] for saver in savers]
        assert values[0] == values[1]
        again = graph(LocalCheckpointSaver(storage))
        assert [one.values for one in again.get_state_history(TRIP)] == values[0]
        forms = [
            item.data["values"]["messages"]
            for item in storage.items("trip")
            if "messages" in item.data.get("values", {})
        ]
        assert [len(form["added"]["json"]) for form in forms if "base" in form][:3] == [1, 1, 1]


def case_a_growing_state_takes_a_tenth_of_the_space_of_sqlite(folder: Path) -> None:
    class State(TypedDict):
        messages: Annotated[list[Any], operator.add]

    def run(saver: BaseCheckpointSaver[Any]) -> None:
        builder = StateGraph(State)
        builder.add_node("answer", lambda _: {"messages": ["y" * 512]})
        builder.add_edge(START, "answer")
        app = builder.compile(checkpointer=saver)
        for _ in range(rounds(50, 100, 200)):
            app.invoke({"messages": ["x" * 512]}, TRIP)

    storage = JsonStorage(folder / "files", durability="relaxed")
    run(LocalCheckpointSaver(storage))
    with closing(sqlite3.connect(folder / "theirs.db", check_same_thread=False)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        run(SqliteSaver(connection))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert storage.path("trip").stat().st_size <= (folder / "theirs.db").stat().st_size / 10


def case_writes_are_stored_once(folder: Path) -> None:
    for storage in storages(folder):
        saver = LocalCheckpointSaver(storage)
        config = {"configurable": {"thread_id": "trip", "checkpoint_ns": ""}}
        saved = saver.put(config, empty_checkpoint(), {"source": "loop", "step": 0}, {})
        for again in (saver, LocalCheckpointSaver(storage)):
            again.put_writes(saved, [("a", 1), ("b", 2)], "t1", "path")
        saver.put_writes(saved, [("a", "other")], "t1", "path")  # the first one counts
        saver.put_writes(saved, [("__error__", "first")], "t2")
        saver.put_writes(saved, [("__error__", "last")], "t2")  # of these the last one
        found = LocalCheckpointSaver(storage).get_tuple(TRIP)
        assert found is not None
        assert found.pending_writes == [("t2", "__error__", "last"), ("t1", "a", 1), ("t1", "b", 2)]
        assert len(storage.items("trip")) == 4


def case_an_interrupt_is_resumed_elsewhere(folder: Path) -> None:
    def book(_: Talk) -> dict[str, Any]:
        return {"messages": [AIMessage(f"booked: {interrupt('sure?')}")]}

    def build(saver: BaseCheckpointSaver[Any]) -> Any:
        builder = StateGraph(Talk)
        builder.add_node("book", book)
        builder.add_edge(START, "book")
        return builder.compile(checkpointer=saver)

    for storage in storages(folder):
        first = build(LocalCheckpointSaver(storage)).invoke({"messages": []}, TRIP)
        assert first["__interrupt__"][0].value == "sure?"
        done = build(LocalCheckpointSaver(storage)).invoke(Command(resume="yes"), TRIP)
        assert done["messages"][-1].content == "booked: yes"


def case_pruning_keeps_what_a_delta_channel_needs(folder: Path) -> None:
    try:
        from langgraph.channels.delta import DeltaChannel
    except ImportError:
        return  # this release has none

    def joined(state: Any, writes: Any) -> Any:
        return [*(state or []), *(item for write in writes for item in write)]

    class State(TypedDict):
        log: Annotated[list[Any], DeltaChannel(joined, snapshot_frequency=4)]
        other: str

    def build(saver: BaseCheckpointSaver[Any]) -> Any:
        builder = StateGraph(State)
        builder.add_node("add", lambda state: {"log": [len(state["log"])], "other": "x"})
        builder.add_edge(START, "add")
        return builder.compile(checkpointer=saver)

    for storage in storages(folder):
        for turn in range(1, 9):
            saver = LocalCheckpointSaver(storage)
            build(saver).invoke({"log": ["q"]}, TRIP)
            before = build(saver).get_state(TRIP).values
            count = len(storage.items("trip"))
            saver.prune(["trip"])
            for again in (saver, LocalCheckpointSaver(storage)):
                assert build(again).get_state(TRIP).values == before
            assert len(before["log"]) == 2 * turn
            assert len(storage.items("trip")) <= count
        assert len(storage.items("trip")) < 40


def case_pruning_and_deleting_runs_keep_the_values_of_the_rest(folder: Path) -> None:
    for storage in storages(folder):
        saver = LocalCheckpointSaver(storage)
        for number in range(6):
            config = {**TRIP, "metadata": {"run_id": f"run-{number}"}}
            last = ask(saver, f"question {number}", config)["messages"]
        graph(saver).invoke({"messages": [HumanMessage("x", id="x")]}, {"configurable": {"thread_id": "other"}})
        kept = {one.config["configurable"]["checkpoint_id"]: one.values for one in graph(saver).get_state_history(TRIP)}
        saver.delete_for_runs(["run-1", "run-3", "nowhere", "???"])
        for again in (saver, LocalCheckpointSaver(storage)):
            rest = {
                one.config["configurable"]["checkpoint_id"]: one.values for one in graph(again).get_state_history(TRIP)
            }
            assert len(rest) == len(kept) * 4 // 6
            assert rest == {name: values for name, values in kept.items() if name in rest}
        saver.copy_thread("trip", "copy")
        saver.prune(["trip", "nowhere"])
        (only,) = graph(LocalCheckpointSaver(storage)).get_state_history(TRIP)
        assert only.values["messages"] == last
        copied = [*LocalCheckpointSaver(storage).list({"configurable": {"thread_id": "copy"}})]
        assert len(copied) == len(rest)
        assert len({one.config["configurable"]["thread_id"] for one in saver.list(None)}) == 3
        saver.prune(["copy"], strategy="delete")
        saver.delete_thread("trip")
        assert [*storage] == ["other"]
        assert ask(saver, "anew")["messages"][0].content == "anew"


def case_ids_are_no_patterns(folder: Path) -> None:
    """A run with the id * was never found, and each character of a single text was taken for an id."""
    for storage in storages(folder):
        saver = LocalCheckpointSaver(storage)
        for run_id in ("*", "a", "b"):
            ask(saver, "2 * 3?", {"configurable": {"thread_id": run_id}, "metadata": {"run_id": run_id}})
        for text in ("*", "ab"):
            with pytest.raises(TypeError, match="run_ids must be a list of ids"):
                saver.delete_for_runs(text)
            with pytest.raises(TypeError, match="thread_ids must be a list of ids"):
                saver.prune(text, strategy="delete")
        assert len({one.config["configurable"]["thread_id"] for one in saver.list(None)}) == 3
        saver.delete_for_runs(["*"])
        assert {one.config["configurable"]["thread_id"] for one in saver.list(None)} == {"a", "b"}


def case_a_listing_may_be_left_and_writes_go_on_meanwhile(folder: Path) -> None:
    saver = LocalCheckpointSaver(JsonStorage(folder))
    for number in range(3):
        ask(saver, str(number))
    listing = saver.list(TRIP)
    first = next(listing)
    ask(LocalCheckpointSaver(saver.storage), "more")  # no lock is held
    assert len([first, *listing]) == 9


def case_a_thread_is_listed_whatever_else_its_session_has(folder: Path) -> None:
    """A thread was missing from the list of all when another framework had written to its session last."""
    for storage in storages(folder):
        saver = LocalCheckpointSaver(storage)
        ask(saver, "When")
        storage.append_items("trip", [Item({"role": "user", "content": "hi"}, "openai-agents"), Item(5, "langgraph")])
        assert len([*saver.list(None)]) == len([*LocalCheckpointSaver(storage).list(None)]) == 3
        saver.prune(["trip"])
        assert len([*saver.list(None)]) == 1
        assert [item.source for item in storage.items("trip") if item.source != "langgraph"] == ["openai-agents"]


def case_a_checkpoint_that_was_broken_by_hand_is_named_each_time(folder: Path) -> None:
    """It was a bare KeyError, and the next call left the checkpoint out."""
    storage = JsonStorage(folder)
    ask(LocalCheckpointSaver(storage), "one")
    path = storage.path("trip")
    good = path.read_text()
    path.write_text(good.replace('"ns": "",', "", 1))
    for saver in (LocalCheckpointSaver(storage), LocalCheckpointSaver(storage)):
        for _ in range(2):
            with pytest.raises(LookupError, match=r"item '.*' of the thread .*KeyError: 'ns'.*Take it from a backup"):
                saver.get_tuple(TRIP)
        path.write_text(good)
        found = saver.get_tuple(TRIP)
        assert found is not None
        assert found.checkpoint["channel_values"]["count"] == 3
        path.write_text(good.replace('"ns": "",', "", 1))


async def case_tasks_and_savers_on_one_thread_lose_nothing(folder: Path) -> None:
    for storage in storages(folder):
        savers = [LocalCheckpointSaver(storage) for _ in range(4)]
        config = {"configurable": {"thread_id": "trip", "checkpoint_ns": ""}}
        saved = await savers[0].aput(config, empty_checkpoint(), {"source": "loop", "step": 0}, {})
        await asyncio.gather(
            *(savers[number % 4].aput_writes(saved, [("a", number)], f"task {number:02}") for number in range(16))
        )
        found = await savers[1].aget_tuple(TRIP)
        assert found is not None
        assert found.pending_writes == [(f"task {number:02}", "a", number) for number in range(16)]
        assert [one.config async for one in savers[2].alist(TRIP)] == [saved]


def case_random_calls_agree_with_the_saver_in_memory(folder: Path) -> None:
    for seed in range(rounds(2, 10, 100)):
        storage = one_of_them(folder / str(seed), seed)
        chance, theirs = random.Random(seed), InMemorySaver()
        ours = LocalCheckpointSaver(storage)
        values: dict[str, Any] = {"items": [], "word": "a"}
        parents: list[Any] = [{"configurable": {"thread_id": "trip", "checkpoint_ns": ""}}]
        versions: dict[str, Any] = {}
        for step in range(30):
            if chance.random() < 0.2:
                ours = LocalCheckpointSaver(storage)
            new = {}
            for channel in chance.sample(["items", "word", "gone"], 2):
                new[channel] = ours.get_next_version(versions.get(channel), None)
                if channel == "items":
                    kept = values["items"][chance.choice([0, 0, 0, 1]) :]
                    values["items"] = [*kept, *({"n": step, "i": i} for i in range(chance.randrange(30)))]
                elif channel == "word":
                    values["word"] = f"{step}"
            versions = {**versions, **new}
            parent = chance.choice(parents[-2:])
            checkpoint: Any = {
                **empty_checkpoint(),
                "channel_values": {name: value for name, value in values.items() if name in versions},
                "channel_versions": dict(versions),
            }
            saved = [
                saver.put(parent, checkpoint, {"source": "loop", "step": step}, dict(new)) for saver in (ours, theirs)
            ]
            assert saved[0] == saved[1]
            parents.append(saved[0])
            for saver in (ours, theirs):
                saver.put_writes(saved[0], [("word", step), ("items", [step])], f"t{step % 3}", "p")
        found = [[*saver.list(TRIP)] for saver in (ours, theirs)]
        assert len(found[0]) == len(found[1]) == 30
        for one, other in zip(*found, strict=True):
            assert one.checkpoint == other.checkpoint, seed
            assert one._replace(checkpoint=other.checkpoint) == other, seed


def case_encrypted_values_are_stored_and_not_readable(folder: Path) -> None:
    from langgraph.checkpoint.serde.base import CipherProtocol
    from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

    class Swapped(CipherProtocol):  # type: ignore[misc] # LangGraph may be absent
        def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
            return "swapped", bytes(byte ^ 0x55 for byte in plaintext)

        def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
            return bytes(byte ^ 0x55 for byte in ciphertext)

    for storage in storages(folder):
        for question in ("secret", "again"):
            state = ask(LocalCheckpointSaver(storage, serde=EncryptedSerializer(Swapped())), question)
        assert len(state["messages"]) == 4
        assert storage.search("secret") == []
    assert os.path.exists(folder / "files")


def case_the_checkpoints_of_sqlite_are_replayed_and_continued(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "checkpoints.db", check_same_thread=False)) as connection:
        source = SqliteSaver(connection)
        ask(source, "one")
        ask(source, "two")
        ask(source, "other", {"configurable": {"thread_id": "other"}})
        expected = [list(source.list({"configurable": {"thread_id": name}})) for name in ("trip", "other")]
        for storage in storages(folder):
            saver = LocalCheckpointSaver(storage)
            assert replay(source, saver) == sum(map(len, expected))
            found = [list(saver.list({"configurable": {"thread_id": name}})) for name in ("trip", "other")]
            assert [[(one.checkpoint, one.metadata, one.parent_config) for one in thread] for thread in found] == [
                [(one.checkpoint, one.metadata, one.parent_config) for one in thread] for thread in expected
            ]
            assert [[sorted(one.pending_writes or (), key=str) for one in thread] for thread in found] == [
                [sorted(one.pending_writes or (), key=str) for one in thread] for thread in expected
            ]
            before = [storage.revision(name) for name in ("trip", "other")]
            replay(source, LocalCheckpointSaver(storage))
            assert [storage.revision(name) for name in ("trip", "other")] == before
            messages = graph(LocalCheckpointSaver(storage)).get_state(TRIP).values["messages"]
            assert [message.content for message in messages][::2] == ["one", "two"]
            ask(LocalCheckpointSaver(storage), "three")


def contents(saver: Any, thread: str) -> list[Any]:
    """Return what a saver lists of a thread."""
    found = saver.list({"configurable": {"thread_id": thread}})
    return [
        (one.config, one.checkpoint, one.metadata, one.parent_config, sorted(one.pending_writes or (), key=str))
        for one in found
    ]


def case_a_database_of_sqlite_is_imported_and_continued(folder: Path) -> None:
    path = folder / "checkpoints.db"
    for number, storage in enumerate(storages(folder)):
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
            source = SqliteSaver(connection)
            ask(source, "one")
            ask(source, "other", {"configurable": {"thread_id": "other"}})
            dry = import_from(storage, path, dry_run=True)
            assert (storage.count(), dry.dry_run) == (0, True)
            done = import_from(storage, path)
            assert (done.added, done.extended, done.unchanged, done.skipped) == (("other", "trip"), (), 0, ())
            assert (dry.added, dry.items) == (done.added, done.items)
            assert done.items >= 2 * 2
            before = storage.revision("trip")
            again = import_from(storage, path)
            assert (again.added, again.unchanged, again.items, storage.revision("trip")) == ((), 2, 0, before)
            ask(source, "two")
            dry, done = import_from(storage, path, dry_run=True), import_from(storage, path)
            assert (done.extended, done.unchanged, dry.items) == (("trip",), 1, done.items)
            for thread in ("trip", "other"):
                assert contents(LocalCheckpointSaver(storage), thread) == contents(source, thread), number
            ask(LocalCheckpointSaver(storage), "three")
            messages = graph(LocalCheckpointSaver(storage)).get_state(TRIP).values["messages"]
            assert [message.content for message in messages][::2] == ["one", "two", "three"]


def case_imported_values_are_the_bytes_that_langgraph_wrote(folder: Path) -> None:
    """The classes of the program are not there: LangGraph would restore their values as something else."""
    values = {
        "when": datetime(2026, 11, 22, tzinfo=UTC),
        "id": UUID(int=7),
        "none": None,
        "raw": b"x",
        "list": [1, (2, b"y")],
        "d": {3: 1.5},
    }
    versions = dict.fromkeys(values, "1")
    with closing(sqlite3.connect(folder / "checkpoints.db")) as connection:
        source = SqliteSaver(connection)
        place: Any = {"configurable": {"thread_id": "trip", "checkpoint_ns": "a|b"}}
        checkpoint: Any = {**empty_checkpoint(), "channel_values": values, "channel_versions": versions}
        put = source.put(place, checkpoint, {"source": "loop", "step": 1}, versions)
        source.put_writes(put, [("x", None), ("y", {"z": [UUID(int=1)]})], "task", "~pull")
        expected = source.get_tuple(place)
        assert expected is not None
    saver = LocalCheckpointSaver(JsonStorage(folder / "store"))
    assert import_from(saver.storage, folder / "checkpoints.db").skipped == ()
    found = saver.get_tuple(place)
    assert found is not None
    assert (found.checkpoint, found.pending_writes) == (expected.checkpoint, expected.pending_writes)
    directly = LocalCheckpointSaver(JsonStorage(folder / "directly"))
    directly.put_writes(directly.put(place, checkpoint, {"source": "loop", "step": 1}, versions), [("x", None)], "t")
    (one,), (other,) = (
        [item.data["values"] for item in it.storage.items("trip", 9) if "values" in item.data]
        for it in (saver, directly)
    )
    assert one == other


def case_what_cannot_be_imported_is_named(folder: Path) -> None:
    storage = JsonStorage(folder / "store")
    storage.append("trip", Run(run_id="r1"))
    path = folder / "checkpoints.db"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        source = SqliteSaver(connection)
        ask(source, "one")
        ask(source, "two", {"configurable": {"thread_id": "torn"}})
        ask(source, "three", {"configurable": {"thread_id": "secret"}})
        connection.execute("UPDATE checkpoints SET checkpoint = x'81' WHERE thread_id = 'torn'")
        connection.execute("UPDATE checkpoints SET type = 'msgpack+aes' WHERE thread_id = 'secret'")
        connection.execute("UPDATE writes SET type = 'msgpack+aes' WHERE thread_id = 'secret'")
        ask(source, "four", {"configurable": {"thread_id": "odd"}})  # these two ended the import with an AttributeError
        connection.execute("UPDATE checkpoints SET metadata = '[1]' WHERE thread_id = 'odd'")
        connection.execute("UPDATE writes SET value = 'text' WHERE thread_id = 'odd'")
        connection.commit()
        before = storage.revision("trip")
        done = import_from(storage, path)
    assert storage.revision("trip") == before
    reasons = {one.session_id: str(one) for one in done.skipped}
    assert "another session with this id" in reasons["trip"]
    assert "encrypted" in reasons["secret"]
    assert {str(one).rpartition(": ")[2] for one in done.skipped if one.session_id == "odd"} >= {
        "its metadata are no mapping",
        "a write to 'messages' is not what LangGraph stores",
    }
    assert reasons.keys() == {"trip", "torn", "secret", "odd"}
    with closing(sqlite3.connect(folder / "empty.db")) as connection:
        connection.execute("CREATE TABLE x (y)")
    assert "no table of checkpoints" in str(import_from(storage, folder / "empty.db").skipped[0])
