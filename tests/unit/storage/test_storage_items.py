"""Items in documents that people edit."""

import pytest

from localstore import Item
from tests.unit.raw import Storage, edit
from tests.unit.watched_disk import WatchedDisk


@pytest.mark.parametrize(("item_id", "escaped"), [("a1", "\\u00611"), ("agent/1", "agent\\/1")])
def test_an_item_whose_id_a_person_wrote_with_an_escape_is_not_stored_again(
    storage: Storage, item_id: str, escaped: str
) -> None:
    storage.append_items("s1", [Item("first", item_id=item_id), Item("other", item_id="other")])
    path = storage.path("s1")
    written = f'"{item_id}"' if path.suffix == ".json" else f"item_id: {item_id}"
    edit(path, written, f'"{escaped}"' if path.suffix == ".json" else f'item_id: "{escaped}"')
    storage.append_items("s1", [Item("between")])
    storage.append_items("s1", [Item("first", item_id=item_id)])
    assert [item.data for item in storage.items("s1")] == ["first", "other", "between"]


def test_the_last_items_cost_the_same_however_many_were_removed(storage: Storage, disk: WatchedDisk) -> None:
    """The header, with the ids of all items that were ever removed, was read and parsed for each call."""
    storage.append_items("s1", [Item(number) for number in range(2_000)])
    storage.replace_items("s1", [])
    storage.append_items("s1", [Item(number, session_state={"city": "Linz"}) for number in range(3)])
    path = storage.path("s1")
    assert path.stat().st_size > 100_000
    disk.forget()
    assert [item.data for item in storage.items("s1", 2)] == [1, 2]
    assert disk.size("read", path.name) <= 16 * 1024
