"""Items: JSON values that another framework stores in a session and wants back exactly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from localstore.engine.last_writes import LastWrites
from localstore.engine.removal import with_removal
from localstore.errors import Conflict
from localstore.format.values import json_equal, to_json_value
from localstore.index.row import revision_of
from localstore.models.nearest import shown
from localstore.models.times import now
from localstore.storage.arguments import check_text

if TYPE_CHECKING:
    from localstore.engine.transaction import Transaction

Entry = dict[str, Any]

REMEMBERED_ITEMS = 64
"""How many of the newest entries are searched for a repeated item_id, besides as many as are added."""
_FEW = 8
"""How many new items at most are compared with what is remembered. For more, the stored entries are parsed."""
_PLAIN = re.compile(r"[A-Za-z0-9_/-]+")
"""An id that every format writes as it is."""


@dataclass(frozen=True, slots=True)
class Item:
    """A JSON value of another framework, stored as an entry of the history with the type `item`.

    >>> Item({"role": "user", "content": "hi"}, source="openai-agents").data["role"]
    'user'
    """

    data: Any
    """The value."""
    source: str | None = None
    """The name of the framework."""
    item_id: str = field(default_factory=lambda: str(uuid4()))
    """Identifies the item in its session."""
    created_at: str = field(default_factory=now)
    """When the item was made: ISO 8601, UTC, with milliseconds."""
    session_state: dict[str, Any] | None = None
    """The state of the session from this item on, as a whole; None leaves it unchanged."""

    def entry(self) -> Entry:
        """Return the item as an entry of the history. Raises UnstorableValue."""
        source = {} if self.source is None else {"source": self.source}
        state = {} if self.session_state is None else {"session_state": self.session_state}
        entry = {"type": "item", "item_id": self.item_id, "created_at": self.created_at, **source, **state}
        entry["data"] = self.data
        stored: Entry = to_json_value(entry, "item")
        return stored


def is_item(entry: Entry, source: str | None = None) -> bool:
    """Return whether an entry of a document is an item; with `source`, one of this framework."""
    is_one = entry["type"] == "item" and isinstance(entry.get("item_id"), str)
    return is_one and source in (None, entry.get("source"))


def item_of(entry: Entry) -> Item:
    """Return an entry, for which `is_item` is true, as an item."""
    source, created_at = entry.get("source"), entry.get("created_at")
    return Item(
        entry.get("data"),
        source if isinstance(source, str) else None,
        entry["item_id"],
        created_at if isinstance(created_at, str) else "",
        entry.get("session_state"),
    )


def items_in(entries: Sequence[Entry], last: int | None, source: str | None = None) -> list[Item]:
    """Return the last `last` items among entries, or all, oldest first; with `source`, those of this framework."""
    found = [item_of(entry) for entry in entries if is_item(entry, source)]
    return found if last is None else found[max(0, len(found) - last) :]


def entries_of(items: Iterable[Item]) -> list[Entry]:
    """Return the entries for items. Raises TypeError, UnstorableValue, and ValueError if two have the same id."""
    entries = []
    for item in items:
        if not isinstance(item, Item):
            raise TypeError(f"items must be a list of Item, and has {shown(item)}. Use Item(data).")
        if not isinstance(item.session_state, dict | None):
            raise TypeError(f"session_state must be a mapping or None, not {shown(item.session_state)}")
        check_text("item_id", item.item_id)
        entries.append(item.entry())
    if len({entry["item_id"] for entry in entries}) < len(entries):
        raise ValueError("two of the items have the same item_id. Nothing was written. Give each an id of its own.")
    return entries


def new_items(session_id: str, stored: Iterable[Entry], entries: list[Entry]) -> list[Entry]:
    """Return those of `entries` that are not among `stored`. Raises Conflict if another one has the same id there."""
    known = {entry["item_id"]: entry for entry in stored if is_item(entry)}
    for entry in entries:
        before = known.get(entry["item_id"])
        if before is not None and not json_equal(before.get("data"), entry["data"]):
            raise Conflict(
                f"Session {session_id!r} has another item {entry['item_id']!r}. Nothing was written. "
                "Give the item another id.",
                session_id=session_id,
            )
    return [entry for entry in entries if entry["item_id"] not in known]


def check_revision(session_id: str, revision: str, expected: str | None) -> None:
    """Raise Conflict if a session has another revision than is expected. None expects nothing."""
    if expected is not None and revision != expected:
        raise Conflict(
            f"Session {session_id!r} was changed since revision {expected!r}. Nothing was written. "
            "Read the items again, and repeat the change.",
            session_id=session_id,
        )


def append_items(
    document: Transaction, entries: list[Entry], expected: str | None, recent: LastWrites[list[str]]
) -> str:
    """Add items to a document, and return its new revision. Only the newest entries are searched for their ids."""
    session_id = document.row["session_id"]
    ids = [entry["item_id"] for entry in entries]
    are_few = len(ids) <= _FEW
    known = recent.of(document.row) if are_few else None
    stored: list[Entry] = []
    if known is None and (not are_few or session_id in recent):  # to remember more does not pay off
        words = ids if are_few and all(map(_PLAIN.fullmatch, ids)) else ()
        stored = document.newest(REMEMBERED_ITEMS + len(ids), words)
    elif not known or not set(known).isdisjoint(ids):
        stored = document.newest(REMEMBERED_ITEMS + _FEW)
        known = [entry["item_id"] for entry in stored if is_item(entry)]
    if new := new_items(session_id, stored, entries):
        check_revision(session_id, revision_of(document.row["fingerprint"]), expected)
        document.append(new)
        ids = [] if known is None else [*known, *[entry["item_id"] for entry in new]]
        recent.remember(document.row, ids[-REMEMBERED_ITEMS - _FEW :])
    return revision_of(document.row["fingerprint"])


def replace_items(document: Transaction, entries: list[Entry], expected: str | None, source: str | None) -> str:
    """Replace all items of a document, or those with a source, and return its new revision.

    Nothing is written if they are the same.
    """
    parsed = document.whole()
    every = zip(parsed.starts, parsed.entries, strict=True)
    stored = {start: entry for start, entry in every if is_item(entry, source)}
    if [*stored.values()] != entries:
        check_revision(document.row["session_id"], revision_of(document.row["fingerprint"]), expected)
        new = {entry["item_id"] for entry in entries}
        gone = [entry["item_id"] for entry in stored.values() if entry["item_id"] not in new]
        document.change(with_removal(parsed.header, gone), dict.fromkeys(stored), entries)
    return revision_of(document.row["fingerprint"])


@dataclass(slots=True)
class PoppedItem:
    """The removal of the last item, which is chosen in the first attempt and stays the same in all others."""

    source: str | None = None
    """The framework whose item is removed; None for any."""
    item: Item | None = None

    def apply(self, document: Transaction) -> None:
        """Remove the item from a document, unless an earlier attempt did."""
        parsed = document.whole()
        for number in reversed(range(len(parsed.entries))):
            entry = parsed.entries[number]
            if is_item(entry, self.source) and (self.item is None or entry["item_id"] == self.item.item_id):
                self.item = item_of(entry)
                header = with_removal(parsed.header, [self.item.item_id])
                document.change(header, {parsed.starts[number]: None}, [])
                return
