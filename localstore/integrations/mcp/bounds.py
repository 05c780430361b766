"""Bounds what a tool returns: long texts, lists and mappings are cut, and what was cut off is said in their place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from localstore.models.excerpt import whole_end

MOST_CHARACTERS = 40_000
"""How many characters of stored content a tool returns at most, counted as JSON: about 10,000 tokens."""
_LEAST_TEXT = 40
"""Shorter texts are not cut, unless nothing is left."""


def size_of(value: Any) -> int:
    """Return the number of characters of a JSON value as JSON."""
    return len(json.dumps(value, ensure_ascii=False))


def cut(value: Any, longest_text: int, most: int = MOST_CHARACTERS) -> Any:
    """Return a JSON value with its texts cut to `longest_text` characters, and about `most` characters in all.

    >>> cut({"answer": "x" * 100, "ok": True}, 50)["answer"][-25:]
    'x… [50 more characters]'
    """
    return _Cutter(longest_text, most).cut(value)


class _Cutter:
    def __init__(self, longest_text: int, most: int) -> None:
        self.longest_text = longest_text
        self.left = most

    def cut(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            kept: list[Any] = []
            for item in value:
                if self.left <= 0:
                    return [*kept, f"… [{len(value) - len(kept):,} more items]"]
                kept.append(self.cut(item))
            return kept
        if isinstance(value, dict):
            fields: dict[str, Any] = {}
            for key, item in value.items():
                if self.left <= 0:
                    return {**fields, "…": f"[{len(value) - len(fields):,} more keys]"}
                name = self._text(key)
                fields[name] = self.cut(item)
            return fields
        self.left -= size_of(value)
        return value

    def _text(self, text: str) -> str:
        longest = min(self.longest_text, max(self.left, _LEAST_TEXT))
        if len(text) > longest:
            end = whole_end(text, longest)
            text = f"{text[:end]}… [{len(text) - end:,} more characters]"
        self.left -= len(text)
        return text


def newest_that_fit(values: Sequence[Any], longest_text: int, most: int = MOST_CHARACTERS) -> list[Any]:
    """Return the last of some JSON values that together have at most about `most` characters, each with texts cut.

    There is at least one, if there are any values: what is too large alone is cut further.
    """
    kept: list[Any] = []
    left = most
    for value in reversed(values):
        shortened = cut(value, longest_text, most)
        left -= size_of(shortened)
        if left < 0 and kept:
            break
        kept.append(shortened)
    return kept[::-1]
