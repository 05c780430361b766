"""The models: a Python function, and Chat Completions through the real `openai` client."""

import asyncio
import base64
import copy
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from localstore import ContentPart, FunctionModel, Message, OpenAIChat, ToolCall, UnstorableValue
from localstore.agents.models.model import Reply as ModelReply
from tests.scripted_server import CUT, Reply, ScriptedServer, chunk, error, scripted_server, stream, text, tool_call

HELLO = [Message(role="user", content="hello")]


@contextmanager
def chat(*script: Reply, **options: Any) -> Iterator[tuple[OpenAIChat, ScriptedServer]]:
    """A model connected to a server that answers from the script, without retries unless asked for."""
    options = {"api_key": "none", "max_retries": 0, **options}
    with scripted_server(*script) as server:
        model = OpenAIChat(base_url=server.base_url, **options)
        try:
            yield model, server
        finally:
            model.close()


@pytest.fixture(autouse=True)
def no_openai_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_function_answers_with_text_or_a_message() -> None:
    """Text becomes a message of role assistant; a message stays as it is."""
    assert FunctionModel(lambda messages: messages[-1].text.upper()).respond(HELLO).message == Message(
        role="assistant", content="HELLO"
    )
    message = Message(role="assistant", content="hi", name="echo")
    assert FunctionModel(lambda messages: message).respond(HELLO).message is message


def test_a_function_gets_its_own_copy_of_the_list() -> None:
    """Changes that a function makes to it do not affect the caller's list."""
    given = list(HELLO)
    FunctionModel(lambda messages: messages.pop().text).respond(given)
    assert given == HELLO


def test_an_async_generator_answers_every_way() -> None:
    """It was refused: "The model's function returned async_generator". An async client that streams fits no other
    form."""
    closed: list[str] = []

    async def texts(messages: list[Message]) -> AsyncIterator[str]:
        try:
            for text in ("It ", "is ", messages[-1].text):
                await asyncio.sleep(0)
                yield text
        finally:
            closed.append("closed")

    async def later(messages: list[Message]) -> AsyncIterator[str]:
        return texts(messages)

    async def collected(model: FunctionModel) -> list[object]:
        return [piece async for piece in model.astream(HELLO)]

    for model in (FunctionModel(texts), FunctionModel(later)):
        whole = model.respond(HELLO)
        assert whole.message.text == "It is hello"
        assert asyncio.run(model.arespond(HELLO)) == whole
        assert list(model.stream(HELLO)) == ["It ", "is ", "hello", whole]
        assert asyncio.run(collected(model)) == ["It ", "is ", "hello", whole]
        closed.clear()
        pieces = model.stream(HELLO)
        next(pieces)
        pieces.close()
        assert closed == ["closed"]


def test_an_async_generator_yields_text_alone_and_its_errors_propagate() -> None:
    async def numbers(messages: list[Message]) -> AsyncIterator[Any]:
        yield 1

    async def fails(messages: list[Message]) -> AsyncIterator[str]:
        yield "It "
        raise ZeroDivisionError

    with pytest.raises(TypeError, match=r"yielded int\. Yield text"):
        FunctionModel(numbers).respond(HELLO)
    with pytest.raises(ZeroDivisionError):
        FunctionModel(fails).respond(HELLO)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(FunctionModel(fails).arespond(HELLO))


def test_an_async_generator_under_a_running_loop_is_refused_with_what_to_call() -> None:
    async def texts(messages: list[Message]) -> AsyncIterator[str]:
        yield "hi"

    async def ask() -> None:
        with pytest.raises(RuntimeError, match=r"await agent\.arun"):
            FunctionModel(texts).respond(HELLO)

    asyncio.run(ask())


@pytest.mark.parametrize("function", [5, "gpt-4o-mini", FunctionModel(lambda messages: "hi")])
def test_a_function_model_takes_nothing_but_a_function(function: Any) -> None:
    """The mistake was noticed only when the model was asked."""
    with pytest.raises(TypeError, match="takes a function"):
        FunctionModel(function)


