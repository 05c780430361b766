"""Searches for the pages: what a search waits for, and how soon an edit of another program is found."""

import re
import threading
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from localstore import JsonStorage, Message, Run
from localstore.models.filter import Filter
from localstore.viewer import app, searching
from localstore.viewer.searching import Searching


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every store for a large one, and make no pause between two comparisons."""
    monkeypatch.setattr(searching, "_MANY", 1)
    monkeypatch.setattr(searching, "_PAUSE", 0.0)
    monkeypatch.setattr(searching, "_SHARE", 0)


def edited(storage: JsonStorage, session_id: str, old: str, new: str) -> None:
    """Edit a document in place, as an editor does."""
    path = storage.path(session_id)
    path.write_text(path.read_text().replace(old, new))


def wait_for_comparison() -> None:
    for thread in threading.enumerate():
        if "_compare" in thread.name:
            thread.join(60)


def ids(find: Searching, text: str) -> list[str]:
    return [hit.session_id for hit in find.find(text, Filter()).hits]


def test_in_a_small_store_every_search_compares_all_documents(storage: JsonStorage) -> None:
    find = Searching(storage)
    assert ids(find, "trai") == ["trip"]  # the last word may be the beginning of one
    edited(storage, "tea", "A haiku?", "A train?")
    assert ids(find, "train") == ["tea", "trip"]
    assert find.find("train", Filter()).compared_at is None


@pytest.mark.usefixtures("large")
def test_in_a_large_store_a_search_answers_before_all_documents_are_compared(storage: JsonStorage) -> None:
    """A search waited a second, until the status of 100,000 files was compared."""
    find = Searching(storage)
    assert ids(find, "train") == ["trip"]
    edited(storage, "tea", "A haiku?", "A train?")
    storage.append("new", Run(messages=[Message(role="user", content="A train!")]))
    first = find.find("train", Filter())
    assert [hit.session_id for hit in first.hits] == ["new", "trip"]  # what localstore wrote is found at once
    assert not first.is_complete
    wait_for_comparison()
    second = find.find("train", Filter(), first.asked_at)
    assert [hit.session_id for hit in second.hits] == ["new", "tea", "trip"]
    assert second.is_complete  # it is not compared for ever
    assert not find._is_comparing


@pytest.mark.usefixtures("large")
def test_what_was_edited_before_a_search_is_found_after_the_pause(
    storage: JsonStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search within the pause between two comparisons started none, and its page did not find the edit."""
    monkeypatch.setattr(searching, "_PAUSE", 0.3)
    find = Searching(storage)
    find.find("train", Filter())
    edited(storage, "tea", "A haiku?", "A train?")
    first = find.find("train", Filter())
    assert not find.find("train", Filter(), first.asked_at).is_complete
    wait_for_comparison()
    second = find.find("train", Filter(), first.asked_at)
    assert [hit.session_id for hit in second.hits] == ["tea", "trip"]
    assert second.is_complete


@pytest.mark.usefixtures("large")
def test_the_page_of_a_search_says_which_edits_it_knows_and_loads_itself_again(storage: JsonStorage) -> None:
    with TestClient(app(storage), base_url="http://localhost") as client:
        assert "What other programs edited" not in client.get("/?q=train").text
        page = client.get("/?q=train&user=alice").text
        assert "1 hit. What other programs edited is found up to" in page
        again = re.findall(r'id="again" hx-get="(/\?q=train&amp;user=alice&amp;asked=[0-9.]+)"', page)
        wait_for_comparison()
        part = client.get(unescape(again[0]), headers={"hx-trigger": "again"}).text
        assert part.startswith('<p class="total">1 hit. What other programs edited is found up to')
        assert 'id="again"' not in part


@pytest.mark.usefixtures("large")
def test_a_store_that_is_gone_ends_a_comparison_and_nothing_else(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path / "store")
    storage.append("a", Run(messages=[Message(role="user", content="train")]))
    find = Searching(storage)
    find.find("train", Filter())
    find.find("train", Filter())
    (tmp_path / "store").rename(tmp_path / "away")
    wait_for_comparison()
    assert not find._is_comparing
