"""Colour code in answers. The colours are in the style sheet, by the short classes of Pygments."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

_MOST = 50_000
"""Longer code is shown without colours, since they take time in proportion to its length."""


def highlighted(code: str, language: str, _: str = "") -> str:
    """Return code as HTML with a class for each kind of token; "" if the language is not known or the code is long."""
    name = language.strip().lower()
    lexer = _lexer(name) if name and len(code) <= _MOST else None
    if lexer is None:
        return ""
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter

    html: str = highlight(code, lexer, HtmlFormatter(nowrap=True))
    return html


@lru_cache(64)
def _lexer(language: str) -> Any | None:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return None
