"""Renders Markdown on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from rich.markdown import Markdown

from localstore.agents.terminal.screen import visible

if TYPE_CHECKING:
    from markdown_it.token import Token


def rendered(text: str) -> Markdown:
    """Return `text` rendered as Markdown that hides nothing: HTML tags appear as text, links show their addresses.

    Control characters are shown as escapes, also those that are written as entities, such as `&rlm;`.
    """
    markdown = Markdown("", hyperlinks=False)
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    markdown.parsed = _without_control(parser.parse(visible(text)))
    return markdown


def _without_control(tokens: list[Token]) -> list[Token]:
    """Escape the control characters in tokens of Markdown, in place. Return the tokens."""
    for token in tokens:
        token.content, token.info = visible(token.content), visible(token.info)
        token.attrs = {key: visible(value) if isinstance(value, str) else value for key, value in token.attrs.items()}
        _without_control(token.children or [])
    return tokens
