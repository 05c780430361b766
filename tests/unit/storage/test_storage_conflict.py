"""Two writers of one run: nothing that one of them stored is lost, and nothing that the other one gave."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from localstore import Agent, Conflict, FunctionModel, JsonStorage, Message, Run, Session, Step, ToolCall
from localstore.models.schema import RunStatus
from tests.unit.raw import Storage, answered, parse, question, rescued

MOMENT = "2026-11-22T07:01:20.123Z"
CALL = Message(role="assistant", tool_calls=[ToolCall(id="1", name="pay", arguments={"amount": 10})])
PAID = Message(role="tool", tool_call_id="1", content="paid")


def form(*messages: Message, status: RunStatus = "unfinished", **fields: Any) -> Run:
    """The run r1 as it is after some messages."""
    asked = Message(role="user", content="pay it")
    return Run(run_id="r1", created_at=MOMENT, messages=[asked, *messages], status=status, **fields)


def says(text: str) -> Message:
    return Message(role="assistant", content=text)


def member(text: str, status: RunStatus = "completed") -> Run:
    return Run(run_id="m1", agent_id="ann", created_at=MOMENT, messages=[says(text)], status=status)


@pytest.mark.parametrize("followed", [False, True], ids=["the last entry", "another entry follows"])
def test_a_tool_round_of_a_run_that_was_finished_meanwhile_is_kept_in_rescue(storage: Storage, followed: bool) -> None:
    """It was acknowledged as already stored, and the record of the payment was nowhere."""
    other = type(storage)(storage.root)
    storage.append("s1", form())
    other.append("s1", form(says("I cannot pay."), status="completed"))
    if followed:
        other.append("s1", answered("r2"))
    before = storage.path("s1").read_bytes()
    with pytest.raises(Conflict, match="unfinished and differs from the stored run") as caught:
        storage.append("s1", form(CALL, PAID))
    assert storage.path("s1").read_bytes() == before
    (kept,) = rescued(storage)
    assert (kept["session_id"], kept["entry"]["messages"][-1]["content"]) == ("s1", "paid")
    rescue_file = caught.value.rescued
    assert rescue_file is not None
    assert Path(rescue_file).is_file()
    assert rescue_file in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).rescued == rescue_file  # noqa: S301 (our own)


def test_an_unfinished_form_that_the_finished_run_contains_is_a_repetition(storage: Storage) -> None:
    """A write that was tried again, and came late."""
    finished = form(CALL, PAID, says("Done."), status="completed", member_runs=[member("ok")])
    storage.append("s1", form(CALL))
    storage.append("s1", finished)
    before = storage.path("s1").read_bytes()
    for late in (form(), form(CALL), form(CALL, PAID, says("Do")), form(CALL, member_runs=[member("o")])):
        storage.append("s1", late)
    assert storage.path("s1").read_bytes() == before
    assert rescued(storage) == []


@pytest.mark.parametrize("followed", [False, True], ids=["the last entry", "another entry follows"])
@pytest.mark.parametrize("status", ["completed", "error", "cancelled"])
@pytest.mark.parametrize(
    "grown",
    [form(CALL, PAID), form(member_runs=[member("ok")]), form(steps=[Step(name="a", created_at=MOMENT)])],
    ids=["messages", "member runs", "steps"],
)
def test_a_finish_of_an_older_copy_does_not_erase_what_the_run_gained(
    storage: Storage, grown: Run, status: RunStatus, followed: bool
) -> None:
    """The round that another handle had stored was gone, with the member runs and steps."""
    other = type(storage)(storage.root)
    storage.append("s1", form())
    other.append("s1", grown)
    if followed:
        other.append("s1", answered("r2"))
    before = storage.path("s1").read_bytes()
    with pytest.raises(Conflict, match="differs from the stored run, which is unfinished") as caught:
        storage.append("s1", form(says("Done."), status=status))
    assert storage.path("s1").read_bytes() == before
    (kept,) = rescued(storage)
    assert kept["entry"]["status"] == status
    assert caught.value.rescued is not None


@pytest.mark.parametrize("finished", [question("r3", "?"), question("r3", "what?"), answered("r3", "what else?")])
def test_a_finish_has_every_message_of_the_unfinished_run(storage: Storage, finished: Run) -> None:
    """A finish with another question, or with fewer messages, took the place of what was stored."""
    storage.append("s1", answered("r3", "what?", status="unfinished"))
    before = storage.path("s1").read_bytes()
    with pytest.raises(Conflict):
        storage.append("s1", finished)
    assert storage.path("s1").read_bytes() == before


def test_the_text_that_was_streamed_is_replaced_when_the_model_was_asked_again(storage: Storage) -> None:
    for number, last in enumerate([says("other words"), CALL]):
        storage.append(f"s{number}", form(says("half of the ans")))
        storage.append(f"s{number}", form(last, says("Done."), status="completed"))
        (entry,) = parse(storage.path(f"s{number}"))["history"]
        assert (len(entry["messages"]), entry["status"]) == (3, "completed")


def test_a_finish_that_merges_its_state_does_not_erase_what_the_run_gained(storage: Storage) -> None:
    """The way of a run whose state goes behind another entry's was not looked at either."""
    other = type(storage)(storage.root)
    storage.append("s1", form())
    other.append("s1", form(CALL, PAID))
    other.update("s1", session_state={"theirs": 1})
    with pytest.raises(Conflict):
        storage.append("s1", form(says("Done."), status="completed", session_state={"mine": 1}), state_base={})
    assert parse(storage.path("s1"))["history"][0]["messages"][-1]["content"] == "paid"


def test_an_upsert_of_a_session_made_here_does_not_erase_what_the_run_gained(storage: Storage) -> None:
    """A session that was not read before finished the run with its older copy, and the round was gone."""
    storage.append("s1", form())
    storage.append("s1", form(CALL, PAID))
    with pytest.raises(Conflict, match="run r1 was changed here and in the store"):
        storage.upsert(Session(session_id="s1", history=[form(says("Done."), status="completed")]))
    assert parse(storage.path("s1"))["history"][0]["messages"][-1]["content"] == "paid"
    storage.upsert(Session(session_id="s1", history=[form(CALL, PAID, says("Done."), status="completed")]))
    assert parse(storage.path("s1"))["history"][0]["status"] == "completed"


def test_a_tool_round_of_an_agent_whose_run_was_resumed_elsewhere_is_kept_in_rescue(tmp_path: Path) -> None:
    """The second agent finished the run while the first one paid; the payment was acknowledged and stored nowhere."""
    paid = []

    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        second = Agent(model=FunctionModel(lambda _: "I cannot pay."), session_id="s", storage=JsonStorage(tmp_path))
        assert second.resume() is not None
        return "paid"

    def model(messages: list[Message]) -> Message:
        return says("Done.") if messages[-1].role == "tool" else CALL

    first = Agent(model=FunctionModel(model), tools=[pay], session_id="s", storage=JsonStorage(tmp_path))
    with pytest.raises(Conflict) as caught:
        first.run("pay it")
    assert paid == [10]
    assert caught.value.rescued is not None
    assert "paid" in Path(caught.value.rescued).read_text()
    (entry,) = parse(JsonStorage(tmp_path).path("s"))["history"]
    assert entry["messages"][-1]["content"] == "I cannot pay."
