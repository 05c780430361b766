"""Texts of any length and with any characters have a key that databases can index."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore.databases.sql_tables import key, start_of_key

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.text("aä\0\x01", min_size=90, max_size=420)


@given(TEXTS, TEXTS)
def test_keys_are_short_without_nul_and_different_for_different_texts(one: str, other: str) -> None:
    assert "\0" not in key(one)
    assert len(key(one)) <= 512
    assert (key(one) == key(other)) == (one == other)


@given(TEXTS, TEXTS)
def test_a_key_begins_with_the_start_of_every_beginning_of_its_text(start: str, rest: str) -> None:
    assert key(start + rest).startswith(start_of_key(start))


@pytest.mark.parametrize("text", ["", "s1", "ünï", "x" * 400])
def test_an_ordinary_text_is_its_own_key(text: str) -> None:
    assert key(text) == text