def test_an_async_function_answers_both_ways() -> None:
    """Outside an event loop `respond` runs it; inside one `arespond` awaits it."""

    async def answer(messages: list[Message]) -> str:
        await asyncio.sleep(0)
        return messages[-1].text + "!"

    assert FunctionModel(answer).respond(HELLO).message.text == "hello!"
    assert asyncio.run(FunctionModel(answer).arespond(HELLO)).message.text == "hello!"
    assert asyncio.run(FunctionModel(lambda messages: answer(messages)).arespond(HELLO)).message.text == "hello!"


def test_a_plain_function_does_not_block_the_event_loop() -> None:
    """It runs in a thread."""

    async def two() -> list[str]:
        model = FunctionModel(lambda messages: asyncio.run(asyncio.sleep(0, "in a thread of its own")))
        return [reply.message.text for reply in await asyncio.gather(*(model.arespond(HELLO) for _ in range(2)))]

    assert asyncio.run(two()) == ["in a thread of its own"] * 2


def test_an_async_function_cannot_be_waited_for_inside_an_event_loop() -> None:
    """The error says what to call instead, and no coroutine is left unawaited."""

    async def answer(messages: list[Message]) -> str:
        return "never"

    async def misuse() -> None:
        FunctionModel(answer).respond(HELLO)

    with pytest.raises(RuntimeError, match=r"await agent\.arun"):
        asyncio.run(misuse())


def test_an_answer_of_another_type_is_refused() -> None:
    """A function that forgets its return statement gets a clear error."""
    with pytest.raises(TypeError, match="returned NoneType"):
        FunctionModel(lambda messages: None).respond(HELLO)  # type: ignore[arg-type, return-value]


def test_an_answer_that_cannot_be_stored_is_refused() -> None:
    """It fails as the model's answer, so the agent stores the run with this error."""
    with pytest.raises(UnstorableValue, match=r"answer\.content"):
        FunctionModel(lambda messages: "\ud83d").respond(HELLO)


def test_a_reply_has_the_answer_and_its_tokens() -> None:
    """The request has the model, messages, key and parameters; the reply has the text and the usage."""
    with chat(
        text("Paris", input_tokens=21, output_tokens=2),
        id="tiny",
        api_key="secret",
        temperature=0.5,
        max_tokens=9,
        stop=["\nuser:"],
    ) as (model, server):
        reply = model.respond([Message(role="system", content="Be brief."), *HELLO])
    assert reply.message == Message(role="assistant", content="Paris")
    assert (reply.input_tokens, reply.output_tokens) == (21, 2)
    assert server.keys == ["secret"]
    assert server.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
            "temperature": 0.5,
            "max_tokens": 9,
            "stop": ["\nuser:"],
        }
    ]


def test_a_reply_says_which_model_answered_and_what_it_counted() -> None:
    """The model that answered, the reason of a truncated answer, and two of the token counts were thrown away."""
    details = {
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 64},
    }
    answer = text("It is", model="tiny-2026-11-22", finish_reason="length", details=details)
    with chat(answer, answer, id="tiny") as (model, _):
        *_, streamed = model.stream(HELLO)
        assert streamed == model.respond(HELLO)
    assert isinstance(streamed, ModelReply)
    assert (streamed.model, streamed.finish_reason) == ("tiny-2026-11-22", "length")
    assert (streamed.cached_tokens, streamed.reasoning_tokens) == (1024, 64)


@pytest.mark.parametrize("options", [{"model": "m"}, {"id": "x", "model": "m"}, {"extra_body": {"model": "m"}}])
def test_the_id_is_the_model_that_is_asked(options: dict[str, Any]) -> None:
    """`OpenAIChat(model="m")` asked m, but its runs said gpt-4o-mini."""
    with chat(text("yes"), **options) as (model, server):
        assert model.respond(HELLO).message.text == "yes"
        assert model.id == "m"
    assert server.requests[0]["model"] == "m"


@pytest.mark.parametrize("name", ["messages", "stream", "stream_options"])
def test_what_the_model_sets_itself_is_refused(name: str) -> None:
    """`stream=True` gave a TypeError or an AttributeError at the first question."""
    parameters: dict[str, Any] = {name: True}
    with pytest.raises(TypeError, match=f"OpenAIChat sets {name} itself"):
        OpenAIChat(**parameters)


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    """Tool calls that a server streams with the same index, or none, were joined to one call of a mangled name."""

    def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
        return {"id": call_id, "index": 0, "type": "function", "function": {"name": name, "arguments": arguments}}

    events = [chunk({"tool_calls": [call("1", "look", "{}")]}), chunk({"tool_calls": [call("2", "go", '{"to": 1}')]})]
    with chat(stream(*events)) as (model, _):
        *_, reply = model.stream(HELLO)
    assert isinstance(reply, ModelReply)
    assert reply.message.tool_calls == [
        ToolCall(id="1", name="look"),
        ToolCall(id="2", name="go", arguments={"to": 1}),
    ]


