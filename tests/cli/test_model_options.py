"""The model of `ask`, `chat` and `replay`: its errors name the options of the command line."""

from __future__ import annotations

import socket
from copy import deepcopy
from importlib import import_module
from unittest import mock

import openai
import pytest

from localstore import Message

from .conftest import clean_environment

make_model = import_module("localstore_cli.model_options").make_model
QUESTION = [Message(role="user", content="Which train?")]


def test_a_missing_server_is_named_with_the_option_that_corrects_it() -> None:
    """The error named `base_url=`, which is an argument in Python: nobody could type it."""
    with mock.patch.dict("os.environ", clean_environment(OPENAI_API_KEY="", OPENAI_BASE_URL=""), clear=True):
        model = make_model("m", "http://localhost:1/v1", max_retries=0)
    for asked in (model, deepcopy(model), model.with_id("other")):
        with pytest.raises(openai.APIConnectionError) as caught:
            asked.respond(QUESTION)
        said = "Connection error. The server is http://localhost:1/v1/. Is it running? "
        assert str(caught.value).startswith(f"{said}Correct --base-url or OPENAI_BASE_URL.")
        assert caught.value.message == str(caught.value)
    assert model.answered_by is None


def test_a_slow_server_is_not_to_be_waited_for_with_an_argument_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/"
        with pytest.raises(openai.APITimeoutError) as caught:
            make_model("m", url, max_retries=0, timeout=0.05).respond(QUESTION)
    assert str(caught.value) == f"Request timed out. The server is {url}. Ask again."
