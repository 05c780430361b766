"""`storage.export`: which sessions are exported, and what is left out. The formats are tested in `unit/exporting/`."""

import json
from typing import Any

import pytest

from localstore import Filter, SessionNotFound
from localstore.storage.export import FORMATS, NotExported
from tests.unit.raw import Storage, answered


@pytest.fixture
def talks(storage: Storage) -> Storage:
    for number in (1, 2, 3):
        run = answered(f"r{number}", f"question {number}", created_at=f"2026-01-0{number}T10:00:00.000Z")
        storage.append(f"s{number}", run, user_id="bob" if number == 2 else "alice")
    storage.rate("s1", "r1", "good")
    return storage


def ids(storage: Storage, *args: Any, **options: Any) -> list[str]:
    return [one["session_id"] for one in json.loads("".join(storage.export("json", *args, **options)))]


def test_the_sessions_that_are_chosen_are_exported_in_their_order(talks: Storage) -> None:
    assert ids(talks) == ["s3", "s2", "s1"]
    assert ids(talks, limit=2) == ["s3", "s2"]
    assert ids(talks, ["s1", "s3"]) == ["s1", "s3"]
    assert ids(talks, talks.list_sessions("bob")) == ["s2"]
    assert ids(talks, ["s1", "s2"], where=Filter(user="bob")) == ["s2"]
    assert ids(talks, where=Filter(rating="good")) == ["s1"]
    assert ids(talks, []) == []


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_can_be_exported_twice(talks: Storage, form: Any) -> None:
    export = talks.export(form, where=Filter(user="alice"))
    assert export.exported == 0
    text = "".join(export)
    assert "question 3" in text
    assert "question 2" not in text
    assert "".join(export) == text
    assert (export.exported, export.left_out) == (2, [])


def test_what_is_left_out_is_reported_at_once(talks: Storage) -> None:
    """A document that cannot be read, and a run that is no example."""
    path = talks.path("s2")
    path.write_bytes(path.read_bytes() + b"]")
    talks.append("s3", answered("r4", answer=""))
    reported: list[NotExported] = []
    export = talks.export("openai-jsonl", report=reported.append)
    assert reported == []
    assert len("".join(export).splitlines()) == 2
    assert export.left_out == reported
    assert {str(one.path) for one in reported if one.run_id is None} == {str(path)}
    assert [one.session_id for one in reported if one.run_id == "r4"] == ["s3"]


def test_secrets_are_replaced_on_request(talks: Storage) -> None:
    talks.append("s1", answered("r5", "I am alice@example.com"))
    assert "alice@example.com" in "".join(talks.export("markdown", ["s1"]))
    assert "alice@example.com" not in "".join(talks.export("markdown", ["s1"], redact=True))


def test_wrong_arguments_are_refused_before_anything_is_read(talks: Storage) -> None:
    for arguments, kind in (
        (("pdf",), ValueError),
        (("json", ["nobody"]), SessionNotFound),
        (("json", [""]), ValueError),
        (("json", [5]), TypeError),
    ):
        with pytest.raises(kind):
            talks.export(*arguments)
    with pytest.raises(ValueError, match="limit"):
        talks.export("json", limit=-1)