def test_parameters_without_a_value_are_not_sent() -> None:
    """The server uses its defaults."""
    with chat(text("ok")) as (model, server):
        model.respond(HELLO)
    assert server.requests[0].keys() == {"model", "messages"}


def test_the_arguments_of_a_tool_call_are_parsed() -> None:
    """They are sent back as text, as the API requires."""
    with chat(tool_call("weather", '{"city": "Wien"}'), text("Sunny")) as (model, server):
        asked = model.respond(HELLO).message
        assert asked.content is None
        assert asked.tool_calls == [ToolCall(id="call_1", name="weather", arguments={"city": "Wien"})]
        model.respond([*HELLO, asked, Message(role="tool", tool_call_id="call_1", name="weather", content="25 C")])
    called, result = server.requests[1]["messages"][1:]
    [function] = [call["function"] for call in called["tool_calls"]]
    assert json.loads(function.pop("arguments")) == {"city": "Wien"}
    assert function == {"name": "weather"}
    assert result == {"role": "tool", "tool_call_id": "call_1", "content": "25 C"}


@pytest.mark.parametrize(
    "arguments",
    ['{"city": ', "[1]", "", '{"n": NaN}', '{"n": 1e999}', '{"n": 123456789012345678901234567890}', "[" * 100_000],
)
def test_arguments_that_are_not_an_object_stay_text(arguments: str) -> None:
    """The model's text is kept unchanged if it cannot be stored as an object."""
    with chat(tool_call("f", arguments)) as (model, _):
        [call] = model.respond(HELLO).message.tool_calls or []
    assert call.arguments == arguments


def test_an_unpaired_surrogate_is_replaced() -> None:
    """A server that cuts an emoji in two must not make the answer impossible to store; whole ones stay."""
    with chat(text("\ud83d\ude00 \ud83d")) as (model, _):
        assert model.respond(HELLO).message.text == "\U0001f600 \ufffd"


def test_a_refusal_is_the_answer() -> None:
    """A refusal comes without content; its text becomes the answer."""
    with chat(text(None, refusal="I can't do that.")) as (model, _):
        assert model.respond(HELLO).message.text == "I can't do that."


def test_parts_are_sent_in_the_form_of_the_api(tmp_path: Path) -> None:
    """Images by URL or file, audio and files by file; a part in the API's own form passes through."""
    (tmp_path / "dot.png").write_bytes(b"png")
    (tmp_path / "say.wav").write_bytes(b"wav")
    (tmp_path / "page.pdf").write_bytes(b"pdf")
    parts = [
        ContentPart(type="text", text="look"),
        ContentPart(type="image", url="https://example.org/a.png"),
        ContentPart(type="image", path=str(tmp_path / "dot.png")),
        ContentPart(type="audio", path=str(tmp_path / "say.wav")),
        ContentPart(type="file", path=str(tmp_path / "page.pdf"), mime_type="application/pdf"),
        ContentPart.model_validate({"type": "image_url", "image_url": {"url": "https://example.org/b.png"}}),
    ]
    png, wav, pdf = (base64.b64encode(data).decode() for data in (b"png", b"wav", b"pdf"))
    with chat(text("seen"), text("again")) as (model, server):
        model.respond([Message(role="user", content=parts)])
        model.respond([Message(role="assistant", content=[ContentPart(type="text", text="one")]), *HELLO])
    assert server.requests[0]["messages"][0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}},
        {"type": "input_audio", "input_audio": {"data": wav, "format": "wav"}},
        {"type": "file", "file": {"filename": "page.pdf", "file_data": f"data:application/pdf;base64,{pdf}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/b.png"}},
    ]
    assert server.requests[1]["messages"][0]["content"] == "one"


