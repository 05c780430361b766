"""The sweep: a document that was edited in place is found, and no other one is read."""

from collections.abc import Callable

from tests.unit.raw import Storage, edit, parse
from tests.unit.watched_disk import WatchedDisk


def test_a_document_that_was_edited_is_the_only_one_that_is_read(
    storage: Storage, later: Callable[[], Storage], disk: WatchedDisk
) -> None:
    path = storage.path("a")
    edit(path, "alice", "carol")
    opened = later()
    disk.forget()
    infos = {info.session_id: info for info in opened.list_sessions()}
    assert infos["a"].user_id == "carol"
    assert {call.path for call in disk.of("open", name=path.suffix)} == {str(path)}
    disk.forget()
    assert [info.session_id for info in opened.list_sessions(user_id="carol")] == ["a"]
    assert not disk.of("open", name=path.suffix)


def test_an_entry_added_by_hand_moves_its_session_to_the_front(storage: Storage, later: Callable[[], Storage]) -> None:
    path = storage.path("a")
    created_at = parse(path)["history"][0]["created_at"]
    raw = path.read_bytes()
    head, _, tail = raw.rpartition(created_at.encode())
    path.write_bytes(head + b"2999" + created_at.encode()[4:] + tail)
    assert later().get_all_session_ids()[0] == "a"
