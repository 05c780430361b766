"""Tools: what a model is told of a function, how it is called, and what the model hears of what went wrong."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from localstore import Agent, FunctionModel, JsonStorage, Message, OpenAIChat, RunContext, Tool, ToolCall
from tests.scripted_server import scripted_server, text, tool_call


class City(BaseModel):
    name: str
    country: str = "AT"


def book(
    city: City,
    days: Annotated[int, Field(ge=1, description="For how long.")],
    kind: Literal["hotel", "flat"] = "hotel",
    arrival: date | None = None,
) -> dict[str, Any]:
    """Book a place to stay.

    It costs nothing.

    Args:
        city: Where to,
            of all places.
        kind: What it should be.

    Returns:
        What was booked.
    """
    return {"city": city.name, "days": days, "kind": kind, "arrival": arrival}


def call(name: str, arguments: Any, call_id: str = "c1") -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


CONTEXT = RunContext("s", "r", "alice", {})


def test_a_tool_is_described_by_its_signature_and_docstring() -> None:
    """The JSON schema comes from the signature, the words from the docstring."""
    schema = Tool(book).schema
    assert (schema.name, schema.description) == ("book", "Book a place to stay.\n\nIt costs nothing.")
    properties = schema.parameters["properties"]
    assert properties["city"]["description"] == "Where to, of all places."
    assert properties["days"] == {"description": "For how long.", "minimum": 1, "type": "integer"}
    assert properties["kind"]["enum"] == ["hotel", "flat"]
    assert properties["kind"]["description"] == "What it should be."
    assert schema.parameters["required"] == ["city", "days"]
    assert schema.parameters["additionalProperties"] is False
    assert schema.parameters["$defs"]["City"]["properties"].keys() == {"name", "country"}


def test_parameters_are_described_in_the_style_of_sphinx_as_well() -> None:
    def add(x: int, y: int) -> int:
        """Add.

        :param x: the first
            of both
        :param int y: the second
        :returns: the sum
        """
        return x + y

    schema = Tool(add).schema
    assert schema.description == "Add."
    said = {name: one["description"] for name, one in schema.parameters["properties"].items()}
    assert said == {"x": "the first of both", "y": "the second"}


def test_numpy_style_and_examples() -> None:
    """A docstring in NumPy's style describes the parameters too; examples stay part of the description."""

    def add(x: int, y: int) -> int:
        """Add.

        Parameters
        ----------
        x : int
            The first.
        """
        return x + y

    def search(words: str) -> str:
        """Search.

        Example:
            search("a b") finds both.

        Args:
            words: What to look for.
        """
        return words

    assert Tool(add).schema.description == "Add."
    assert Tool(add).schema.parameters["properties"]["x"]["description"] == "The first."
    assert Tool(search).schema.description == 'Search.\n\nExample:\nsearch("a b") finds both.'
    assert Tool(search).schema.parameters["properties"]["words"]["description"] == "What to look for."


def test_parameters_may_be_named_like_attributes_of_pydantic_models() -> None:
    """Pydantic warned that `schema` shadows an attribute; `model_config` and `_id` could not be parameters at all."""

    def look_up(schema: str, json: str, copy: str, dict: str, validate: str, model_config: str, _id: str) -> list[str]:  # noqa: A002
        return [schema, json, copy, dict, validate, model_config, _id]

    tool = Tool(look_up)
    names = ["schema", "json", "copy", "dict", "validate", "model_config", "_id"]
    assert list(tool.schema.parameters["properties"]) == names
    assert tool.schema.parameters["required"] == names
    assert json.loads(tool.call(call("look_up", {name: name for name in names}), CONTEXT).text) == names
    assert tool.call(call("look_up", {}), CONTEXT).text.startswith("Error: invalid arguments: schema: Field required")


def test_arguments_are_converted_to_the_declared_types() -> None:
    """Text becomes a number or a date, a mapping becomes a model; the result is JSON."""
    result = Tool(book).call(call("book", {"city": {"name": "Wien"}, "days": "2", "arrival": "2026-12-01"}), CONTEXT)
    assert json.loads(result.text) == {"city": "Wien", "days": 2, "kind": "hotel", "arrival": "2026-12-01"}
    assert not result.failed


