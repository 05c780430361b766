"""Render Markdown that a model wrote as safe HTML: no raw HTML, no images, and only links with safe schemes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from localstore.exporting.characters import visible
from localstore.exporting.html_code import highlighted
from localstore.exporting.labels import is_safe_url

if TYPE_CHECKING:
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

_LONGEST_REMEMBERED = 8000
_MOST_REMEMBERED = 400
"""How many texts of up to how many characters are kept as HTML: some megabytes at most."""
_HEADINGS_BELOW = 3
"""The number of levels by which headings of an answer are lowered, so that they are below those of the page."""


def rendered(text: str) -> str:
    """Return Markdown as HTML. Images become links, or plain text inside a link.

    Results for the last texts of usual length are kept: a page is often loaded again, and most of its time goes here.
    """
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else renderer()(text)


@lru_cache(_MOST_REMEMBERED)
def _remembered(text: str) -> str:
    return renderer()(text)


@lru_cache(1)
def renderer() -> Callable[[str], str]:
    """Return the function that renders Markdown, for texts that come once."""
    from markdown_it import MarkdownIt

    # Models intend their line breaks, so a single newline is one ("breaks").
    options = {"html": False, "breaks": True, "highlight": highlighted}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.validateLink = is_safe_url  # type: ignore[method-assign]
    parser.add_render_rule("image", _image)
    parser.add_render_rule("link_open", _link_open)

    def render(text: str) -> str:
        env: dict[str, Any] = {}
        tokens = parser.parse(visible(text).strip(), env)
        for token in tokens:
            if token.type in ("heading_open", "heading_close"):
                token.tag = f"h{min(6, int(token.tag[1:]) + _HEADINGS_BELOW)}"
            elif token.type in ("th_open", "td_open") and (style := str(token.attrs.pop("style", ""))):
                token.attrSet("class", style.rpartition(":")[2])  # the page's policy forbids inline styles
            if token.children:
                _mark_images_in_links(token.children)
        html: str = parser.renderer.render(tokens, parser.options, env)
        return html

    render("x")  # it sorts its rules when it is first used, and threads must not see half of them
    return render


def _mark_images_in_links(tokens: Sequence[Token]) -> None:
    """Mark each image token inside a link, since HTML allows no link in a link. The tokens are changed in place."""
    depth = 0
    for token in tokens:
        depth += {"link_open": 1, "link_close": -1}.get(token.type, 0)
        if token.type == "image" and depth:
            token.meta["in_link"] = True


def _image(_: RendererHTML, tokens: Sequence[Token], at: int, __: Any, ___: Any) -> str:
    from html import escape

    token = tokens[at]
    label = f"[image: {token.content}]" if token.content else "[image]"
    if token.meta.get("in_link"):
        return escape(label)
    return f'<a href="{escape(str(token.attrs["src"]))}" rel="noopener noreferrer">{escape(label)}</a>'


def _link_open(of: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    tokens[at].attrSet("rel", "noopener noreferrer")
    return of.renderToken(tokens, at, options, env)
