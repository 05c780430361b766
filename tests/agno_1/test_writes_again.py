"""Sessions that are written again read back as from agno's own storage: random writes, and what they found."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from agno.storage.json import JsonStorage as OwnStorage
from agno.storage.session import AgentSession, WorkflowSession

from localstore.integrations.agno import JsonStorage, YamlStorage
from tests.agno_1.sides import HAS_STEPS, comparable

SECOND = 1_795_331_431
SEQUENCES = 40


def message(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "created_at": SECOND, **more}


def run(number: int, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"r{number}",
        "session_id": "s",
        "agent_id": "a",
        "created_at": SECOND + number,
        "status": "RUNNING",
        "messages": list(messages),
        **more,
    }


def asked(number: int, system: str | None = None, answer: str = "answer", **more: Any) -> dict[str, Any]:
    first = [] if system is None else [message("system", system)]
    return run(number, *first, message("user", f"question {number}"), message("assistant", answer), **more)


def session(*runs: dict[str, Any], memory: Any = None, **more: Any) -> AgentSession:
    held = {"runs": copy.deepcopy(list(runs)), **(memory or {})}
    return AgentSession(
        session_id="s", user_id="u", agent_id="a", memory=held, **{"session_data": {}, "created_at": SECOND, **more}
    )


def read(storage: JsonStorage) -> Any:
    """Return the session, which is there."""
    found = storage.read("s")
    assert found is not None
    return found


def contents(storage: JsonStorage) -> list[list[str]]:
    """Return the texts of the messages of each run, as agno reads them."""
    return [[one["content"] for one in run["messages"]] for run in read(storage).memory["runs"]]


def written(folder: Path, *writes: AgentSession) -> JsonStorage:
    """Write one session after the other, and return a storage of a new process."""
    storage = JsonStorage(folder)
    for one in writes:
        storage.upsert(one)
    assert contents(storage) == contents(JsonStorage(folder))
    return JsonStorage(folder)


def test_keys_of_the_memory_that_agno_does_not_know_are_given_back(folder: Path) -> None:
    """They were in the document, but agno did not get them."""
    storage = written(folder, session(memory={"key": "value", "more": {"a": [1]}}))
    memory = read(storage).memory
    assert (memory["key"], memory["more"]) == ("value", {"a": [1]})


def test_a_replaced_run_without_a_system_message_has_none(folder: Path) -> None:
    """It came back with the system message of its old form."""
    storage = written(folder, session(asked(1, "one"), asked(2, "two")), session(asked(1), asked(2, "two")))
    assert contents(storage) == [["question 1", "answer"], ["two", "question 2", "answer"]]


def test_a_run_keeps_its_system_message_when_an_earlier_run_gets_another(folder: Path) -> None:
    """It came back with that of the replaced run, on whose instructions its entry relied."""
    storage = written(folder, session(asked(1, "one"), asked(2, "one")), session(asked(1, "other"), asked(2, "one")))
    assert [texts[0] for texts in contents(storage)] == ["other", "one"]
    assert storage.store.read("s").instructions == "one"  # type: ignore[union-attr]


def test_a_run_that_is_replaced_by_one_with_the_message_before_it_has_that_message(folder: Path) -> None:
    """It kept the old one; the run after it relies on that."""
    first = [asked(1, "one"), asked(2, "two"), asked(3, "two")]
    storage = written(folder, session(*first), session(first[0], asked(2, "one"), first[2]))
    assert [texts[0] for texts in contents(storage)] == ["one", "one", "two"]


def test_a_run_without_a_system_message_gets_none_from_a_replaced_run(folder: Path) -> None:
    storage = written(folder, session(asked(1), asked(2)), session(asked(1, "new"), asked(2)))
    assert [texts[0] for texts in contents(storage)] == ["new", "question 2"]


def test_the_next_run_after_a_replaced_last_one_has_its_own_system_message(folder: Path) -> None:
    storage = written(
        folder, session(asked(1, "one")), session(asked(1, "two")), session(asked(1, "two"), asked(2, "one"))
    )
    assert [texts[0] for texts in contents(storage)] == ["two", "one"]


def test_messages_that_a_later_run_copied_stay_as_they_were_copied(folder: Path) -> None:
    """A replaced run has another answer now. The later run was asked with the old one."""
    copied = [message("user", "question 1", from_history=True), message("assistant", "answer", from_history=True)]
    later = run(2, *copied, message("user", "question 2"))
    storage = written(folder, session(asked(1), later), session(asked(1, answer="another"), later))
    assert contents(storage) == [["question 1", "another"], ["question 1", "answer", "question 2"]]
    storage.upsert(session(asked(1, answer="another"), later, asked(3)))
    assert contents(storage)[1:] == [["question 1", "answer", "question 2"], ["question 3", "answer"]]


def test_a_run_may_consist_of_copies_alone(folder: Path) -> None:
    """Storing it raised KeyError('messages')."""
    copied = [message("user", "question 1", from_history=True), message("assistant", "answer", from_history=True)]
    storage = written(folder, session(asked(1)), session(asked(1), run(2, *copied)))
    assert contents(storage) == [["question 1", "answer"]] * 2


@pytest.mark.parametrize("first_reads", [False, True])
def test_an_empty_mapping_replaces_what_was_there(folder: Path, first_reads: bool) -> None:
    """The old value stayed."""
    storage = written(folder, session(extra_data={"a": 1}, agent_data={"name": "x"}))
    if first_reads:
        storage.read("s")
    storage.upsert(session(extra_data={}, agent_data={}))
    back = read(JsonStorage(folder))
    assert not back.extra_data
    assert not back.agent_data


def test_runs_keep_the_name_of_their_agent_when_it_is_renamed(folder: Path) -> None:
    """They leave it out when the session has the same one, and came back with the new name."""
    named = {**asked(1), "agent_name": "old"}
    storage = written(folder, session(named, asked(2), agent_data=_agent("old")))
    storage.read("s")
    storage.upsert(session(named, asked(2), asked(3), agent_data=_agent("new")))
    runs = read(JsonStorage(folder)).memory["runs"]
    assert [one.get("agent_name") for one in runs] == ["old", None, None]


def test_a_name_that_agno_took_away_is_gone_but_tags_and_names_given_elsewhere_stay(folder: Path) -> None:
    storage = written(folder, session(session_data={"session_name": "trip"}))
    storage.store.update("s", add_tags=["x"])
    storage.read("s")
    storage.upsert(session())
    assert storage.store.read("s").name is None  # type: ignore[union-attr]
    storage.store.update("s", name="named by a person")
    storage.upsert(session(asked(1)))
    kept = storage.store.read("s")
    assert kept is not None
    assert (kept.name, kept.tags) == ("named by a person", ["x"])


def test_a_session_may_be_any_object_with_the_attributes(folder: Path) -> None:
    """agno's own storages take one; here it raised TypeError."""

    class Session:
        session_id, user_id, agent_id, team_session_id, agent_data, extra_data = "s", "u", "a", None, None, None
        memory, session_data, created_at = {"runs": [asked(1)]}, {"session_state": {"x": 1}}, SECOND

    storage = JsonStorage(folder)
    storage.upsert(Session())  # type: ignore[arg-type]
    back = read(storage)
    assert (back.user_id, back.session_data["session_state"]) == ("u", {"x": 1})
    assert contents(storage) == [["question 1", "answer"]]