def returns(value: Any) -> Callable[[], Any]:
    def give() -> Any:
        return value

    return give


@pytest.mark.parametrize(
    ("value", "said"),
    [("as it is", "as it is"), (None, ""), ({"ä": (1, 2)}, '{"ä": [1, 2]}'), (True, "true"), (City(name="W"), None)],
)
def test_a_result_is_text_or_json(value: Any, said: str | None) -> None:
    result = Tool(returns(value)).call(call("give", {}), CONTEXT)
    assert result.text == (said if said is not None else '{"name": "W", "country": "AT"}')


def raises(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        (book, {"city": {"name": "Wien"}, "days": 0}, "invalid arguments: days: Input should be greater than"),
        (book, {"city": {"name": "Wien"}, "days": 1, "more": 1}, "more: Extra inputs are not permitted"),
        (book, {}, "city: Field required"),
        (book, '{"city": ', "the arguments are not a JSON object: '{\"city\": '"),
        (raises(ZeroDivisionError("division by zero")), {}, "ZeroDivisionError: division by zero"),
        (raises(ValueError("no such city")), {}, "Error: no such city"),
        (raises(OSError("\udcff")), {}, "\\udcff"),
        (returns(object()), {}, "UnstorableValue"),
        (returns("\ud83d"), {}, "UnstorableValue"),
    ],
)
def test_errors_of_a_tool_are_reported_to_the_model(tool: Callable[..., Any], arguments: Any, said: str) -> None:
    """A tool never ends the run: the model is told what to do better."""
    made = Tool(tool)
    result = made.call(call(made.name, arguments), CONTEXT)
    assert result.failed
    assert result.text.startswith("Error: ")
    assert said in result.text
    result.text.encode()


def test_a_parameter_without_a_type_takes_any_json_value() -> None:
    """It took text alone: a number that the model passed became an error, and a list could not be passed at all."""

    def keep(value):  # type: ignore[no-untyped-def]
        return value

    tool = Tool(keep)
    assert tool.schema.parameters["properties"] == {"value": {}}
    for value in (1, 1.5, True, None, "text", [1, {"a": None}], {"a": [1]}):
        assert tool.arguments(call("keep", {"value": value}), CONTEXT) == {"value": value}


def test_an_async_tool_under_a_running_loop_raises_to_the_developer(tmp_path: Path) -> None:
    """The model was told to `await agent.arun(...)`, which it cannot do, and the developer saw an odd answer."""

    async def look_up() -> str:
        return "never"

    storage = JsonStorage(tmp_path)

    async def ask() -> None:
        model, asked = scripted([call("look_up", {})], "I could not look it up.")
        with pytest.raises(RuntimeError, match="The tool look_up is async"):
            Agent(model=model, tools=[look_up], session_id="s", storage=storage).run("?")
        assert len(asked) == 1

    asyncio.run(ask())
    session = storage.read("s")
    assert session is not None
    assert session.runs[0].status == "error"


def test_a_callable_object_and_a_partial_are_described_like_a_function() -> None:
    """The types of a callable object could not be resolved, and a partial was described as `partial(func, ...)`."""

    class LookUp:
        def __call__(self, word: str, limit: int = 3) -> str:
            """Look up a word."""
            return f"{word} {limit}"

    for tool in (Tool(LookUp(), name="look_up"), Tool(functools.partial(LookUp(), limit=5), name="look_up")):
        assert tool.schema.description == "Look up a word."
        assert tool.schema.parameters["properties"]["word"] == {"type": "string"}
    assert tool.call(call("look_up", {"word": "a"}), CONTEXT).text == "a 5"


def test_tools_must_be_a_list_of_functions() -> None:
    """`tools=print` said "'builtin_function_or_method' object is not iterable"."""
    model = FunctionModel(lambda messages: "")
    tools: Any
    for tools, message in (
        (print, r"tools must be a list of functions: tools=\[print\]"),
        (Tool(book), r"tools=\[book\]"),
        (5, "tools must be a list of functions, not int"),
        ("book", "A tool must be a function, not str"),
        ([5], "A tool must be a function, not int"),
        ([iter], "The parameters of the tool iter are unknown"),
    ):
        with pytest.raises(TypeError, match=message):
            Agent(model=model, tools=tools)


