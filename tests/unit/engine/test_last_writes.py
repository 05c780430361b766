from typing import Any

from localstore.engine.last_writes import LastWrites


def row(session_id: str, revision: int) -> Any:
    return {"session_id": session_id, "fingerprint": [revision]}


def test_what_is_known_is_remembered_while_the_document_is_the_same() -> None:
    last = LastWrites[list[str]]()
    assert last.of(row("s1", 1)) is None
    assert "s1" not in last
    last.remember(row("s1", 1), ["a", "b"])
    assert last.of(row("s1", 1)) == ["a", "b"]
    assert last.of(row("s1", 2)) is None
    assert "s1" in last
    assert last.of(row("s2", 1)) is None


def test_the_sessions_that_came_first_are_forgotten_when_there_are_too_many() -> None:
    last = LastWrites[int]()
    for number in range(300):
        last.remember(row(f"s{number}", 1), number)
    assert last.is_full
    assert last.of(row("s43", 1)) is None
    assert last.of(row("s44", 1)) == 44
    last.remember(row("s44", 2), 0)
    assert last.of(row("s45", 1)) == 45
