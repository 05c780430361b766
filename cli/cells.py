"""Fits text into the cells of a terminal, where a character takes none, one or two."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from localstore.models.excerpt import whole_end


def shortened(text: str, width: int) -> str:
    """Return the text or, if it takes more than `width` cells, its beginning with `…`. No character is cut in half."""
    if cell_len(text) <= width:
        return text
    beginning = set_cell_size(text, width - 1).rstrip()  # with a space instead of the half of a wide character
    return f"{text[: whole_end(text, len(beginning))].rstrip()}…"


def elided(text: str, width: int) -> str:
    """Return the text or, if it takes more than `width` cells, its beginning and its end with `…` between them."""
    if cell_len(text) <= width:
        return text
    start = len(text)
    while cell_len(text[start - 1 :]) <= width // 2:
        start -= 1
    while whole_end(text, start) < start:
        start += 1
    return shortened(text, width - cell_len(text[start:])) + text[start:]


def padded(text: str, width: int) -> str:
    """Return the text, shortened or with spaces behind it, so that it takes `width` cells."""
    text = shortened(text, width)
    return text + " " * (width - cell_len(text))
