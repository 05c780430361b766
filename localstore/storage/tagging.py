"""Adding tags to a session and taking them away, whatever tags it has by then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from localstore.format.values import to_json_value


def retagging(add: Iterable[str], remove: Iterable[str]) -> Callable[[list[str]], list[str]] | None:
    """What makes of a session's tags those that it is to have: each once, in their order, the added ones last and
    without the removed ones; None when nothing is to be done. Raises TypeError, UnstorableValue.
    """
    added, removed = _texts("add_tags", add), _texts("remove_tags", remove)
    if not added and not removed:
        return None

    def retag(tags: list[str]) -> list[str]:
        more = [tag for tag in dict.fromkeys(added) if tag not in tags]
        return [tag for tag in [*tags, *more] if tag not in removed]

    return retag


def _texts(name: str, tags: Iterable[str]) -> list[str]:
    given: Any = [tags] if isinstance(tags, str) else list(tags)
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in given):
        raise TypeError(f"{name} must be a list of texts")
    texts: list[str] = to_json_value(given, name)
    return texts
