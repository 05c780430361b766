"""Which model a command asks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from localstore.agents.openai_chat import OpenAIChat


def model_of(model: str | None, base_url: str | None, **parameters: Any) -> OpenAIChat:
    """The model that was named, behind the server that was: else OPENAI_BASE_URL's, else OpenAI's.

    A server on this machine needs no key. Raises UsageError.
    """
    context = click.get_current_context()
    if not model:
        raise click.UsageError("Name a model with --model", context)
    server = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    try:
        address = urlsplit(server)
        host = address.hostname
    except ValueError:
        host = None
    if not host or address.scheme not in ("http", "https"):
        raise click.UsageError(f"'{server}' is no address of a server. Write http://HOST:PORT/v1", context)
    if not os.environ.get("OPENAI_API_KEY"):
        if not _is_this_machine(host):
            raise click.UsageError(
                "There is no API key. Set OPENAI_API_KEY (to 'none' for a server that asks for none)", context
            )
        parameters["api_key"] = "none"
    from localstore.agents.openai_chat import OpenAIChat

    return OpenAIChat(model, base_url=server, **parameters)


def _is_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
