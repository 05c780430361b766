"""Sort lists and cut pages from them by the rules of agno's own databases."""

from collections.abc import Callable
from typing import Any, TypeVar

Item = TypeVar("Item")


def sorted_by(
    items: list[Item], sort_by: str, sort_order: str | None, value_of: Callable[[Item, str], Any]
) -> list[Item]:
    """Return `items` sorted by `value_of(item, sort_by)`: in descending order unless `sort_order` is "asc".

    Return `items` itself if the first item is a mapping without this field, or if two values cannot be compared.
    """
    if not items or (isinstance(items[0], dict) and sort_by not in items[0]):
        return items
    try:
        values = [(value is None, value) for value in (value_of(item, sort_by) for item in items)]
        order = sorted(range(len(items)), key=values.__getitem__, reverse=sort_order != "asc")
    except TypeError:
        return items
    return [items[index] for index in order]


def page_of(items: list[Item], limit: int | None, page: int | None) -> list[Item]:
    """Return page number `page` (from 1) of `limit` items each. Without a limit, return `items` itself.

    Raises ValueError if `page` is less than 1 or if it is passed without `limit`.
    """
    if limit is None:
        if page is not None:
            raise ValueError("page was given without limit. Give both, or neither.")
        return items
    if page is not None and page < 1:
        raise ValueError(f"page must be 1 or more, not {page!r}")
    start = ((page or 1) - 1) * limit
    return items[start : start + limit]
