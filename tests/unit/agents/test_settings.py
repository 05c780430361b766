"""The settings of agents, teams and workflows are checked when they are made and when they are set."""

from typing import Any

import pytest

from localstore import Agent, FunctionModel, Team, Workflow


def new_agent(**settings: Any) -> Agent:
    return Agent(model=FunctionModel(lambda _: "hi"), **settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session_id", 5),
        ("user_id", 5),
        ("name", 5),
        ("description", 5),
        ("num_history_runs", "3"),
        ("num_history_runs", True),
        ("max_history_tokens", 1.5),
        ("max_tool_rounds", None),
        ("show_tool_calls", "no"),
        ("add_history_to_messages", "False"),
        ("save_partial", "no"),
        ("strict_state", "no"),
    ],
)
def test_a_setting_of_a_wrong_type_is_an_error_where_it_is_made(name: str, value: object) -> None:
    """`Agent(session_id=5)` failed at the first write, and `num_history_runs="3"` in the middle of a run."""
    with pytest.raises(TypeError, match=f"{name} must be "):
        new_agent(**{name: value})
    agent = new_agent()
    before = getattr(agent, name)
    with pytest.raises(TypeError, match=f"{name} must be "):
        setattr(agent, name, value)
    assert getattr(agent, name) == before


@pytest.mark.parametrize("name", ["read_chat_history", "search_previous_sessions_history", "enable_session_summaries"])
def test_an_option_of_the_constructor_is_a_bool(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be True or False, not 'no'"):
        new_agent(**{name: "no"})


def test_a_negative_number_of_runs_is_an_error() -> None:
    with pytest.raises(ValueError, match="num_history_runs must be a whole number from 0 on, not -1"):
        new_agent(num_history_runs=-1)


def test_the_id_in_an_error_is_that_of_the_kind() -> None:
    wrong: Any = 5
    agent = new_agent(name="Anna")
    with pytest.raises(TypeError, match="agent_id must be text"):
        new_agent(agent_id=wrong)
    with pytest.raises(TypeError, match="team_id must be text"):
        Team(members=[agent], model=agent.model, team_id=wrong)
    with pytest.raises(TypeError, match="workflow_id must be text"):
        Workflow(steps=[str], workflow_id=wrong)
    with pytest.raises(TypeError, match="session_id must be text"):
        Workflow(steps=[str], session_id=wrong)
    with pytest.raises(ValueError, match=r"mode must be one of .*, not 'rout'\. Did you mean 'route'\?"):
        Team(members=[agent], model=agent.model, mode="rout")  # type: ignore[arg-type]


def test_valid_settings_can_be_set() -> None:
    agent = new_agent(session_id="s", num_history_runs=0)
    agent.num_history_runs = 5
    agent.max_history_tokens = None
    agent.add_history_to_messages = True
    agent.user_id = None
    assert agent.run("hello").answer == "hi"
