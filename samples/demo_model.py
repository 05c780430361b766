"""The model of the samples: a server if the environment names one, else a function that works offline."""

import os
from collections.abc import Callable
from functools import cache

from localstore import FunctionModel, Message, OpenAIChat


def demo_model(offline: Callable[[list[Message]], str | Message] | None = None) -> OpenAIChat | FunctionModel:
    key, server = os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL")
    if key or server:
        # A server of your own needs no key, but the client insists on one.
        return OpenAIChat(id=os.environ.get("OPENAI_MODEL", "gpt-4o-mini"), api_key=key or "none", max_tokens=200)
    say_once("Answering offline: neither OPENAI_API_KEY nor OPENAI_BASE_URL is set.")
    return FunctionModel(offline or answer_offline, id="offline")


@cache
def say_once(text: str) -> None:
    print(text)


def answer_offline(messages: list[Message]) -> str:
    *history, question = messages
    if question.text == "What is the capital of France?":
        return "Paris."
    asked = [message.text for message in history if message.role == "user"]
    return f"Your last question was: {asked[-1]}" if asked else "This is your first question."
