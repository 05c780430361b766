"""Words as a search compares them."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore.format.words import composed, spaced, words
from tests.effort import rounds

ASCII_PUNCTUATION = re.compile(r"[\0-/:-@\[-`{-\x7f]+")
LOWER = {char: char.lower() for char in map(chr, range(128))}


def split_by_sqlite(text: str) -> list[str]:
    """The words that SQLite's tokenizer `ascii` finds: all but ASCII punctuation, with ASCII letters in lower case."""
    pieces = ASCII_PUNCTUATION.split(text)
    return ["".join(LOWER.get(char, char) for char in piece) for piece in pieces if piece]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't panic_now", ["don", "t", "panic", "now"]),
        ("Café CAFÉ cafe\u0301", ["cafe", "cafe", "cafe"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("東京タワー2階", ["東", "京", "タ", "ワ", "ー", "2", "階"]),
        ("서울에서", ["서", "울", "에", "서"]),
        ("ＡＢＣ ﬁn ΣΊΣΥΦΟΣ", ["abc", "fin", "σισυφοσ"]),
        ("\U0001f600 … \ue000 ½", []),
        ("", []),
    ],
)
def test_case_accents_and_variants_make_no_difference(text: str, expected: list[str]) -> None:
    found = words(composed(text)).forms
    assert [word for word in found if word != "12"] == expected  # ½ is 1 and 2


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("aZ9 -東\u0301ßé")))
def test_sqlite_finds_the_same_words_as_the_search(text: str) -> None:
    """The index and the places of a hit must agree: otherwise a hit would be dropped, or shown without its words."""
    assert split_by_sqlite(spaced(text)) == words(composed(text)).forms


def test_every_character_is_split_in_the_same_way() -> None:
    chars = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    for char in chars[:: rounds(31, 4, 1)]:
        text = f"a{char}b {char}"
        assert split_by_sqlite(spaced(text)) == words(composed(text)).forms, hex(ord(char))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_places_are_those_of_the_words(text: str) -> None:
    text = composed(text)
    end = 0
    found = words(text)
    for number, form in enumerate(found.forms):
        ((start, stop),) = found.places([number])
        assert end <= start < stop <= len(text)
        assert words(text[start:stop]).forms == [form]
        end = stop


def test_a_long_word_costs_no_more_than_its_length() -> None:
    """A word of a million letters before an accent took a step for each pair of its letters."""
    assert spaced("a" * 1_000_000 + "ä").split() == ["a" * 1_000_001]
