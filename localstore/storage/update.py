"""Changes to a session outside a run: its state, and the values of its header."""

from collections.abc import Callable, Iterable
from typing import Any

from localstore.engine.transaction import Transaction
from localstore.format.document import order_header
from localstore.format.values import to_json_value
from localstore.models.schema import SCHEMA_VERSION


def new_header(
    session_id: str, kind: str, entity_id: str | None, user_id: str | None, created_at: str
) -> dict[str, Any]:
    """The header of a session that is made. Raises UnstorableValue."""
    header = {
        "schema_version": SCHEMA_VERSION,
        "session_id": session_id,
        "kind": kind,
        f"{kind}_id": entity_id,
        "user_id": user_id,
        "created_at": created_at,
    }
    kept: dict[str, Any] = to_json_value({key: value for key, value in header.items() if value is not None})
    return kept


def header_with(header: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The header with other values; None and empty ones are left out."""
    merged = {**header, **values}
    return order_header({key: value for key, value in merged.items() if key not in values or value})


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


def updating(
    state: dict[str, Any], header: dict[str, Any], retag: Callable[[list[str]], list[str]] | None
) -> Callable[[Transaction], None]:
    """A change that adds an entry with this state, sets these values of the header, and its tags to what `retag` makes
    of them. It may be tried again when another program interfered."""
    from localstore.models.times import now

    entries = [{"type": "update", "created_at": now(), **state}] if state else []
    again = False

    def change(transaction: Transaction) -> None:
        nonlocal again
        # Interrupted by another program's write, it may have been done already.
        added = [] if again and transaction.whole().entries[-1:] == entries else entries
        again = True
        values = header
        if retag is not None:
            before = (header if "tags" in header else transaction.header()).get("tags") or []
            if (after := retag(before)) != before:
                values = {**header, "tags": after}
        if values:
            transaction.change(header_with(transaction.header(), values), {}, added)
        elif added:
            transaction.append(added)

    return change
