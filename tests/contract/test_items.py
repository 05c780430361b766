"""Items of other frameworks are stored once, in order, and come back exactly."""

import json

import pytest

from localstore import Conflict, Item, KindMismatch, OwnerMismatch, SessionNotFound, SessionStorage
from tests.contract.conftest import Open
from tests.contract.runs import answered, read


def data(storage: SessionStorage, last: int | None = None) -> list[object]:
    return [item.data for item in storage.items("s1", last)]


def test_items_come_back_in_order_and_exactly(storage: SessionStorage, open_storage: Open) -> None:
    values = [{"role": "user", "content": "hi"}, [1, 2.5, None], "text", {"b": {"z": 1}, "a": 0}]
    storage.append_items("s1", [Item(value, source="openai-agents") for value in values[:2]], user_id="alice")
    storage.append("s1", answered("r1"))
    open_storage().append_items("s1", [Item(value) for value in values[2:]])
    assert data(storage) == values
    assert data(storage, 3) == values[1:]
    assert data(storage, 0) == []
    assert [list(item.data["b"]) for item in storage.items("s1", 1)] == [["z"]]
    assert storage.items("s1")[0].source == "openai-agents"
    assert storage.items("s1", user_id="bob") == storage.items("nowhere") == []
    assert read(storage, "s1").user_id == "alice"


@pytest.mark.parametrize(
    "item_id",
    [
        "i1",
        "",
        "a/1",
        "50%",
        "_",
        "!",
        'a "quoted" one',
        "back\\slash",
        "[1]|(2)",
        "line\nbreak",
        "N\0L",
        "Ä",
        "x" * 1000,
    ],
    ids=ascii,
)
def test_an_item_with_any_id_is_stored_once(storage: SessionStorage, item_id: str) -> None:
    """Databases look for the ids in the text of the entries, where they may be escaped, and mean something else."""
    items = [Item(number, item_id=f"{item_id}{number}") for number in range(3)]
    if item_id:
        items.append(Item({"i1": "i2"}, item_id=item_id))
    before = storage.append_items("s1", items)
    assert storage.append_items("s1", items[1:]) == before
    for one in items:
        assert storage.append_items("s1", [one]) == before
        with pytest.raises(Conflict, match="another item"):
            storage.append_items("s1", [Item("other", item_id=one.item_id)])
    storage.append_items("s1", [Item(number) for number in range(20)])
    assert len(storage.items("s1")) == len(items) + 20


def test_an_item_is_stored_once(storage: SessionStorage) -> None:
    items = [Item(1, item_id="i1"), Item(2, item_id="i2")]
    storage.append_items("s1", items)
    before = storage.revision("s1")
    assert storage.append_items("s1", items) == before
    storage.append_items("s1", [*items, Item(3)])
    assert data(storage) == [1, 2, 3]
    with pytest.raises(Conflict, match="i1"):
        storage.append_items("s1", [Item(4), Item(9, item_id="i1")])
    with pytest.raises(ValueError, match="same item_id"):
        storage.append_items("s1", [Item(4, item_id="x"), Item(5, item_id="x")])
    assert data(storage) == [1, 2, 3]


def test_a_revision_guards_against_other_writers(storage: SessionStorage) -> None:
    assert storage.revision("s1") == ""
    first = storage.append_items("s1", [Item(1)], expected_revision="")
    assert storage.revision("s1") == first
    second = storage.append_items("s1", [Item(2)], expected_revision=first)
    assert second != first
    with pytest.raises(Conflict, match="changed since"):
        storage.append_items("s1", [Item(3)], expected_revision=first)
    with pytest.raises(Conflict, match="changed since"):
        storage.replace_items("s1", [], expected_revision=first)
    storage.update("s1", name="x")
    with pytest.raises(Conflict, match="changed since"):
        storage.append_items("s1", [Item(3)], expected_revision=second)
    assert data(storage) == [1, 2]


def test_the_last_item_is_popped(storage: SessionStorage) -> None:
    storage.append_items("s1", [Item(1), Item(2)], user_id="alice")
    storage.append("s1", answered("r1"))
    with pytest.raises(OwnerMismatch):
        storage.pop_item("s1", user_id="bob")
    ids = [item.item_id for item in storage.items("s1")]
    assert [getattr(storage.pop_item("s1"), "data", None) for _ in range(3)] == [2, 1, None]
    assert [*(read(storage, "s1").removed or ())] == ids[::-1]  # so that no merge brings them back
    assert [run.run_id for run in read(storage, "s1").runs] == ["r1"]
    with pytest.raises(SessionNotFound):
        storage.pop_item("nowhere")


