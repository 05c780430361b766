"""Options of the commands that ask a model, and the model's server and API key."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from localstore.agents.models.openai_chat import OpenAIChat
    from localstore.models.session import Session

DEFAULT_MODEL = "gpt-4o-mini"
_FUNCTIONS = ("function", "offline")
"""The usual ids of Python functions. Older documents do not say what answered."""


def _url(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        _host(value)
    return value


base_url_option = click.option(
    "--base-url",
    metavar="URL",
    callback=_url,
    help="Ask the Chat Completions server at URL. Default: OPENAI_BASE_URL, else OpenAI.",
)
temperature_option = click.option(
    "--temperature", type=click.FloatRange(min=0), metavar="T", help="Sample at this temperature."
)
max_tokens_option = click.option(
    "--max-tokens", type=click.IntRange(min=1), metavar="N", help="Limit each answer to N tokens."
)


def make_model(model: str, base_url: str | None, **parameters: Any) -> OpenAIChat:
    """Return the model with this name and these parameters. Raises UsageError as `find_key` does."""
    key = find_key(base_url)
    from localstore.agents.models.openai_chat import OpenAIChat
    from localstore.agents.models.server_errors import set_text

    class ServerModel(OpenAIChat):
        """A model whose errors name the options of the command line."""

        @contextlib.contextmanager
        def _clear_errors(self) -> Iterator[None]:
            from openai import OpenAIError

            try:
                with super()._clear_errors():
                    yield
            except OpenAIError as error:
                text = str(error).replace("base_url=", "--base-url")
                set_text(error, text.replace(", or wait longer with timeout=", ""))
                raise

    return ServerModel(model, base_url=base_url, api_key=key, **parameters)


def model_of(session: Session) -> str | None:
    """Return the name of the model that the newest runs of a session were asked of, or None if no run has one.

    Raises UsageError if it was a Python function, or another model that is not on a server.
    """
    for run in reversed(session.runs):
        if not run.model:
            continue
        if run.answered_by is None and run.model not in _FUNCTIONS:
            name: str = run.requested_model or run.model
            return name
        kind = "a Python function" if run.answered_by in (None, "function") else run.answered_by
        problem = (
            f"Session '{session.session_id}' was answered by {kind} ('{run.model}'), which is no model on a server."
        )
        raise click.UsageError(f"{problem} Name a model with --model", click.get_current_context())
    return None


def find_key(base_url: str | None) -> str | None:
    """Return the API key for the `openai` package, or None if the package finds it in the environment.

    A server on this machine needs no key. Raises UsageError if there is no key or the server's URL is invalid.
    """
    server = base_url or os.environ.get("OPENAI_BASE_URL")
    host = _host(server) if server else None
    if os.environ.get("OPENAI_API_KEY"):
        return None
    if host is not None and _is_here(host):
        return "none"
    problem = "There is no API key. Set OPENAI_API_KEY"
    problem += " (to 'none', if the server needs none)" if host else ", or ask a server of your own with --base-url"
    raise click.UsageError(problem, click.get_current_context())


def _host(server: str) -> str:
    try:
        parts = urlsplit(server)
        host = parts.hostname if parts.scheme in ("http", "https") and parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        from localstore.agents.models.redaction import public_address

        problem = f"'{public_address(server)}' is not the address of a server. "
        problem += "Write a complete URL, such as http://localhost:11434/v1"
        raise click.UsageError(problem, click.get_current_context())
    return host


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:
        return False
