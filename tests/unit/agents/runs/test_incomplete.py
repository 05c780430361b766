"""Answers that are not complete: what is stored of them, where it is shown, and where such runs are left out."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from localstore import (
    Agent,
    FunctionModel,
    JsonStorage,
    Message,
    OpenAIChat,
    ResponseInvalid,
    Team,
    ToolCall,
    Workflow,
    YamlStorage,
)
from localstore.agents.models.model import Model, Piece, Reply
from localstore.exporting import html_page, markdown_text, openai_lines
from tests.scripted_server import scripted_server, text, tool_call
from tests.unit.agents.models.test_odd_servers import WAYS

CUT_OFF = text(
    "It is",
    model="tiny-2026",
    finish_reason="length",
    details={
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
)


class Limited(FunctionModel):
    """A model whose answers are cut off, unless they call a tool."""

    def stream(self, messages: Any, options: Any = None, /) -> Generator[Piece]:
        for piece in super().stream(messages):
            yield replace(piece, finish_reason="length") if isinstance(piece, Reply) else piece


def limited(answer: str | Message = "It is", **options: Any) -> Agent:
    return Agent(model=Limited(lambda _: answer), **options)


@pytest.mark.parametrize("save_partial", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
def test_a_truncated_answer_is_stored_as_such(kind: type, way: str, save_partial: bool, tmp_path: Path) -> None:
    """It was stored as any complete answer, under the name of a model that had not answered."""
    storage = kind(tmp_path)
    with scripted_server(CUT_OFF) as server:
        model = OpenAIChat(id="tiny", base_url=server.base_url, api_key="none", max_retries=0)
        WAYS[way](Agent(model=model, session_id="s", storage=storage, save_partial=save_partial))
        model.close()
    (run,) = storage.read("s").runs
    assert (run.status, run.finish_reason, run.answer) == ("completed", "length", "It is")
    assert (run.model, run.requested_model, run.answered_by) == ("tiny-2026", "tiny", None)
    assert (run.metrics.cached_tokens, run.metrics.reasoning_tokens) == (5, None)
    assert list(run.__document__())[-5:] == ["model", "requested_model", "finish_reason", "metrics", "status"]


def test_nothing_is_stored_of_a_complete_answer(tmp_path: Path) -> None:
    """Documents do not grow by keys that say that all is well."""
    storage = JsonStorage(tmp_path)
    with scripted_server(tool_call("look", "{}"), text("Done")) as server:
        model = OpenAIChat(id="tiny", base_url=server.base_url, api_key="none", max_retries=0)
        Agent(model=model, session_id="s", storage=storage, tools=[look]).run("hi")
        model.close()
    [entry] = json.loads(storage.path("s").read_bytes())["history"]
    assert entry.keys() == {"type", "run_id", "created_at", "messages", "model", "metrics", "status"}
    assert entry["metrics"].keys() == {"input_tokens", "output_tokens", "duration_seconds"}


def look() -> str:
    """Look around."""
    return "a tree"


def test_members_and_steps_say_so_too(tmp_path: Path) -> None:
    """Also the leader whose member's truncated answer becomes the team's answer."""
    storage = JsonStorage(tmp_path)
    call = ToolCall(id="1", name="route_to", arguments={"member": "Ann"})
    leader = FunctionModel(lambda _: Message(role="assistant", tool_calls=[call]))
    team = Team(members=[limited(name="Ann")], mode="route", model=leader, session_id="t", storage=storage)
    run = team.run("Which train?")
    assert (run.finish_reason, [one.finish_reason for one in run.member_runs or []]) == ("length", ["length"])
    flow = Workflow(steps=[limited(name="Ann")], session_id="w", storage=storage)
    flow.run("Which train?")
    session = storage.read("w")
    assert session is not None
    assert [step.finish_reason for step in session.runs[0].steps or []] == ["length"]


def test_the_error_of_truncated_data_says_so() -> None:
    """JSON that was cut off is no valid JSON; raising the limit helps, asking again does not."""

    class Train(BaseModel):
        time: str

    with pytest.raises(ResponseInvalid) as caught:
        limited('{"time": "7', response_model=Train).run("Which train?")
    assert caught.value.__notes__ == ["The answer is not complete (finish_reason: length)."]


def test_a_truncated_summary_replaces_nothing(tmp_path: Path) -> None:
    """It would stand for runs that it does not cover, and the model would never see them again."""
    storage = JsonStorage(tmp_path)
    agent = limited(session_id="s", storage=storage, enable_session_summaries=True, num_history_runs=1)
    agent.run("1")
    with pytest.warns(UserWarning, match=r"summary could not be made.*finish_reason: length"):
        agent.run("2")
    session = storage.read("s")
    assert session is not None
    assert session.session_summary is None


def test_truncated_answers_are_no_examples(tmp_path: Path) -> None:
    """They taught a model to stop in the middle of a sentence. The export names them."""
    storage = JsonStorage(tmp_path)
    limited(session_id="s", storage=storage).run("cut")
    Agent(model=FunctionModel(lambda _: "whole"), session_id="s", storage=storage).run("asked")
    session = storage.read("s")
    assert session is not None
    for run in session.runs:
        storage.rate("s", run.run_id, "good")
    assert [message.text for message in storage.examples()] == ["asked", "whole"]
    left_out: list[tuple[str, str]] = []
    lines = list(openai_lines([session], lambda _, run, why: left_out.append((run.question, why))))
    assert [message["content"] for message in json.loads(lines[0])["messages"]] == ["asked", "whole"]
    assert left_out == [("cut", "it is truncated (finish_reason: length)")]


def test_exports_and_the_terminal_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = JsonStorage(tmp_path)
    limited(session_id="s", storage=storage).print_response("?")
    assert "not complete (finish_reason: length). It reached the limit of tokens." in capsys.readouterr().err
    session = storage.read("s")
    assert session is not None
    assert "## Run 1 (truncated)" in "".join(markdown_text([session]))
    assert "truncated" in "".join(html_page([session]))
    session.runs[0].finish_reason = "content_filter"
    assert "## Run 1 (incomplete)" in "".join(markdown_text([session]))


def test_a_function_is_recorded_as_one(tmp_path: Path) -> None:
    """Its id looked like the name of a model, and `localstore chat` asked a server for it."""

    class Own:
        id = "own-model"

        def respond(self, messages: Any, options: Any = None, /) -> Reply:
            return Reply(Message(role="assistant", content="hi"))

        async def arespond(self, messages: Any, options: Any = None, /) -> Reply:
            return self.respond(messages)

    storage = JsonStorage(tmp_path)
    models: tuple[Model, ...] = (FunctionModel(lambda _: "hi", id="offline"), Own())
    for model in models:
        Agent(model=model, session_id="s", storage=storage).run("hello")
    session = storage.read("s")
    assert session is not None
    assert [(run.model, run.answered_by) for run in session.runs] == [("offline", "function"), ("own-model", "Own")]
