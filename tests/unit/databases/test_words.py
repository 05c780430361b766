"""The words of an entry that a database indexes."""

from localstore.databases.backend import StoredEntry
from localstore.databases.words import ANYTHING, longest_word, words_of


def entry(text: str) -> StoredEntry:
    return StoredEntry.of(0, {"type": "run", "run_id": "r1", "messages": [{"role": "user", "content": text}]})


def test_each_word_is_there_once_and_is_cut_off() -> None:
    assert words_of(entry("Which train? The TRAIN to Linz"), 4) == ["linz", "the", "to", "trai", "whic"]


def test_an_entry_with_too_many_words_is_found_by_any_word() -> None:
    assert words_of(entry(" ".join(f"word{number}" for number in range(60_000))), 100) == [ANYTHING]


def test_the_longest_ascii_word_stands_for_a_literal_text() -> None:
    assert longest_word("at 7:58, Österreich!") == "sterreich"
    assert longest_word("¡…!") == ""