def test_ctrl_c_in_a_tool_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        Tool(raises(KeyboardInterrupt())).call(call("fail", {}), CONTEXT)


def test_an_invalid_tool_is_refused_when_the_agent_is_created() -> None:
    """Otherwise the error would only come when a model calls it."""

    def many(*cities: str) -> None: ...
    def odd(thing: Iterator[object]) -> None: ...
    def unknown(thing: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    model = FunctionModel(lambda messages: "")
    for tool, said in (
        (many, r"\*cities"),
        (unknown, "Missing"),
        (3, "must be a function, not int"),
        (lambda: 1, "not a valid name for a tool"),
    ):
        with pytest.raises(TypeError, match=said):
            Agent(model=model, tools=[tool])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="Two tools are named 'book'"):
        Agent(model=model, tools=[book, Tool(lambda: 1, name="book")])
    del odd


def scripted(*answers: str | Message | list[ToolCall]) -> tuple[FunctionModel, list[list[Message]]]:
    """Return a model with these answers, and the list of the messages it receives."""
    asked: list[list[Message]] = []
    left = iter(answers)

    def answer(messages: list[Message]) -> str | Message:
        asked.append(messages)
        said = next(left)
        return Message(role="assistant", tool_calls=said) if isinstance(said, list) else said

    return FunctionModel(answer), asked


@pytest.mark.parametrize("way", ["run", "arun"])
def test_calls_and_results_are_stored_and_given_to_the_model(tmp_path: Path, way: str) -> None:
    """Two rounds, two calls in the first: each result names its call, and the answer comes last."""
    storage = JsonStorage(tmp_path)
    calls = [call("add", {"x": 1, "y": 2}, "a"), call("add", {"x": 3, "y": 4}, "b")]
    model, asked = scripted(calls, [call("add", {"x": 3, "y": 7}, "c")], "It is 10.")

    def add(x: int, y: int) -> int:
        return x + y

    agent = Agent(model=model, tools=[add], session_id="s", storage=storage)
    run = agent.run("?") if way == "run" else asyncio.run(agent.arun("?"))
    assert run.answer == "It is 10."
    [entry] = json.loads(storage.path("s").read_bytes())["history"]
    assert entry["messages"][1:-1] == [
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "a", "name": "add", "arguments": {"x": 1, "y": 2}},
                {"id": "b", "name": "add", "arguments": {"x": 3, "y": 4}},
            ],
        },
        {"role": "tool", "content": "3", "tool_call_id": "a"},
        {"role": "tool", "content": "7", "tool_call_id": "b"},
        {"role": "assistant", "tool_calls": [{"id": "c", "name": "add", "arguments": {"x": 3, "y": 7}}]},
        {"role": "tool", "content": "10", "tool_call_id": "c"},
    ]
    assert [message.role for message in asked[-1]] == ["user", "assistant", "tool", "tool", "assistant", "tool"]


def test_each_round_is_on_disk_before_the_model_is_asked_again(tmp_path: Path) -> None:
    """A process that dies then has not lost what the tools did."""
    storage = JsonStorage(tmp_path)
    seen: list[Any] = []

    def answer(messages: list[Message]) -> str | Message:
        seen.append(json.loads(storage.path("s").read_bytes())["history"][-1])
        return "done" if len(seen) == 2 else Message(role="assistant", tool_calls=[call("give", {})])

    Agent(model=FunctionModel(answer), tools=[Tool(returns("7"), name="give")], session_id="s", storage=storage).run(
        "?"
    )
    assert [len(entry["messages"]) for entry in seen] == [1, 3]
    assert [entry["status"] for entry in seen] == ["unfinished", "unfinished"]


