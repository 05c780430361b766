"""Records and entries of Pydantic AI's conversations as items."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_core import PydanticSerializationError

from localstore.errors import UnstorableValue
from localstore.storage.items import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SOURCE = "pydantic-ai"
"""The `source` of the items."""
_RECORDS: TypeAdapter[Any] = TypeAdapter(ConversationRecord)


def record_item(record: ConversationRecord, entry_ids: list[str]) -> Item:
    """Return a record as an item, with the ids of the entries that are stored with it: a search finds them here.

    Each form of a record is an item of its own, and the last one counts. Raises UnstorableValue.
    """
    return Item({**_json_value(lambda: _RECORDS.dump_json(record), "record"), "entry_ids": entry_ids}, SOURCE)


def entry_item(entry: ConversationEntry) -> Item:
    """Return an entry as an item with its id. Raises UnstorableValue."""
    (message,) = _json_value(lambda: ModelMessagesTypeAdapter.dump_json([entry.message]), "message")
    return Item(
        {"kind": entry.kind, "parent_id": entry.parent_id, "id": entry.id, "message": message}, SOURCE, entry.id
    )


def _json_value(dump: Callable[[], bytes], name: str) -> Any:
    """Return the JSON that Pydantic AI writes as a value. Integers stay integers: a storage refuses large ones."""
    try:
        return json.loads(dump())
    except PydanticSerializationError as error:
        raise UnstorableValue(f"the {name} has a value that Pydantic AI cannot write as JSON: {error}") from error


def last_record(items: list[Item]) -> ConversationRecord | None:
    """Return the record in the last item that is one, or None."""
    for item in reversed(items):
        if isinstance(item.data, dict) and "conversation_id" in item.data:
            record = {name: value for name, value in item.data.items() if name != "entry_ids"}
            return _RECORDS.validate_json(orjson.dumps(record))
    return None


def entries_by_id(items: Iterable[Item]) -> dict[str, Item]:
    """Return the items that are entries, by their ids."""
    return {item.item_id: item for item in items if isinstance(item.data, dict) and "message" in item.data}


def entry_of(item: Item) -> ConversationEntry:
    """Return the entry that an item holds."""
    data = item.data
    (message,) = ModelMessagesTypeAdapter.validate_json(orjson.dumps([data["message"]]))
    return ConversationEntry(id=item.item_id, parent_id=data["parent_id"], message=message, kind=data["kind"])


def chain(stored: dict[str, Item], head: str | None, limit: int | None = None) -> list[Item]:
    """Return the items of the entries up to `head`, oldest first, or only the last `limit`. Raises KeyError."""
    found: list[Item] = []
    while head is not None and (limit is None or len(found) < limit):
        item = stored[head]
        found.append(item)
        head = item.data["parent_id"]
    return found[::-1]
