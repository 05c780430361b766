"""The statements for the sessions of an SQL database."""

import orjson
import pytest

from localstore.databases import sql_session


def test_the_json_arrays_of_rows_are_split_before_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_session, "_LARGEST_ARRAY", 60)
    rows = [{"content": "x" * size} for size in (1, 10, 20, 100, 5)]
    arrays = [orjson.loads(array) for array in sql_session._json_arrays(rows)]
    assert [len(array) for array in arrays] == [2, 1, 1, 1]
    assert [row for array in arrays for row in array] == rows
    assert [*sql_session._json_arrays([])] == []
