"""Escape text for HTML."""

from html import escape

from localstore.exporting.characters import visible


def escaped(text: str) -> str:
    """Return text as HTML that shows it, also inside an attribute. Control characters become visible symbols.

    >>> escaped('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return escape(visible(text))


def preformatted(text: str) -> str:
    """Return text as HTML that keeps its spaces and line breaks."""
    return f'<pre dir="auto">{escaped(text)}</pre>'