def test_all_items_are_replaced(storage: SessionStorage) -> None:
    kept = Item(2, item_id="i2")
    storage.append_items("s1", [Item(1), kept])
    storage.append("s1", answered("r1"))
    revision = storage.replace_items("s1", [kept, Item(3)])
    assert storage.revision("s1") == revision
    assert data(storage) == [2, 3]
    assert len(read(storage, "s1").removed or ()) == 1  # so that no merge brings back the other one
    storage.replace_items("s1", [])
    assert data(storage) == []
    assert [run.run_id for run in read(storage, "s1").runs] == ["r1"]
    with pytest.raises(SessionNotFound):
        storage.replace_items("nowhere", [])


def test_frameworks_that_share_a_session_see_and_change_their_own_items(storage: SessionStorage) -> None:
    """A session of one framework got the items of another one, and what cleared it removed them, too."""
    storage.append_items("s1", [Item(1, "one"), Item(2, "two")])
    storage.append_items("s1", [Item(number, "two") for number in range(3, 90)])
    assert [item.data for item in storage.items("s1", source="one")] == [1]
    assert [item.data for item in storage.items("s1", 1, source="one")] == [1]
    assert [item.data for item in storage.items("s1", 2, source="two")] == [88, 89]
    assert storage.items("s1", 1, source="none") == storage.items("s1", 0, source="two") == []
    storage.replace_items("s1", [Item(0, "one"), Item(1, "one")], source="one")
    popped = storage.pop_item("s1", source="one")
    assert popped is not None
    assert popped.data == 1
    assert storage.pop_item("s1", source="none") is None
    assert data(storage) == [*range(2, 90), 0]


def test_an_item_may_bring_the_state_of_the_session(storage: SessionStorage) -> None:
    storage.append_items("s1", [Item(1, session_state={"city": "Linz"}), Item(2)])
    storage.append("s1", answered("r1"))
    storage.append_items("s1", [Item(3)])
    assert [item.session_state for item in storage.items("s1")] == [{"city": "Linz"}, None, None]
    session = storage.read("s1", last_runs=0)
    assert session is not None
    assert session.session_state == {"city": "Linz"}
    assert data(storage, 2) == [2, 3]
    with pytest.raises(TypeError, match="mapping"):
        storage.append_items("s1", [Item(4, session_state=["no mapping"])])  # type: ignore[arg-type]


def test_owners_kinds_and_types_are_checked(storage: SessionStorage) -> None:
    storage.append_items("s1", [Item(1)], user_id="alice")
    with pytest.raises(OwnerMismatch):
        storage.append_items("s1", [Item(2)], user_id="bob")
    with pytest.raises(KindMismatch):
        storage.append_items("s1", [Item(2)], kind="team")
    with pytest.raises(TypeError, match="Item"):
        storage.append_items("s1", [{"data": 1}])  # type: ignore[list-item]
    assert data(storage) == [1]


def test_items_are_found_by_their_words(storage: SessionStorage) -> None:
    storage.append_items("s1", [Item({"role": "user", "content": "zebra"})])
    (hit,) = storage.search("zebra")
    assert (hit.session_id, hit.entry, hit.run_id) == ("s1", 0, None)
    assert hit.title == "zebra"  # it was empty in a folder


def test_the_first_question_in_an_item_is_the_title(storage: SessionStorage) -> None:
    storage.append_items("s1", [Item({"role": "assistant", "content": "Hello!"})])
    storage.append_items("s1", [Item({"role": "user", "content": [{"text": "Which train?"}]}), Item({"role": "user"})])
    assert [info.title for info in storage.list_sessions()] == ["Which train?"]
    storage.replace_items("s1", [Item({"role": "user", "content": "And back?"})])
    assert [info.title for info in storage.list_sessions()] == ["And back?"]


def test_items_are_exported_as_messages(storage: SessionStorage) -> None:
    said = [("user", "Which train?"), ("assistant", "At 7:58."), ("user", "Sure?"), ("assistant", "Yes.")]
    storage.append_items("s1", [Item({"role": role, "content": content}) for role, content in said])
    (line,) = storage.export("openai-jsonl")
    assert json.loads(line)["messages"] == [{"role": role, "content": content} for role, content in said]
    page = "".join(storage.export("markdown"))
    assert page.count("## Run") == 2
    assert "At 7:58." in page
    assert "At 7:58." in "".join(storage.export("html"))
    assert [item.data["role"] for item in storage.items("s1")] == [role for role, _ in said]
