"""Finding sessions by what a person types."""

from pathlib import Path
from typing import Any

import pytest

from localstore import DocumentBroken, JsonStorage
from tests.unit.raw import Storage, answered


@pytest.fixture
def named(storage: Storage) -> Storage:
    for session_id, name in (("a", "other"), ("ab", "a"), ("abc", None), ("xyz", "abc"), ("x|1", "Trip to Linz")):
        storage.append(session_id, answered("r"))
        if name is not None:
            storage.update(session_id, name=name)
    return storage


def ids(storage: Storage, text: str) -> list[str]:
    return sorted(info.session_id for info in storage.find_sessions(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ["a"]),
        ("abc", ["abc"]),
        ("other", ["a"]),
        ("x", ["xyz", "x|1"]),
        ("x|", ["x|1"]),
        ("Trip", ["x|1"]),
        ("trip", []),
        ("oth", ["a"]),
        ("", []),
        ("nothing", []),
        ("../a", []),
        ("\ud800", []),
        ("a\0", []),
        ("%", []),
        ("a" * 5000, []),
    ],
)
def test_an_id_comes_before_names_and_beginnings(named: Storage, text: str, expected: list[str]) -> None:
    assert ids(named, text) == expected
    assert ids(type(named)(named.root), text) == expected


def test_a_session_that_others_changed_is_found_as_it_is_now(named: Storage) -> None:
    """Without an id or a name that it no longer has."""
    path = named.path("abc")
    path.write_text(path.read_text().replace("abc", "new-id"))
    assert ids(named, "abc") == ["xyz"]
    assert ids(named, "new") == ["new-id"]
    named.path("a").unlink()
    assert ids(named, "a") == ["ab"]


def test_what_is_found_has_its_counts(named: Storage) -> None:
    (info,) = named.find_sessions("Trip")
    assert info == next(one for one in named.sessions() if one.session_id == "x|1")
    assert (info.title, info.status) == ("Trip to Linz", "completed")


def test_a_broken_document_is_found_with_its_problem(named: Storage) -> None:
    path = named.path("abc")
    path.write_text(path.read_text().replace("type", 't"y: [pe', 1))
    for text in ("abc", "ab", "abc"):
        found = {info.session_id: info.problem for info in named.find_sessions(text)}
        assert found.get("abc") or text == "ab"


def test_a_file_that_is_named_after_an_unknown_id_and_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """It may hold the session: 'no such session' would be wrong."""
    storage = JsonStorage(tmp_path)
    storage.append("s", answered("r"))
    path = storage.path("s").with_name("lost.json")
    path.write_text("{")
    with pytest.raises(DocumentBroken):
        storage.find_sessions("lost")


def test_the_sessions_that_begin_with_a_text_are_those_of_all_writers(named: Storage) -> None:
    """Those in the index and those that were written since, at most so many, newest first, without names."""
    for storage in (named, type(named)(named.root)):
        storage.append("abd", answered("r"))
        found = [info.session_id for info in storage.sessions_beginning_with("a")]
        assert found == ["abd", "abc", "ab", "a"]
        assert [info.session_id for info in storage.sessions_beginning_with("a", limit=2)] == ["ab", "a"]
    named.delete_session("a")
    assert [info.session_id for info in named.sessions_beginning_with("a", limit=1)] == ["ab"]
    for text in ("Trip", "\ud800", "a\0", "../a"):
        assert named.sessions_beginning_with(text) == []
    with pytest.raises(ValueError, match="limit must be"):
        named.sessions_beginning_with("a", limit=-1)


@pytest.mark.usefixtures("folding")
def test_of_many_sessions_that_are_named_only_some_are_read(named: Storage) -> None:
    """`localstore show session` in a store of 100,000 read all of them, to show ten."""
    for storage in (named, type(named)(named.root)):
        assert len(storage.find_sessions("x", limit=1)) == 1
        assert len(storage.find_sessions("x", limit=2)) == 2
        assert [info.session_id for info in storage.find_sessions("abc", limit=1)] == ["abc"]
        assert [info.session_id for info in storage.find_sessions("Trip", limit=1)] == ["x|1"]
        assert [info.session_id for info in storage.find_sessions("a…c", limit=1)] == ["abc"]
        assert [info.session_id for info in storage.find_sessions("a…b")] == ["abc", "ab"]
        storage.update("xyz", name="a")
        assert sorted(info.session_id for info in storage.find_sessions("a", limit=5)) == ["a"]
        assert storage.find_sessions("x", limit=0) == []
    with pytest.raises(ValueError, match="limit must be"):
        named.find_sessions("x", limit=-1)


@pytest.mark.usefixtures("folding")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Y", "xyz"),
        ("LINZ", "x|1"),
        ("|", "x|1"),
        ("to l", "x|1"),
        ("%", "ä%!"),
        ("_", ""),
        ("!", "ä%!"),
        ("Ä", "ä%!"),
        ("STRASSE", "ä%!"),
        ("stra\u00dfe", "ä%!"),
        ("b", "ab abc xyz"),
        ("nothing", ""),
        ("\ud800", ""),
    ],
)
def test_a_part_of_an_id_or_a_name_is_found_in_upper_and_lower_case(named: Storage, text: str, expected: str) -> None:
    named.append("ä%!", answered("r"))
    named.update("ä%!", name="Stra\u00dfe" if text != "STRASSE" else "Strasse")
    for storage in (named, type(named)(named.root)):
        assert sorted(info.session_id for info in storage.sessions_containing(text)) == expected.split()
        assert len(storage.sessions_containing(text, limit=1)) == (1 if expected else 0)


def test_only_text_names_a_session(storage: Storage) -> None:
    call: Any = storage
    with pytest.raises(TypeError, match="text must be text, not int: 5"):
        call.sessions_containing(5)
    with pytest.raises(ValueError, match="limit must be"):
        call.sessions_containing("x", limit=-1)
    with pytest.raises(TypeError, match="text must be text, not int: 5"):
        call.find_sessions(5)
    with pytest.raises(TypeError, match="text must be text, not int: 5"):
        call.sessions_beginning_with(5)
