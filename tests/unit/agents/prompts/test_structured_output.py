"""Answers that are data, and questions that are more than text."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from localstore import Agent, FunctionModel, JsonStorage, Message, OpenAIChat, ResponseInvalid, Run, ToolCall
from tests.scripted_server import scripted_server, text


class Trip(BaseModel):
    city: str
    days: int = Field(ge=1)


GOOD = '{"city": "Wien", "days": 2}'


def answering(*answers: str | Message) -> tuple[FunctionModel, list[list[Message]]]:
    asked: list[list[Message]] = []
    left = iter(answers)

    def answer(messages: list[Message]) -> str | Message:
        asked.append(messages)
        return next(left)

    return FunctionModel(answer), asked


def run(agent: Agent, question: str) -> Run:
    return agent.run(question)


def arun(agent: Agent, question: str) -> Run:
    return asyncio.run(agent.arun(question))


both_ways = pytest.mark.parametrize("asking", [run, arun])


@both_ways
@pytest.mark.parametrize("answer", [GOOD, f"```json\n{GOOD}\n```", f"\n```\n{GOOD}\n```\n"])
def test_an_answer_becomes_data(tmp_path: Path, asking: Callable[[Agent, str], Run], answer: str) -> None:
    """It is an object of the class in memory and a mapping in the document, next to the model's original text."""
    storage = JsonStorage(tmp_path)
    model, _ = answering(answer)
    made = asking(Agent(model=model, response_model=Trip, session_id="s", storage=storage), "where?")
    assert made.parsed == Trip(city="Wien", days=2)
    [entry] = json.loads(storage.path("s").read_bytes())["history"]
    assert entry["output"] == {"city": "Wien", "days": 2}
    assert entry["messages"][-1]["content"] == answer
    stored = storage.read("s")
    assert stored is not None
    assert stored.runs[0].output == {"city": "Wien", "days": 2}


@both_ways
def test_the_model_gets_one_chance_to_correct_an_invalid_answer(asking: Callable[[Agent, str], Run]) -> None:
    """The model is told what is wrong."""
    model, asked = answering('{"city": "Wien", "days": 0}', GOOD)
    made = asking(Agent(model=model, response_model=Trip), "where?")
    assert made.output == {"city": "Wien", "days": 2}
    assert [message.role for message in asked[1]] == ["user", "assistant", "user"]
    assert "not a valid Trip: days: Input should be greater than or equal to 1" in asked[1][-1].text


@both_ways
def test_a_second_invalid_answer_fails_the_run(tmp_path: Path, asking: Callable[[Agent, str], Run]) -> None:
    """Both answers are stored; the error holds the last one."""
    storage = JsonStorage(tmp_path)
    model, _ = answering("Wien!", "Wien, I said")
    agent = Agent(model=model, response_model=Trip, session_id="s", storage=storage)
    with pytest.raises(ResponseInvalid, match="not a valid Trip: Invalid JSON") as caught:
        asking(agent, "where?")
    assert caught.value.answer == "Wien, I said"
    [entry] = json.loads(storage.path("s").read_bytes())["history"]
    assert entry["status"] == "error"
    assert [message["content"] for message in entry["messages"][1::2]] == ["Wien!", "Wien, I said"]
    assert "output" not in entry


def test_tools_come_before_the_data() -> None:
    model, asked = answering(Message(role="assistant", tool_calls=[ToolCall(id="1", name="look", arguments={})]), GOOD)

    def look() -> str:
        return "found"

    assert Agent(model=model, tools=[look], response_model=Trip).run("?").output == {"city": "Wien", "days": 2}
    assert asked[1][-1].text == "found"


def test_a_server_is_sent_the_schema_of_the_class() -> None:
    """It has the strict form that the API requires: no other keys, all keys required."""
    with scripted_server(text(GOOD)) as server:
        model = OpenAIChat(api_key="none", base_url=server.base_url)
        made = Agent(model=model, response_model=Trip).run("?")
        model.close()
    assert made.parsed == Trip(city="Wien", days=2)
    asked = server.requests[0]["response_format"]
    assert (asked["type"], asked["json_schema"]["name"], asked["json_schema"]["strict"]) == (
        "json_schema",
        "Trip",
        True,
    )
    schema = asked["json_schema"]["schema"]
    assert (schema["required"], schema["additionalProperties"]) == (["city", "days"], False)


def test_a_response_model_must_be_a_pydantic_class() -> None:
    with pytest.raises(TypeError, match=r"response_model must be a class of pydantic.BaseModel"):
        Agent(model=FunctionModel(lambda messages: ""), response_model=dict)  # type: ignore[type-var]


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_images_and_files_belong_to_the_question(tmp_path: Path) -> None:
    """URLs stay as they are. For a file, the document has the path, and the server gets the content."""
    storage = JsonStorage(tmp_path / "store")
    image, pdf = tmp_path / "dot.png", tmp_path / "a.pdf"
    image.write_bytes(PNG)
    pdf.write_bytes(b"%PDF-1.4")
    with scripted_server(text("a dot"), text("yes"), text("still")) as server:
        model = OpenAIChat(api_key="none", base_url=server.base_url)
        agent = Agent(model=model, session_id="s", storage=storage, add_history_to_messages=True)
        agent.run("What is it?", images=["https://example.org/a.png", image], files=[pdf])
        agent.run("Sure?")
        image.unlink()
        agent.run("Really?")
        model.close()
    [entry, *_] = json.loads(storage.path("s").read_bytes())["history"]
    assert entry["messages"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image", "url": "https://example.org/a.png"},
        {"type": "image", "path": str(image)},
        {"type": "file", "path": str(pdf)},
    ]
    first, second, third = (request["messages"][0]["content"] for request in server.requests)
    assert first[1] == {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert first[2]["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert first[3]["file"]["filename"] == "a.pdf"
    assert second == first
    assert third[2] == {"type": "text", "text": f"[The file {image} no longer exists.]"}


@pytest.mark.parametrize("way", ["run", "arun", "stream"])
def test_a_missing_file_is_refused_before_anything_is_stored(tmp_path: Path, way: str) -> None:
    storage = JsonStorage(tmp_path)
    agent = Agent(model=FunctionModel(lambda messages: ""), storage=storage)
    calls: dict[str, Callable[[], Any]] = {
        "run": lambda: agent.run("?", images=["missing.png"]),
        "arun": lambda: asyncio.run(agent.arun("?", files=["missing.png"])),
        "stream": lambda: list(agent.stream("?", images=[Path("missing.png")])),
    }
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        calls[way]()
    with pytest.raises(TypeError, match="images must be a list"):
        agent.run("?", images="missing.png")
    assert storage.list_sessions() == []
