"""Items in documents that people edit."""

from random import Random

import pytest

from localstore import Conflict, Item
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
    assert path.stat().st_size > 20_000  # more than is read
    disk.forget()
    assert [item.data for item in storage.items("s1", 2)] == [1, 2]
    assert disk.size("read", path.name) <= 16 * 1024


@pytest.mark.parametrize("others", ["nothing", "another handle", "an editor", "a removal"])
def test_the_last_64_entries_have_no_item_twice_whoever_writes(storage: Storage, others: str) -> None:
    """One handle remembers the newest items that it stored, and searches the document only if somebody else wrote."""
    other = type(storage)(storage.root)
    given = 0
    chance = Random(7)
    for number in range(20):
        count = chance.choice([1, 1, 2, 8, 9, 100])
        items = [Item(one, item_id=f"i{one}") for one in range(given, given + count)]
        given += count
        storage.append_items("s1", items)
        if number % 3 == 0 and others == "another handle":
            theirs = [Item(given, item_id=f"i{given}")]
            assert other.append_items("s1", theirs) == storage.append_items("s1", theirs)
            given += 1
        if number % 3 == 0 and others == "an editor":
            path = storage.path("s1")
            path.write_bytes(path.read_bytes() + b"\n")
        if number % 3 == 0 and others == "a removal":
            popped = storage.pop_item("s1")
            assert popped is not None
            storage.append_items("s1", [popped])
        before = storage.revision("s1")
        again = chance.randrange(max(0, given - 64), given)
        assert storage.append_items("s1", [Item(again, item_id=f"i{again}")]) == before
        assert storage.append_items("s1", items[-64:]) == before
        with pytest.raises(Conflict):
            storage.append_items("s1", [Item("other", item_id=f"i{again}")])
    assert [item.data for item in storage.items("s1")] == list(range(given))
