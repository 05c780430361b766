"""The model of the samples: a server if the environment names one, otherwise a function that answers offline."""

import os
from collections.abc import Callable
from functools import cache

from localstore import FunctionModel, Message, OpenAIChat


def demo_model(offline: Callable[[list[Message]], str | Message] | None = None) -> OpenAIChat | FunctionModel:
    key, server = os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL")
    if key or server:
        # Your own server needs no key, but the client insists on one.
        return OpenAIChat(id=os.environ.get("OPENAI_MODEL", "gpt-4o-mini"), api_key=key or "none", max_tokens=200)
    print_once("Answering offline, because neither OPENAI_API_KEY nor OPENAI_BASE_URL is set.")
    return FunctionModel(offline or answer_offline, id="offline")


@cache
def print_once(text: str) -> None:
    print(text)


def answer_offline(messages: list[Message]) -> str:
    """Know the user's name if one of the messages gives it."""
    introduction, question = "My name is ", messages[-1].text
    texts = [message.text for message in messages if message.role == "user"]
    names = [text.removeprefix(introduction).rstrip(".") for text in texts if text.startswith(introduction)]
    if question.startswith(introduction):
        return f"Nice to meet you, {names[-1]}."
    return f"Your name is {names[-1]}." if names else "I do not know your name yet."
