"""Whatever agno does: no data is lost, no session is taken over, no deleted run returns, none is treated as missing."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.storage import session as sessions
from agno.storage.json import JsonStorage as OwnStorage
from agno.storage.session import AgentSession, TeamSession, WorkflowSession
from agno.storage.yaml import YamlStorage as OwnYamlStorage

from localstore import Message, Run
from localstore.errors import DocumentBroken, KindMismatch, OlderFormat, OwnerMismatch, UnstorableValue
from localstore.integrations.agno import JsonStorage, YamlStorage
from tests.agno_1.conftest import OFFLINE
from tests.agno_1.sides import HAS_STEPS, comparable
from tests.scripted_server import ScriptedServer, text

Serve = Callable[..., ScriptedServer]
SECOND = 1_795_331_431


def run(number: int | str, session_id: str = "s1", **more: Any) -> dict[str, Any]:
    common = {"from_history": False, "stop_after_tool_call": False, "created_at": SECOND}
    return {
        "run_id": f"r{number}",
        "session_id": session_id,
        "agent_id": "a1",
        "content": f"answer {number}",
        "content_type": "str",
        "created_at": SECOND,
        "status": "RUNNING",
        "messages": [
            {"role": "user", "content": f"question {number}", **common},
            {"role": "assistant", "content": f"answer {number}", **common},
        ],
        **more,
    }


def session(*runs: dict[str, Any], session_id: str = "s1", state: Any = None, **more: Any) -> AgentSession:
    return AgentSession(
        session_id=session_id,
        agent_id="a1",
        memory={"summaries": {}, "memories": {}, "runs": list(runs)},
        session_data={"session_state": state or {}},
        **{"created_at": SECOND, **more},
    )


def ids(storage: JsonStorage, session_id: str = "s1") -> list[str]:
    found = JsonStorage(storage.dir_path).store.read(session_id)
    return [] if found is None else [one.run_id for one in found.runs]


@pytest.mark.parametrize("value", [float("nan"), "\ud800", 2**70, object(), {1: "a"}])
def test_a_value_that_cannot_be_stored_leaves_the_file_whole_and_raises(folder: Path, value: Any) -> None:
    storage = JsonStorage(folder)
    storage.upsert(session(run(1)))
    before = storage.store.path("s1").read_bytes()
    with pytest.raises(UnstorableValue, match=r"session_state\.cart"):
        storage.upsert(session(run(1), run(2), state={"cart": value}))
    with pytest.raises(UnstorableValue, match=r"runs\[1\]"):
        storage.upsert(session(run(1), run(2, content=value)))
    assert storage.store.path("s1").read_bytes() == before
    storage.upsert(session(run(1), run(2)))
    assert ids(storage) == ["r1", "r2"]


def test_eight_threads_on_one_session_keep_eight_runs(serve: Serve, folder: Path) -> None:
    server = serve(*(text(f"answer {number}") for number in range(8)))
    storage = JsonStorage(folder)

    def ask(number: int) -> None:
        model = OpenAIChat(id="m", base_url=server.base_url, api_key="k")
        Agent(model=model, session_id="s1", storage=storage, **OFFLINE).run(f"question {number}")

    threads = [Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = storage.store.read("s1")
    assert found is not None
    assert sorted(one.question for one in found.runs) == [f"question {number}" for number in range(8)]


def test_the_time_of_creation_survives(folder: Path) -> None:
    JsonStorage(folder).upsert(session(run(1)))
    later = session(run(1), run(2, created_at=SECOND + 90), created_at=SECOND + 90)
    returned = JsonStorage(folder).upsert(later)
    assert returned is later
    assert returned.created_at == SECOND
    found = JsonStorage(folder).read("s1")
    assert found is not None
    assert found.created_at == SECOND


def test_another_users_session_is_neither_taken_over_nor_written_to(folder: Path) -> None:
    JsonStorage(folder).upsert(session(run(1), user_id="alice"))
    before = JsonStorage(folder).store.path("s1").read_bytes()
    for storage in (JsonStorage(folder), YamlStorage(folder)):
        with pytest.raises(OwnerMismatch):
            storage.upsert(session(run(1), run(2), user_id="bob"))
        assert storage.read("s1", user_id="bob") is None
        assert storage.store.path("s1").read_bytes() == before
    JsonStorage(folder).upsert(session(run(1), run(2)))
    assert JsonStorage(folder).store.list_sessions("alice")[0].runs == 2


@pytest.mark.parametrize("session_id", ["../x", "../../x", "/etc/x", "a/b", "CON", "x" * 5000, "."])
def test_an_id_is_never_a_path(folder: Path, session_id: str) -> None:
    storage = JsonStorage(folder)
    storage.upsert(session(run(1, session_id), session_id=session_id))
    assert storage.store.path(session_id).resolve().is_relative_to(folder.resolve() / "sessions")
    assert [path.name for path in folder.parent.iterdir()] == ["sessions"]
    found = storage.read(session_id)
    assert found is not None
    assert found.session_id == session_id
    storage.delete_session(session_id)
    assert storage.read(session_id) is None


@pytest.mark.parametrize("storage_class", [JsonStorage, YamlStorage])
def test_a_tuple_and_a_datetime_in_the_state_survive(folder: Path, storage_class: type[Any]) -> None:
    moment = datetime(2026, 11, 22, 7, 1, tzinfo=UTC)
    storage_class(folder).upsert(session(run(1), state={"pair": (1, "b"), "when": moment, "tags": {"y", "x"}}))
    found = storage_class(folder).read("s1").session_data["session_state"]
    assert found == {"pair": [1, "b"], "when": "2026-11-22T07:01:00+00:00", "tags": ["x", "y"]}


def test_what_was_deleted_does_not_come_back_with_the_next_run(folder: Path) -> None:
    storage, other = JsonStorage(folder), JsonStorage(folder)
    storage.upsert(session(run(1), run(2)))
    storage.delete_session("s1")
    storage.upsert(session(run(1), run(2), run(3)))
    assert ids(storage) == ["r3"]
    other.read("s1")
    storage.drop()
    other.upsert(session(run(3), run(4)))
    assert ids(storage) == ["r4"]


def test_runs_of_others_stay_and_none_is_stored_twice(folder: Path) -> None:
    one, two = JsonStorage(folder), JsonStorage(folder)
    one.upsert(session(run(1)))
    two.upsert(session(run(1), run(2)))
    one.upsert(session(run(1), run(3)))
    one.upsert(session(run(1), run(3)))
    JsonStorage(folder).upsert(session(run(2), run(1)))
    assert ids(one) == ["r1", "r2", "r3"]


def test_a_stale_copy_does_not_undo_what_another_finished(folder: Path) -> None:
    waiting = run(1, status="PAUSED")
    one, two = JsonStorage(folder), JsonStorage(folder)
    one.upsert(session(waiting))
    two.read("s1")
    one.upsert(session(run(1)))
    two.upsert(session(waiting, run(2)))
    JsonStorage(folder).upsert(session(waiting, run(2)))
    found = JsonStorage(folder).read("s1")
    assert found is not None
    assert [one["status"] for one in (found.memory or {})["runs"]] == ["RUNNING", "RUNNING"]


def test_an_old_run_that_was_changed_is_changed_and_keeps_its_place(folder: Path) -> None:
    storage = JsonStorage(folder)
    storage.upsert(session(run(1), run(2)))
    changed = run(1, content="better")
    changed["messages"][1]["content"] = "better"
    storage.upsert(session(changed, run(2)))
    found = JsonStorage(folder).read("s1")
    assert found is not None
    assert [one["content"] for one in (found.memory or {})["runs"]] == ["better", "answer 2"]


def test_what_a_person_changes_meanwhile_stays(folder: Path) -> None:
    storage = JsonStorage(folder)
    storage.upsert(session(run(1), state={"n": 1}))
    storage.store.update("s1", session_state={"n": 2}, name="By hand", tags=["x"])
    storage.upsert(session(run(1), run(2), state={"n": 1}))
    info = storage.store.list_sessions()[0]
    assert (info.name, info.tags, info.runs) == ("By hand", ("x",), 2)
    found = storage.read("s1")
    assert found is not None
    assert found.session_data == {"session_state": {"n": 2}, "session_name": "By hand"}
    storage.upsert(session(run(1), run(2), state={"n": 3}))
    assert JsonStorage(folder).store.read("s1").session_state == {"n": 3}  # type: ignore[union-attr]


def test_what_agno_changes_in_place_is_stored(folder: Path) -> None:
    """agno merges the state of an agent into the mapping that it read. The next write compared with that mapping:
    the change was lost."""
    JsonStorage(folder).upsert(session(run(1), state={"n": {"a": 1}}, extra_data={"k": {"a": 1}}))
    storage = JsonStorage(folder)
    for number in range(2):
        found: Any = storage.read("s1")
        found.extra_data["k"]["a"] = found.session_data["session_state"]["n"]["a"] = number
        storage.upsert(found)
        again: Any = JsonStorage(folder).read("s1")
        assert again.extra_data == {"k": {"a": number}}
        assert again.session_data == {"session_state": {"n": {"a": number}}}


def test_an_append_costs_the_run(folder: Path) -> None:
    storage = JsonStorage(folder)
    runs = [run(number) for number in range(300)]
    storage.upsert(session(*runs))
    path = storage.store.path("s1")
    before, inode = path.stat().st_size, path.stat().st_ino
    storage.upsert(session(*runs, run(300)))
    assert path.stat().st_ino == inode
    assert path.stat().st_size - before < 1000


def test_a_members_run_that_stands_beside_its_teams_is_stored_once_and_given_twice(folder: Path) -> None:
    def team_run(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        member = run(f"m{number}", "t1")
        whole = run(number, "t1", team_id="x", member_responses=[copy.deepcopy(member)])
        del whole["agent_id"]
        return member, whole

    runs: list[dict[str, Any]] = []
    for number in (1, 2):
        runs += team_run(number)
        context = {
            "member_interactions": [
                {"member_name": "m", "task": "one", "response": copy.deepcopy(one)} for one in runs[::2]
            ],
            "text": f"text {number}",
        }
        memory = {"summaries": {}, "memories": {}, "team_context": {"t1": context}, "runs": copy.deepcopy(runs)}
        wanted = TeamSession(session_id="t1", team_id="x", memory=memory, created_at=SECOND)
        JsonStorage(folder, "team").upsert(copy.deepcopy(wanted))
        found = JsonStorage(folder, "team").read("t1")
        assert comparable(found)["memory"] == comparable(replace(wanted, updated_at=0))["memory"]
    document = JsonStorage(folder).store.path("t1").read_text()
    assert document.count('"question m1"') == 1
    assert ids(JsonStorage(folder), "t1") == ["r1", "r2"]


def test_very_many_sessions_in_one_process(folder: Path) -> None:
    storage = JsonStorage(folder, durability="relaxed")
    for number in range(1, 4):
        for name in range(80):
            session_id = f"s{name}"
            known = storage.read(session_id)
            before = [] if known is None else known.memory["runs"]
            assert len(before) == number - 1
            storage.upsert(session(*before, run(number, session_id), session_id=session_id))
    assert ids(storage, "s0") == ids(storage, "s79") == ["r1", "r2", "r3"]


def test_it_pickles_and_is_copied(folder: Path) -> None:
    storage = YamlStorage(folder, "team")
    again = pickle.loads(pickle.dumps(storage))  # noqa: S301 (our own)
    assert (type(again), again.mode, again.dir_path) == (YamlStorage, "team", storage.dir_path)
    assert copy.deepcopy(storage) is storage
    again.upsert(TeamSession(session_id="t1", team_id="x"))
    assert storage.get_all_session_ids() == ["t1"]


CLASSES: dict[Any, tuple[type[Any], str]] = {
    "agent": (AgentSession, "agent_id"),
    "team": (TeamSession, "team_id"),
    "workflow": (WorkflowSession, "workflow_id"),
}
if HAS_STEPS:
    CLASSES["workflow_v2"] = (sessions.WorkflowSessionV2, "workflow_id")


@pytest.mark.parametrize("mode", CLASSES)
def test_the_filters_work_in_every_mode(folder: Path, mode: Any) -> None:
    for number, (made_in, (make, entity)) in enumerate(CLASSES.items()):
        storage = JsonStorage(folder, made_in)
        for user in ("alice", "bob", None):
            for who in ("x", "y"):
                name = f"{made_in}-{user}-{who}"
                times = {"created_at": SECOND + number + (who == "x") + 5 * (user == "bob")}
                storage.upsert(make(session_id=name, user_id=user, **{entity: who}, **times))
    stores: list[Any] = [JsonStorage(folder, mode), YamlStorage(folder, mode)]
    for storage in stores:
        for user in ("alice", "bob", None):
            for who in (*"xy", None):
                wanted = {f"{mode}-{u}-{w}" for u in ("alice", "bob", None) for w in ("x", "y")}
                wanted = {one for one in wanted if (user or "") in one and (who is None or one.endswith(who))}
                assert set(storage.get_all_session_ids(user, who)) == wanted
                assert {one.session_id for one in storage.get_all_sessions(user, who)} == wanted
                assert all(type(one) is CLASSES[mode][0] for one in storage.get_all_sessions(user, who))
        assert [one.session_id for one in storage.get_recent_sessions()] == [f"{mode}-bob-x", f"{mode}-bob-y"]
        assert len(storage.get_recent_sessions(limit=None)) == 6
        for other in CLASSES:
            if other != mode:
                with pytest.raises(KindMismatch):
                    storage.read(f"{other}-bob-x")


@pytest.mark.parametrize("storage_class", [JsonStorage, YamlStorage])
def test_a_read_error_is_never_taken_for_no_session(folder: Path, storage_class: type[Any]) -> None:
    storage = storage_class(folder)
    storage.upsert(session(run(1)))
    path = storage.store.path("s1")
    path.write_text("{broken: [")
    for again in (storage, storage_class(folder)):
        with pytest.raises(DocumentBroken):
            again.read("s1")
        with pytest.raises(DocumentBroken):
            again.upsert(session(run(1), run(2)))
    assert path.read_text() == "{broken: ["


@pytest.mark.parametrize(("own", "ours"), [(OwnStorage, JsonStorage), (OwnYamlStorage, YamlStorage)])
def test_a_folder_of_agnos_own_is_refused_or_converted(folder: Path, own: type[Any], ours: type[Any]) -> None:
    own(folder).upsert(session(run(1), run(2), state={"n": 1}, user_id="alice"))
    with pytest.raises(OlderFormat, match="localstore upgrade"):
        ours(folder)
    storage = ours(folder, auto_upgrade_schema=True)
    found = storage.read("s1", user_id="alice")
    assert [one["run_id"] for one in found.memory["runs"]] == ["r1", "r2"]
    assert found.session_data == {"session_state": {"n": 1}}
    storage.upsert(session(run(1), run(2), run(3), state={"n": 1}, user_id="alice"))
    assert ids(storage) == ["r1", "r2", "r3"]


def test_a_memory_of_the_form_that_agno_left_is_refused(folder: Path) -> None:
    old = session(run(1))
    old.memory = {"create_user_memories": False, "runs": [{"response": run(1)}]}
    for memory in (old.memory, {"runs": [{"input": {"topic": "x"}, "response": run(1)}]}):
        with pytest.raises(UnstorableValue, match=r"agno\.memory\.v2\.memory\.Memory"):
            JsonStorage(folder).upsert(replace(old, memory=memory))


def test_metrics_that_agno_does_not_know_do_not_keep_a_session_from_being_read(folder: Path) -> None:
    storage = JsonStorage(folder)
    told = {"input_tokens": 3, "cost": 0.5}
    messages: Any = [{"role": role, "content": role, "metrics": told} for role in ("user", "assistant", "assistant")]
    storage.store.append("s1", Run(messages=messages, run_id="r1"), entity_id="a1")
    found: Any = storage.read("s1")
    (first,) = found.memory["runs"]
    assert first["metrics"]["input_tokens"] == [3, 3]
    assert first["metrics"]["cost"] == [0.5, 0.5]


def test_a_session_of_localstore_can_be_gone_on_with(folder: Path) -> None:
    storage = JsonStorage(folder)
    messages = [Message(role="user", content="hi"), Message(role="assistant", content="hello")]
    storage.store.append("s1", Run(messages=messages, run_id="r1"), entity_id="a1")
    found = storage.read("s1")
    assert found is not None
    assert found.memory is not None
    (first,) = found.memory["runs"]
    assert [(one["role"], one["content"]) for one in first["messages"]] == [("user", "hi"), ("assistant", "hello")]
    whole: Any = found
    storage.upsert(replace(whole, memory={**found.memory, "runs": [first, run(2)]}))
    assert ids(storage) == ["r1", "r2"]
    document = json.loads(storage.store.path("s1").read_bytes())
    assert document["agent_id"] == "a1"
