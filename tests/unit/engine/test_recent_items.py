from typing import Any

from localstore.engine.recent_items import FEW, REMEMBERED_ITEMS, RecentItems


def row(session_id: str, revision: int) -> Any:
    return {"session_id": session_id, "fingerprint": [revision]}


def test_items_are_remembered_while_the_document_is_the_same() -> None:
    recent = RecentItems()
    assert recent.of(row("s1", 1)) is None
    recent.remember(row("s1", 1), ["a", "b"])
    assert recent.of(row("s1", 1)) == ["a", "b"]
    assert recent.of(row("s1", 2)) is None
    assert recent.of(row("s2", 1)) is None


def test_the_newest_items_of_the_last_sessions_are_remembered() -> None:
    recent = RecentItems()
    for number in range(300):
        recent.remember(row(f"s{number}", 1), map(str, range(number)))
    assert recent.of(row("s0", 1)) is None
    assert recent.of(row("s299", 1)) == [str(number) for number in range(299 - REMEMBERED_ITEMS - FEW, 299)]
