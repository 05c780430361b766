"""What the session repository and the storage do under a real release of Strands Agents."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from strands import Agent, tool
from strands.models.openai import OpenAIModel
from strands.session.repository_session_manager import RepositorySessionManager
from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

from localstore import SessionStorage, UnstorableValue
from localstore.errors import OwnerMismatch
from localstore.integrations.strands import LocalSessionRepository
from tests.case_databases import storages
from tests.scripted_server import ScriptedServer, chunk, scripted_server, stream

CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "trains", "arguments": '{"to": "Wien"}'}}


def repository(storage: SessionStorage, session_id: str = "trip", *agents: str) -> LocalSessionRepository:
    """Return a repository with a session and these agents."""
    result = LocalSessionRepository(storage)
    result.create_session(Session(session_id=session_id, session_type=SessionType.AGENT))
    for agent in agents:
        result.create_agent(session_id, SessionAgent(agent, {"n": 1}, {}))
    return result


def message(number: int, text: str = "When?", **more: Any) -> SessionMessage:
    return SessionMessage({"role": "user", "content": [{"text": text}, *more.pop("parts", ())]}, number, **more)


def agent(server: ScriptedServer, storage: SessionStorage, **options: Any) -> Agent:
    model = OpenAIModel(client_args={"base_url": server.base_url, "api_key": "none"}, model_id="tiny")
    manager = RepositorySessionManager("trip", LocalSessionRepository(storage))
    return Agent(model=model, agent_id="guide", session_manager=manager, callback_handler=None, **options)


def raises(kind: type[Exception], call: Any, *args: Any, **options: Any) -> Exception:
    try:
        call(*args, **options)
    except kind as error:
        return error
    raise AssertionError


def case_a_conversation_goes_on_in_another_object(folder: Path) -> None:
    @tool  # type: ignore[untyped-decorator] # Strands may be absent
    def trains(to: str) -> str:
        """The trains to a city."""
        return f"7:58 to {to}"

    called = stream(chunk({"role": "assistant", "tool_calls": [CALL]}), chunk({}, "tool_calls"))
    for storage in storages(folder):
        with scripted_server(called, stream("At 7:58."), stream("Yes.")) as server:
            first = agent(server, storage, tools=[trains])
            first.state.set("city", "Wien")
            first("When?")
            second = agent(server, storage, tools=[trains])
            assert second.state.get("city") == "Wien"
            second("Sure?")
            assert "7:58 to Wien" in str(server.requests[2]["messages"])
            assert str(server.requests[2]["messages"][-1]["content"]).count("Sure?") == 1
        (info,) = storage.list_sessions()
        assert info.title == "When?"
        assert {"tool", "assistant"} <= {hit.role for hit in storage.search("Wien")}
        said = [item.data["message"]["role"] for item in storage.items("trip") if "message_id" in item.data]
        assert said == ["user", "assistant", "user", "assistant", "user", "assistant"]


def case_everything_comes_back_as_it_was(folder: Path) -> None:
    for storage in storages(folder):
        names = ["guide", "../up", "a/b", "ü \n", "x" * 300]
        ours = repository(storage, "../s/1", *names)
        found = LocalSessionRepository(storage).read_session("../s/1")
        assert found is not None
        assert (found.session_id, found.session_type) == ("../s/1", SessionType.AGENT)
        for name in names:
            given = [
                message(number, f"{name} {number}", parts=[{"image": {"bytes": b"\x00\xff"}}]) for number in range(3)
            ]
            for one in given:
                ours.create_message("../s/1", name, one)
            assert LocalSessionRepository(storage).list_messages("../s/1", name) == given
            assert ours.list_messages("../s/1", name, 1, 1) == given[1:2]
            assert ours.read_message("../s/1", name, 2) == given[2]
            stored = ours.read_agent("../s/1", name)
            assert stored is not None
            assert stored.state == {"n": 1}
        assert ours.read_session("nowhere") is ours.read_agent("nowhere", "guide") is None
        assert ours.read_agent("../s/1", "nobody") is ours.read_message("../s/1", "guide", 9) is None


def case_what_does_not_exist_or_exists_already_is_an_error(folder: Path) -> None:
    for storage in storages(folder):
        ours = repository(storage, "trip", "guide")
        ours.create_message("trip", "guide", message(0))
        before = storage.revision("trip")
        raises(SessionException, repository, storage)
        raises(SessionException, ours.update_agent, "trip", SessionAgent("nobody", {}, {}))
        raises(SessionException, ours.update_message, "trip", "guide", message(1))
        raises(SessionException, ours.list_messages, "trip", "nobody")
        raises(SessionException, ours.delete_session, "nowhere")
        raises(ValueError, ours.create_message, "trip", "guide", message("1"))  # type: ignore[arg-type]
        assert (
            "another process"
            in str(raises(SessionException, ours.create_message, "trip", "guide", message(0, "x"))).lower()
        )
        raises(UnstorableValue, ours.create_agent, "trip", SessionAgent("other", {"x": object()}, {}))
        raises(
            OwnerMismatch,
            LocalSessionRepository(storage, user_id="bob").create_agent,
            "trip",
            SessionAgent("b", {}, {}),
        )
        assert storage.revision("trip") == before
        ours.delete_session("trip")
        assert ours.read_session("trip") is None


def case_a_message_is_redacted_and_an_agent_updated(folder: Path) -> None:
    for storage in storages(folder):
        ours = repository(storage, "trip", "guide", "critic")
        for number in range(3):
            ours.create_message("trip", "guide", message(number, "secret"))
        redacted = message(1, "secret", redact_message={"role": "user", "content": [{"text": "[redacted]"}]})
        ours.update_message("trip", "guide", redacted)
        texts = [one.to_message()["content"][0]["text"] for one in ours.list_messages("trip", "guide")]
        assert texts == ["secret", "[redacted]", "secret"]
        ours.update_agent("trip", SessionAgent("guide", {"n": 2}, {"removed_message_count": 1}))
        states = [ours.read_agent("trip", name) for name in ("guide", "critic")]
        assert [state and state.state for state in states] == [{"n": 2}, {"n": 1}]

        class Graph:
            id, state = "graph", 1

            def serialize_state(self) -> dict[str, Any]:
                return {"id": self.id, "state": self.state}

        graph = Graph()
        raises(SessionException, ours.update_multi_agent, "trip", graph)
        ours.create_multi_agent("trip", graph)
        graph.state = 2
        ours.update_multi_agent("trip", graph)
        assert ours.read_multi_agent("trip", "graph") == {"id": "graph", "state": 2}
        assert len(ours.list_messages("trip", "guide")) == 3


def case_threads_on_one_session_lose_nothing(folder: Path) -> None:
    for storage in storages(folder):
        names = [f"agent{number}" for number in range(4)]
        ours = repository(storage, "trip", *names)
        start = threading.Barrier(4)

        def work(name: str, ours: Any = ours, start: Any = start) -> None:
            start.wait(30)
            for number in range(6):
                ours.create_message("trip", name, message(number, name))
                ours.update_agent("trip", SessionAgent(name, {"n": number}, {}))

        with ThreadPoolExecutor() as pool:
            list(pool.map(work, names))
        for name in names:
            assert [one.message_id for one in ours.list_messages("trip", name)] == [*range(6)]
            state = ours.read_agent("trip", name)
            assert state is not None
            assert state.state == {"n": 5}


def case_a_storage_keeps_bytes_by_their_keys(folder: Path) -> None:
    try:
        import strands.storage as has_storage
    except ImportError:
        return  # older releases have none
    assert has_storage
    from strands.types.exceptions import StorageError

    from localstore.integrations.strands import LocalStorage

    values = [b"", b"\x00\xff", b"text \r\n", b'{"a": 1.50, "a": 2}', b'{"b": [1, null, "\xc3\xbc"], "a": 1e400}']
    values += [
        b'{"z": {"b": 1, "a": [true]}}',
        b"[" * 500 + b"]" * 500,
        b"NaN",
        b"123456789012345678901234567890",
        b'"\\ud800"',
    ]
    for storage in storages(folder):
        ours = LocalStorage(storage)

        async def use(ours: Any = ours, storage: Any = storage) -> None:
            assert await ours.list("") == []
            assert await ours.read("a") is None
            await ours.delete("a")
            for key in ("a", "a/../b", "a/b", "/ü"):
                for value in values:
                    await ours.write(key, value)
                    assert await LocalStorage(storage).read(key) == value, value
            assert await ours.list("") == sorted(["a", "a/../b", "a/b", "/ü"])
            assert await ours.list("a/") == ["a/../b", "a/b"]
            await ours.delete("a/b")
            assert await ours.list("a/") == ["a/../b"]
            wrong: list[Any] = [("", b"x", StorageError), ("a", 5, TypeError), ("a", "x", TypeError)]
            for key, value, error in wrong:
                try:
                    await ours.write(key, value)
                except error:
                    pass
                else:
                    raise AssertionError
            await asyncio.gather(*(ours.write("shared", b"%d" % number) for number in range(8)))
            assert await ours.read("shared") in [b"%d" % number for number in range(8)]
            assert [one.session_id for one in storage.list_sessions() if one.part_of is None] == ["strands-storage"]
            outer, inner = LocalStorage(storage, "s"), LocalStorage(storage, "s/t")
            await outer.write("t/k", b"outer")  # a value of one of them replaced that of the other one
            await inner.write("k", b"inner")
            assert (await outer.read("t/k"), await inner.read("k"), await outer.read("t")) == (b"outer", b"inner", None)
            assert (await outer.list(""), await inner.list("")) == (["t/k"], ["k"])

        asyncio.run(use())


def case_snapshots_are_kept_in_a_storage(folder: Path) -> None:
    try:
        from strands.session.snapshot_session_manager import SnapshotSessionManager
    except ImportError:
        return  # older releases have none
    from localstore.integrations.strands import LocalStorage

    for storage in storages(folder):
        with scripted_server(stream("At 7:58."), stream("Yes.")) as server:
            model = OpenAIModel(client_args={"base_url": server.base_url, "api_key": "none"}, model_id="tiny")
            for question in ("When?", "Sure?"):
                manager = SnapshotSessionManager("trip", storage=LocalStorage(storage))
                Agent(model=model, agent_id="guide", session_manager=manager, callback_handler=None)(question)
            assert "At 7:58." in str(server.requests[1]["messages"])
        assert storage.search("Sure?")
