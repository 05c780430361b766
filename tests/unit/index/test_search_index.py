"""The search index: which sessions an update compares, and what it keeps in memory."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage
from localstore.index.search_content import Content, StablePart
from localstore.index.search_index import SearchIndex, States
from localstore.index.search_query import parse_query

NO_ENTRY = "nothing changed is looked at"


class Unlisted(dict[str, str]):
    """States that can be looked up and not listed."""

    def items(self) -> Any:
        raise AssertionError(NO_ENTRY)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError(NO_ENTRY)


@pytest.fixture
def texts() -> dict[str, str]:
    return {f"s{number}": f"word{number}" for number in range(9)}


def opened(root: Path) -> SearchIndex:
    engine = JsonStorage(root)._engine
    return SearchIndex(engine.root, engine.locks, None)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SearchIndex]:
    index = opened(tmp_path)
    yield index
    index.close()


def found(index: SearchIndex, word: str) -> list[str]:
    query = parse_query(word)
    assert query is not None
    return [match.session_id for match in index.matches(query, None)]


def update(index: SearchIndex, texts: Mapping[str, str], states: States) -> list[str]:
    """Update the index, and return the sessions that were read for it."""
    read: list[str] = []

    def content(session_id: str, _: StablePart) -> Content:
        read.append(session_id)
        run: dict[str, Any] = {"type": "run", "messages": [{"role": "user", "content": texts[session_id]}]}
        return Content(states.of[session_id], [run], [9], {"session_id": session_id})

    index.update(states, content, list)
    return read


def changed(before: States, states: Mapping[str, str], session_ids: Collection[str]) -> States:
    return States(Unlisted(states), before.of, session_ids)


def test_an_update_that_knows_what_changed_looks_at_nothing_else(index: SearchIndex, texts: dict[str, str]) -> None:
    """A search after an append compared the states of all sessions: 120 ms with 100,000 of them."""
    first = States(dict.fromkeys(texts, "1"))
    assert update(index, texts, first) == list(texts)
    assert update(index, texts, first) == []
    texts["s3"] = "changed"
    texts["new"] = "arrived"
    second = changed(first, {**first.of, "s3": "2", "new": "1"}, ["s3", "new"])
    assert update(index, texts, second) == ["s3", "new"]
    assert (found(index, "changed"), found(index, "arrived"), found(index, "word3")) == (["s3"], ["new"], [])
    without = {session_id: second.of[session_id] for session_id in texts if session_id != "s5"}
    third = changed(second, without, ["s5", "s4"])
    assert update(index, texts, third) == []
    assert (found(index, "word5"), found(index, "word4")) == ([], ["s4"])


def test_states_that_follow_others_than_the_last_update_are_all_compared(
    index: SearchIndex, texts: dict[str, str]
) -> None:
    first = States(dict.fromkeys(texts, "1"))
    update(index, texts, first)
    other = States({**first.of, "s1": "2"}, {**first.of}, ["s2"])
    assert update(index, texts, other) == ["s1"]


def test_an_index_that_another_process_changed_is_compared_as_a_whole(
    index: SearchIndex, texts: dict[str, str], tmp_path: Path
) -> None:
    first = States(dict.fromkeys(texts, "1"))
    update(index, texts, first)
    other = opened(tmp_path)
    assert update(other, texts, States({**first.of, "s1": "2", "s2": "2"})) == ["s1", "s2"]
    assert update(index, texts, States({**first.of, "s7": "2"}, first.of, ["s7"])) == ["s1", "s2", "s7"]
    other.close()


def test_the_states_are_in_memory_once(index: SearchIndex, texts: dict[str, str]) -> None:
    """The index and the listing each kept the states of all sessions: 25 MB more for 100,000 of them."""
    first = States(dict.fromkeys(texts, "1"))
    update(index, texts, first)
    assert index.states() is first.of