def test_a_first_workflow_that_pauses_keeps_its_new_content(folder: Path) -> None:
    """The form with the status PAUSED was taken for an older one, and ignored."""

    def paused(status: str, content: str) -> WorkflowSession:
        one = {"run_id": "r", "workflow_id": "w", "session_id": "s", "created_at": SECOND}
        runs = [{**one, "status": status, "content": content}]
        return WorkflowSession(session_id="s", workflow_id="w", memory={"runs": runs}, session_data={})

    storage = JsonStorage(folder, mode="workflow")
    storage.upsert(paused("RUNNING", "first"))
    storage.upsert(paused("PAUSED", "second"))
    (back,) = read(JsonStorage(folder, mode="workflow")).memory["runs"]
    assert (back["status"], back["content"]) == ("PAUSED", "second")


def test_a_paused_form_without_the_stored_answer_does_not_replace_it(folder: Path) -> None:
    """Another process may still hold the run as it was before it was continued."""
    early = run(1, message("user", "question 1"), status="PAUSED")
    storage = JsonStorage(folder)
    storage.upsert(session(asked(1)))
    JsonStorage(folder).upsert(session(early))
    assert contents(storage) == [["question 1", "answer"]]


@pytest.mark.skipif(not HAS_STEPS, reason="this release has no workflows with steps")
def test_a_step_may_give_a_path_for_an_image(folder: Path) -> None:
    """Storing the run raised AttributeError out of `workflow.run`, and its answer was lost."""
    from agno.workflow.v2 import Step, Workflow
    from agno.workflow.v2.types import StepInput, StepOutput

    def draw(step_input: StepInput) -> StepOutput:
        return StepOutput(content="drawn", images=["x.jpg"])

    storage = JsonStorage(folder, mode="workflow_v2")
    workflow = Workflow(name="w", steps=[Step(name="draw", executor=draw)], storage=storage, session_id="s")
    assert workflow.run(message="hi").content == "drawn"
    (back,) = read(JsonStorage(folder, mode="workflow_v2")).runs
    assert [image.url for image in back.step_responses[0].images] == ["x.jpg"]


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_random_writes_read_back_as_from_agno(tmp_path: Path, kind: type[JsonStorage], seed: int) -> None:
    chance = random.Random(seed)
    ours, own = kind(tmp_path / "ours"), OwnStorage(tmp_path / "own")
    runs: list[dict[str, Any]] = []
    fields: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    for step in range(8):
        match chance.choice(("add", "add", "add", "replace", "replace", "fields", "memory", "process")):
            case "add":
                runs.append(_any_run(chance, len(runs), runs, step))
            case "replace" if runs:
                number = chance.randrange(len(runs))
                runs[number] = _any_run(chance, number, runs[:number], step)
            case "fields":
                fields = {
                    "extra_data": chance.choice(({}, {"a": step}, {"b": None, "c": [1]})),
                    "agent_data": chance.choice(({}, _agent("x"), _agent("y", model={"id": "m"}))),
                    "session_data": {"session_state": {"step": step}, "session_name": chance.choice(("n", "m"))},
                }
            case "memory":
                memory = {chance.choice("ab"): {"step": step}, "c": 1}
            case "process":
                ours = kind(tmp_path / "ours")
                ours.read("s")
        one = session(*runs, memory=memory, **fields)
        assert own.upsert(copy.deepcopy(one)) is not None
        ours.upsert(one)
        back = (ours if chance.random() < 0.5 else kind(tmp_path / "ours")).read("s")
        assert comparable(back) == comparable(own.read("s")), f"write {step}"


def _agent(name: str, **more: Any) -> dict[str, Any]:
    return {"agent_id": "a", "name": name, **more}


def _any_run(chance: random.Random, number: int, earlier: list[dict[str, Any]], step: int) -> dict[str, Any]:
    """Return a run that may have a system message, and copies of the messages of earlier runs.

    No two forms of a run are equal: one that was written before is never written again.
    """
    system = chance.choice((None, "one", "one", "two"))
    messages = [] if system is None else [message("system", system)]
    for before in earlier[-chance.choice((0, 1, 2)) or len(earlier) :]:
        own = [one for one in before["messages"] if not one.get("from_history") and one["role"] != "system"]
        messages += [{**copy.deepcopy(one), "from_history": True} for one in own]
    if chance.random() < 0.9:
        messages += [message("user", f"question {number}"), message("assistant", f"answer of step {step}")]
    return run(number, *messages, content=f"content of step {step}", status="COMPLETED")
