"""Which model a command asks, and with which key."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from localstore.agents.openai_chat import OpenAIChat

DEFAULT_MODEL = "gpt-4o-mini"


def _url(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            parts = urlsplit(value)
            is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_whole = False
        if not is_whole:
            raise click.BadParameter("Give a whole URL, as in http://localhost:11434/v1")
    return value


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options `--model` and `--base-url`."""
    model = f"Ask this model. Default: the one that was asked last, else {DEFAULT_MODEL}."
    url = "Ask the server there, which speaks Chat Completions. Default: OPENAI_BASE_URL, else OpenAI."
    command = click.option("--base-url", metavar="URL", callback=_url, help=url)(command)
    return click.option("--model", metavar="NAME", help=model)(command)


def check_key(base_url: str | None) -> None:
    """Raises UsageError when there is no API key in OPENAI_API_KEY, and the server is not on this machine."""
    _key(base_url)


def make_model(model: str, base_url: str | None) -> OpenAIChat:
    """The model with this name. A server on this machine needs no key. Raises UsageError as `check_key` does."""
    key = _key(base_url)
    from localstore.agents.openai_chat import OpenAIChat

    return OpenAIChat(model, base_url=base_url, api_key=key)


def _key(base_url: str | None) -> str | None:
    """The key to pass to the `openai` package: none when it finds one itself."""
    if os.environ.get("OPENAI_API_KEY"):
        return None
    server = base_url or os.environ.get("OPENAI_BASE_URL")
    if server and _is_here(server):
        return "none"
    problem = "There is no API key. Set OPENAI_API_KEY"
    problem += (
        " (to 'none', if the server asks for none)" if server else ", or ask a server of your own with --base-url"
    )
    raise click.UsageError(problem, click.get_current_context())


def _is_here(server: str) -> bool:
    try:
        host = urlsplit(server).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:
        return False
