"""The words of an entry that a database indexes, and the word by which it finds a literal text without an index."""

from __future__ import annotations

import re

from localstore.databases.backend import StoredEntry
from localstore.format.words import Words, composed

ANYTHING = "*"
"""Stands for all words of an entry that has too many. No word is written like this."""
KELVIN = "\u212a"
"""The sign of Kelvin, which is a K when it is composed."""
_MOST_BYTES = 800_000
"""How many bytes of words of an entry are indexed: what PostgreSQL takes, with some room."""
_EXTRA = 8
"""How many bytes PostgreSQL needs for a word besides its text."""
_LONGEST_PATTERN = 500
"""How many characters of a literal text a database looks for: SQLite and MongoDB refuse long patterns."""
_ASCII_WORD = re.compile("[A-Za-z0-9]+")


def words_of(one: StoredEntry, longest: int) -> list[str]:
    """Return the words of an entry, each once and cut off after `longest` characters; `ANYTHING` if there are too many.

    They are sorted.
    """
    texts = one.texts
    if not texts:
        return []
    text = composed("\n".join([found.text for found in texts]))
    found = {*Words(text).forms}
    if len(text) > longest and max(map(len, found), default=0) > longest:
        found = {form[:longest] for form in found}
    may_be_too_many = len(found) * (4 * longest + _EXTRA) > _MOST_BYTES
    if may_be_too_many and sum(len(form.encode()) + _EXTRA for form in found) > _MOST_BYTES:
        return [ANYTHING]
    return sorted(found)


def longest_word(text: str) -> str:
    """Return the longest word of ASCII letters and digits in a text, or "" if it has none. A very long one is cut off.

    An entry with the text has this word, or a `KELVIN`, in its JSON.
    """
    return max(_ASCII_WORD.findall(text), key=len, default="")[:_LONGEST_PATTERN]
