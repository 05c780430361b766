"""Texts of any length have a key that databases can index, and each index has the rows with a value."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore import Run
from localstore.databases.sql import SqliteStorage
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


def test_rows_without_a_value_are_in_no_index_of_it_and_the_others_are_found_by_it(tmp_path: Path) -> None:
    with SqliteStorage(db_file=tmp_path / "sessions.db") as storage:
        storage.append("s1", Run(run_id="r1"))
    connection = sqlite3.connect(tmp_path / "sessions.db")
    for index, query in {
        "agent_sessions_by_name": "agent_sessions WHERE name = 'x'",
        "agent_sessions_of_entity": "agent_sessions WHERE entity_id = 'x' ORDER BY active_at DESC",
        "agent_sessions_run": "agent_sessions_entries WHERE session_id = 's1' AND run_id = 'r1'",
    }.items():
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM {query}").fetchall()  # noqa: S608
        assert [f"INDEX {index} (" in step[3] for step in plan] == [True]
    connection.close()
