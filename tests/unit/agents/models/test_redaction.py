"""Secrets: keys and passwords never get from a server's answer, or an address, into errors, documents or output."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openai
import pytest

from localstore import Agent, JsonStorage, OpenAIChat
from localstore.agents.models.redaction import Redactor, public_address, without_user_info
from tests.scripted_server import Reply, error, scripted_server, stream, text, tool_call
from tests.unit.agents.models.test_odd_servers import WAYS, http, raw_server

KEY = "sk-proj-R4nd0m/Key+With=Signs&0123456789"
REPEATED = {
    "as it is": KEY,
    "in a URL": quote(KEY, safe=""),
    "in a URL, lower case": quote(KEY, safe="").lower(),
    "in HTML": KEY.replace("&", "&amp;"),
    "in JSON": KEY.replace("/", "\\/"),
    "its beginning": KEY[:20],
    "its middle": KEY[10:26],
    "its end": KEY[-16:],
    "twice": f"{KEY}{KEY} and {KEY}",
}


def everything(raised: BaseException, storage: JsonStorage) -> str:
    """What people can see of a failed run: the error with its causes, notes and fields, and the document."""
    seen = [*traceback.format_exception(raised), repr(raised), storage.path("s").read_text()]
    cause: BaseException | None = raised
    while cause is not None:
        fields = {name: value for name, value in vars(cause).items() if name.strip("_") not in ("request", "response")}
        seen.append(repr((cause.args, fields)))
        cause = cause.__cause__ or cause.__context__
    return "\n".join(seen)


def failed(model: OpenAIChat, folder: Path, way: str = "run") -> str:
    storage = JsonStorage(folder)
    with pytest.raises(openai.OpenAIError) as caught:
        WAYS[way](Agent(model=model, session_id="s", storage=storage))
    model.close()
    return everything(caught.value, storage)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", REPEATED)
def test_a_key_that_a_server_repeats_is_masked(how: str, way: str, tmp_path: Path) -> None:
    """The key was stored in the document, printed and exported."""
    text = f"Incorrect API key provided: {REPEATED[how]}. You can find yours in your account."
    with scripted_server(error(401, text)) as server:
        model = OpenAIChat(base_url=server.base_url, api_key=KEY, max_retries=0)
        seen = failed(model, tmp_path, way)
    assert "Incorrect API key provided: ***" in seen
    assert "You can find yours in your account." in seen
    assert not any(KEY[at : at + 12].lower() in seen.lower() for at in range(len(KEY) - 11))
    assert quote(KEY, safe="")[-16:].lower() not in seen.lower()


@pytest.mark.parametrize(
    ("reply", "way"),
    [
        (Reply(200, {"error": {"message": f"key {KEY} is blocked", "code": KEY}}), "run"),
        (Reply(403, {"detail": [{"keys": {KEY: ["blocked", KEY]}}]}), "run"),
        (stream("hi", {"error": {"message": f"key {KEY} is blocked"}}, cut=True), "stream"),
    ],
)
def test_a_key_anywhere_in_an_error_is_masked(reply: Reply, way: str, tmp_path: Path) -> None:
    with scripted_server(reply) as server:
        seen = failed(OpenAIChat(base_url=server.base_url, api_key=KEY, max_retries=0), tmp_path, way)
    assert KEY not in seen
    assert "***" in seen


def test_a_key_in_a_web_page_is_masked(tmp_path: Path) -> None:
    with raw_server(http(f"<p>Bad key {KEY}</p>".encode(), "text/html", "401 Unauthorized")) as base_url:
        seen = failed(OpenAIChat(base_url=base_url, api_key=KEY, max_retries=0), tmp_path)
    assert KEY not in seen
    assert "<p>Bad key ***</p>" in seen


def test_keys_from_elsewhere_are_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the environment, and those in headers that are sent with each request."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    with scripted_server(error(401, "sk-from-the-environment, gateway-token-1 and hunter2 are wrong")) as server:
        headers = {"Authorization": "Bearer gateway-token-1", "X-Api-Key": "hunter2", "X-Title": "are wrong"}
        model = OpenAIChat(base_url=server.base_url, max_retries=0, extra_headers=headers)
        seen = failed(model, tmp_path)
    assert "***, *** and *** are wrong" in seen
    assert "from-the-environment" not in seen


@pytest.mark.parametrize("way", WAYS)
def test_a_key_in_the_error_of_a_tool_is_masked(way: str, tmp_path: Path) -> None:
    """A tool that asks the same server was refused with a text that repeated the key, which was stored and sent."""

    def embed() -> str:
        """Embed."""
        raise PermissionError(f"Incorrect API key provided: {KEY}")

    storage = JsonStorage(tmp_path)
    with scripted_server(tool_call("embed", "{}"), text("Done", model=f"m-{KEY}")) as server:
        model = OpenAIChat(base_url=server.base_url, api_key=KEY, max_retries=0)
        WAYS[way](Agent(model=model, session_id="s", storage=storage, tools=[embed]))
        model.close()
    assert KEY not in storage.path("s").read_text()
    assert "PermissionError: Incorrect API key provided: ***" in storage.path("s").read_text()
    assert KEY not in json.dumps(server.requests)


@pytest.mark.parametrize("way", WAYS)
def test_a_password_in_the_address_is_masked(way: str, tmp_path: Path) -> None:
    """It was named in the error of a server that cannot be reached, and in the document."""
    model = OpenAIChat(base_url="http://alice:hunter%402@127.0.0.1:9/v1", api_key="none", max_retries=0)
    seen = failed(model, tmp_path, way)
    assert "The server is http://***@127.0.0.1:9/v1/." in seen
    assert not any(secret in seen for secret in ("alice", "hunter%402", "hunter@2"))


@pytest.mark.parametrize("base_url", ["alice:hunter2@127.0.0.1:9/v1", "http://alice:hun/ter2@127.0.0.1:9/v1"])
def test_a_password_in_an_incomplete_address_is_masked(base_url: str, tmp_path: Path) -> None:
    seen = failed(OpenAIChat(base_url=base_url, api_key="none", max_retries=0), tmp_path)
    assert "***@127.0.0.1:9/v1" in seen
    assert "ter2" not in seen


def test_a_password_that_the_server_repeats_is_masked(tmp_path: Path) -> None:
    with scripted_server(error(401, "user alice with password hunter2 is unknown")) as server:
        address = server.base_url.replace("//", "//alice:hunter2@")
        seen = failed(OpenAIChat(base_url=address, api_key="none", max_retries=0), tmp_path)
    assert "user alice with password *** is unknown" in seen
    assert "hunter2" not in seen


@pytest.mark.parametrize("key", ["none", "ollama", "x"])
def test_a_word_that_is_no_key_is_left_alone(key: str, tmp_path: Path) -> None:
    """`api_key="none"` is what a server without keys is given. The word must stay readable in its errors."""
    with scripted_server(error(404, "none of the models of ollama fits x")) as server:
        seen = failed(OpenAIChat(base_url=server.base_url, api_key=key, max_retries=0), tmp_path)
    assert "none of the models of ollama fits x" in seen


@pytest.mark.parametrize("text", ["x", "://", "http://a", "@"])
def test_masking_takes_no_longer_than_reading(text: str) -> None:
    """A web page without a space in it kept a process busy for hours: each letter could be the start of a URL."""
    long = text * (1_000_000 // len(text))
    assert len(Redactor([KEY, "s3cret"]).text(long)) == len(long)


def test_short_secrets_are_masked_as_words() -> None:
    redactor = Redactor(["s3cret"])
    assert redactor.text("s3cret, 's3cret' and S3CRET, not s3crets") == "***, '***' and ***, not s3crets"


def test_errors_of_other_libraries_keep_their_type_and_facts() -> None:
    """Only text changes: other arguments, and objects that an error carries, stay."""
    error: Any = OSError(5, "cannot open https://me:word@host/x with abcdefgh12")
    error.add_note("abcdefgh12")
    error.data = {"list": [1, None, ("abcdefgh12", object)]}
    Redactor(["abcdefgh12"]).error(error)
    assert error.args == (5, "cannot open https://***@host/x with ***")
    assert (error.__notes__, error.data) == (["***"], {"list": [1, None, ("***", object)]})
    loop: Any = ValueError("abcdefgh12")
    loop.__context__ = KeyError("abcdefgh12")
    loop.__context__.__cause__ = loop
    Redactor(["abcdefgh12"]).error(loop)
    assert json.dumps([loop.args, loop.__context__.args]) == '[["***"], ["***"]]'


def test_addresses_are_shown_without_secrets() -> None:
    assert public_address("https://host:1/v1/?api-key=1#x") == "https://host:1/v1/"
    assert public_address("https://a:b@c@host/v1") == "https://***@host/v1"
    assert public_address("host") == "host"
    assert without_user_info("see http://a@b.c/d@e and mail a@b.c") == "see http://***@b.c/d@e and mail a@b.c"
