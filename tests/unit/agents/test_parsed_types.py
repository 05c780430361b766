"""The type of `run.parsed`, for type checkers: mypy judges this file, and the test runs it."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any, assert_type

from pydantic import BaseModel

from localstore import Agent, FunctionModel, Run, Team


class Train(BaseModel):
    time: str


def trains() -> FunctionModel:
    return FunctionModel(lambda messages: '{"time": "7:58"}')


def test_parsed_has_the_type_of_the_response_model() -> None:
    """It was Any, so that a misspelled field was found only when the program ran."""
    agent = Agent(model=trains(), response_model=Train)
    run = agent.run("?")
    assert_type(run.parsed, Train)
    assert_type(asyncio.run(agent.arun("?")).parsed, Train)
    assert_type(agent.resume(), Run[Train] | None)
    assert run.parsed.time == "7:58"
    team = Team(members=[Agent(model=trains(), name="Anna")], mode="collaborate", model=trains(), response_model=Train)
    assert_type(team.run("?").parsed, Train)
    assert_type(Agent(model=trains()).run("?").parsed, Any)


def test_the_parameter_of_a_run_is_for_type_checkers_alone() -> None:
    """A class of its own for each parameter would not be a Run where the type is compared."""
    run: Run[Train] = Run[Train](run_id="r1")
    assert type(run) is Run
    assert type(pickle.loads(pickle.dumps(run))) is type(copy.deepcopy(run)) is Run  # noqa: S301
    assert Agent[Train](model=trains(), response_model=Train).run("?").parsed == Train(time="7:58")
