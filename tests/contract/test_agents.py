"""Agents and workflows remember, whatever keeps their sessions."""

from localstore import Agent, FunctionModel, Message, SessionStorage, Workflow
from localstore.agents.replay import stored_questions
from tests.contract.runs import read, run_ids


def heard(messages: list[Message]) -> str:
    """Answer with all that the user said."""
    return " ".join(message.text for message in messages if message.role == "user")


def test_an_agent_remembers_forks_and_undoes(storage: SessionStorage) -> None:
    agent = Agent(
        model=FunctionModel(heard, id="echo"),
        name="Guide",
        session_id="s1",
        user_id="alice",
        storage=storage,
        session_state={"seen": 0},
    )
    agent.run("one")
    assert agent.run("two").answer == "one two"
    agent.rename_session("Trip")
    session = read(storage, "s1")
    assert (session.user_id, session.agent_id, session.name) == ("alice", "guide", "Trip")
    other = Agent(model=FunctionModel(heard), session_id="s1", user_id="alice", storage=storage)
    assert other.run("three").answer == "one two three"
    undone = other.undo()
    assert undone is not None
    assert undone.question == "three"
    forked = agent.fork()
    assert run_ids(storage, forked) == run_ids(storage, "s1")
    assert agent.run("four").answer == "one two four"
    assert [question.run.question for question in stored_questions(read(storage, forked))] == ["one", "two", "four"]


def test_a_workflow_stores_each_step(storage: SessionStorage) -> None:
    def draft(topic: str) -> str:
        return f"{topic}!"

    def check(text: str) -> str:
        assert [step.name for step in read(storage, "flow").runs[0].steps or ()] == ["draft"]
        return text.upper()

    run = Workflow(steps=[draft, check], session_id="flow", storage=storage).run("trains")
    assert run.output == "TRAINS!"
    stored = read(storage, "flow")
    assert (stored.kind, stored.runs[0].status) == ("workflow", "completed")
    assert [(step.name, step.output) for step in stored.runs[0].steps or ()] == [
        ("draft", "trains!"),
        ("check", "TRAINS!"),
    ]