def test_a_part_without_its_data_is_refused() -> None:
    """The error says what is missing; nothing is sent."""
    with (
        chat() as (model, server),
        pytest.raises(ValueError, match="without a url or path"),
    ):
        model.respond([Message(role="user", content=[ContentPart(type="image")])])
    assert server.requests == []


@pytest.mark.parametrize(
    ("reply", "raised"),
    [
        (error(401, "wrong key"), openai.AuthenticationError),
        (error(429, "slow down"), openai.RateLimitError),
        (error(500, "oh no"), openai.InternalServerError),
        (CUT, openai.APIConnectionError),
        (Reply(200, {"object": "chat.completion", "choices": []}), openai.OpenAIError),
    ],
)
def test_errors_of_the_openai_package_pass_through(reply: Reply, raised: type[Exception]) -> None:
    """`respond` and `arespond` raise them unchanged."""
    with chat(reply, reply) as (model, _):
        with pytest.raises(raised):
            model.respond(HELLO)
        with pytest.raises(raised):
            asyncio.run(model.arespond(HELLO))


def test_a_request_to_a_busy_server_is_repeated() -> None:
    """The client follows `max_retries` and the delay that the server asks for."""
    with chat(error(429, "slow down", retry_after_ms="1"), text("now"), max_retries=1) as (model, server):
        assert model.respond(HELLO).message.text == "now"
    assert len(server.requests) == 2


def test_a_missing_key_says_what_to_set() -> None:
    """`respond` and `arespond` raise the same error, of the root type of the `openai` package."""
    model = OpenAIChat(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(openai.OpenAIError, match=r"OPENAI_API_KEY.*api_key='none'"):
        model.respond(HELLO)
    with pytest.raises(openai.OpenAIError, match="OPENAI_API_KEY"):
        asyncio.run(model.arespond(HELLO))


def test_key_and_server_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the `openai` package apply. They are read when the model is first used."""
    with scripted_server(text("yes")) as server:
        model = OpenAIChat()
        monkeypatch.setenv("OPENAI_API_KEY", "from outside")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        assert model.respond(HELLO).message.text == "yes"
        model.close()
    assert server.keys == ["from outside"]
    assert server.requests[0]["model"] == "gpt-4o-mini"


def test_one_model_serves_several_event_loops_in_turn() -> None:
    """A connection of an event loop that has ended is never used again, and none is left open."""

    async def twice(model: OpenAIChat) -> list[str]:
        return [(await model.arespond(HELLO)).message.text for _ in range(2)]

    with chat(*(text(str(number)) for number in range(6))) as (model, _):
        assert [asyncio.run(twice(model)) for _ in range(3)] == [["0", "1"], ["2", "3"], ["4", "5"]]
        assert len(model._async_clients) == 1


def test_a_closed_model_connects_again() -> None:
    """`close` may be called twice. Using the model again opens a new connection."""
    with chat(text("one"), text("two")) as (model, _):
        assert model.respond(HELLO).message.text == "one"
        model.close()
        model.close()
        assert model.respond(HELLO).message.text == "two"


def test_the_openai_package_is_imported_only_when_used() -> None:
    """Creating a model does not import it: that takes longer than all other imports together."""
    code = "import sys; from localstore import OpenAIChat; OpenAIChat(); print('openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_deep_copy_of_a_client_has_the_same_settings() -> None:
    """`copy.deepcopy` failed: "cannot pickle '_thread.lock' object"."""
    with chat(text("one"), text("two"), id="m", temperature=0.5, logit_bias={"1": 2}) as (model, server):
        assert model.respond(HELLO).message.text == "one"
        duplicate = copy.deepcopy(model)
        try:
            assert duplicate.respond(HELLO).message.text == "two"
        finally:
            duplicate.close()
        assert server.requests[0] == server.requests[1]


def test_a_model_with_another_id_has_the_same_settings() -> None:
    """Also where the settings themselves name a model."""
    with chat(text("one"), id="m", temperature=0.5, extra_body={"model": "m2", "top_k": 3}) as (model, server):
        other = model.with_id("big")
        try:
            other.respond(HELLO)
        finally:
            other.close()
        request = server.requests[0]
    assert (model.id, other.id) == ("m2", "big")
    assert (request["model"], request["temperature"], request["top_k"]) == ("big", 0.5, 3)
