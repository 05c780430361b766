"""Items in documents that people edit."""

import pytest

from localstore import Item
from tests.unit.raw import Storage, edit


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