def test_a_tool_gets_the_run_and_changes_its_state(tmp_path: Path) -> None:
    """The parameter is not shown to the model; the state is stored with the run and is the agent's from then on."""
    seen: list[RunContext] = []

    def visit(city: str, context: RunContext) -> str:
        seen.append(context)
        context.session_state.setdefault("visited", []).append(city)
        return "noted"

    assert Tool(visit).schema.parameters["properties"].keys() == {"city"}
    model, _ = scripted([call("visit", {"city": "Wien"})], "ok", [call("visit", {"city": "Graz"})], "ok")
    storage = JsonStorage(tmp_path)
    agent = Agent(model=model, tools=[visit], session_id="s", user_id="alice", storage=storage)
    run = agent.run("?")
    assert (seen[0].session_id, seen[0].user_id, seen[0].run_id) == ("s", "alice", run.run_id)
    assert agent.session_state == {"visited": ["Wien"]}
    agent.run("?")
    states = [run.session_state for run in storage.read("s").runs]  # type: ignore[union-attr]
    assert states == [{"visited": ["Wien"]}, {"visited": ["Wien", "Graz"]}]


def test_an_unknown_tool_is_named_and_the_others_are_listed() -> None:
    model, asked = scripted([call("fly", {})], "sorry")
    agent = Agent(model=model, tools=[book])
    assert agent.run("?").answer == "sorry"
    assert asked[1][-1].text == "Error: there is no tool 'fly'. There are: book."


def test_after_the_last_tool_round_the_model_has_to_answer() -> None:
    """It is asked once more without permission to call tools. If it still calls one, the run fails."""
    told: list[Any] = []

    class Eager(FunctionModel):
        def respond(self, messages: Any, options: Any = None, /) -> Any:
            told.append(options.may_call)
            return super().respond(messages, options)

    def eager(messages: list[Message]) -> Message:
        return Message(role="assistant", tool_calls=[call("give", {})])

    agent = Agent(model=Eager(eager), tools=[Tool(returns(1), name="give")], max_tool_rounds=2)
    with pytest.raises(RuntimeError, match="max_tool_rounds"):
        agent.run("?")
    assert told == [True, True, False]


def test_async_tools_of_a_round_run_concurrently_and_plain_ones_in_turn() -> None:
    """The async tools here wait for each other: one after the other, they would never end."""
    at_work = 0

    async def together() -> list[str]:
        both = asyncio.Barrier(2)

        async def wait() -> str:
            await both.wait()
            return "met"

        def alone() -> int:
            nonlocal at_work
            at_work += 1
            try:
                return at_work
            finally:
                at_work -= 1

        calls = [call("wait", {}, "1"), call("wait", {}, "2"), *(call("alone", {}, f"a{n}") for n in range(8))]
        model, asked = scripted(calls, "done")
        await Agent(model=model, tools=[wait, alone]).arun("?")
        return [message.text for message in asked[-1] if message.role == "tool"]

    assert asyncio.run(asyncio.wait_for(together(), 20)) == ["met", "met", *["1"] * 8]


def test_run_calls_async_tools() -> None:
    async def later() -> str:
        await asyncio.sleep(0)
        return "now"

    model, asked = scripted([call("later", {})], "done")
    Agent(model=model, tools=[later]).run("?")
    assert asked[-1][-1].text == "now"


def test_a_server_gets_the_tools_and_its_calls_are_executed(tmp_path: Path) -> None:
    """Through the real client, streamed and not: the request names the tools, the second one brings the results."""
    for streams in (False, True):
        storage = JsonStorage(tmp_path / str(streams))
        with scripted_server(tool_call("book", '{"city": {"name": "Wien"}, "days": 1}'), text("Booked.")) as server:
            model = OpenAIChat(api_key="none", base_url=server.base_url)
            agent = Agent(model=model, tools=[book], session_id="s", storage=storage)
            if streams:
                list(agent.stream("?"))
            else:
                agent.run("?")
            model.close()
        first, second = server.requests
        assert first["tools"] == [
            {
                "type": "function",
                "function": {
                    "name": "book",
                    "description": Tool(book).schema.description,
                    "parameters": Tool(book).schema.parameters,
                },
            }
        ]
        assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]
        assert second["messages"][1]["tool_calls"][0]["function"]["name"] == "book"
        assert json.loads(second["messages"][2]["content"])["city"] == "Wien"
        [run] = storage.read("s").runs  # type: ignore[union-attr]
        assert run.answer == "Booked."
        assert run.metrics is not None
        assert (run.metrics.input_tokens, run.metrics.output_tokens) == (14, 6)
