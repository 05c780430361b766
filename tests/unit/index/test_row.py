"""A line of the manifest: what it says of a document, and when it is believed."""

import os
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage
from localstore.disk.boot import boot_hash, boot_id
from localstore.disk.document_file import fingerprint
from localstore.format.document import parse_document
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.yaml_layout import LAYOUT as YAML
from localstore.index.row import IndexRow, after_append, after_finish, is_row, is_trusted, matches_file, row_of
from tests.unit.raw import answered

TIME = "2026-11-22T07:01:2{}.123Z"
HEADER = {"schema_version": 1, "session_id": "s1", "kind": "team", "created_at": TIME.format(0)}
PATH = "sessions/2026-11/s1.json"
ENTRIES: list[dict[str, Any]] = [
    {"type": "run", "run_id": "r1", "created_at": TIME.format(1), "session_state": {"a": 1}, "instructions": "i"},
    {"type": "note"},
    {"type": "update", "created_at": TIME.format(2), "session_state": {}},
    {"type": "run", "run_id": "r2", "created_at": TIME.format(3), "status": "unfinished"},
]


@pytest.fixture
def status(tmp_path: Path) -> os.stat_result:
    (tmp_path / "file").write_bytes(b"12345")
    return os.lstat(tmp_path / "file")


def made(status: os.stat_result, header: dict[str, Any] = HEADER, boot: str | None = None) -> IndexRow:
    raw = JSON.assemble(JSON.head(header), [JSON.entry(entry) for entry in ENTRIES])
    return row_of(parse_document(raw, JSON, "file"), PATH, status, boot)


def test_a_row_says_what_listing_and_writing_need(status: os.stat_result) -> None:
    header = {**HEADER, "team_id": "t", "agent_id": "a", "user_id": "u", "name": "n", "tags": ["x"], "metadata": {}}
    raw = JSON.assemble(JSON.head(header), [JSON.entry(entry) for entry in ENTRIES])
    starts = parse_document(raw, JSON, "file").starts
    assert made(status, header) == {
        "boot_hash": boot_hash(),
        "session_id": "s1",
        "path": PATH,
        "kind": "team",
        "entity_id": "t",
        "user_id": "u",
        "name": "n",
        "tags": ["x"],
        "created_at": TIME.format(0),
        "updated_at": TIME.format(3),
        "version": 1,
        "entries": 4,
        "runs": 2,
        "fingerprint": [5, status.st_mtime_ns, status.st_ctime_ns, status.st_ino],
        "offsets": {"instructions": starts[0], "session_state": starts[2]},
        "unfinished": True,
        "unfinished_offsets": {"r2": starts[3]},
        "overview": {"status": "unfinished", "usage": {"2026-11": {"": [2, 0, 0, 0, 0, 0]}}},
    }


def test_what_has_no_value_is_absent(status: os.stat_result) -> None:
    assert not {"entity_id", "user_id", "name", "tags", "boot", "other_layout"} & made(status).keys()
    nulls = {**HEADER, "user_id": None, "name": None, "tags": []}
    assert not {"entity_id", "user_id", "name", "tags"} & made(status, nulls).keys()


def test_counting_entries_one_by_one_is_counting_them_all(status: os.stat_result) -> None:
    raw = YAML.assemble(YAML.head(HEADER), [YAML.entry(entry) for entry in ENTRIES])
    parsed = parse_document(raw, YAML, "file")
    whole = row_of(parsed, PATH, status, None)
    empty = row_of(parse_document(YAML.assemble(YAML.head(HEADER), []), YAML, "file"), PATH, status, None)
    for entry, offset in zip(ENTRIES, parsed.starts, strict=True):
        empty = after_append(empty, entry, offset)
    assert empty == whole


def test_finishing_a_run_counts_nothing_twice(status: os.stat_result) -> None:
    row = made(status)
    before = row.copy()
    row = after_finish(row, {**ENTRIES[3], "status": "completed", "session_state": {"b": 1}}, 999)
    assert "unfinished" not in row
    assert (row["entries"], row["runs"]) == (4, 2)
    assert row["offsets"]["session_state"] == 999
    assert before["offsets"]["session_state"] != 999, "a row is never changed for those who hold the older one"


def test_a_document_is_trusted_only_as_one_of_us_left_it(status: os.stat_result, tmp_path: Path) -> None:
    row = made(status)
    assert is_trusted(row, status)
    assert is_trusted({**row, "boot": boot_id()}, status)
    assert not is_trusted({**row, "boot": "another boot"}, status)
    assert not is_trusted({**row, "other_layout": True}, status)
    assert not is_trusted({**row, "rewrite": True}, status)
    assert not is_trusted({**row, "version": 2}, status)
    for place in range(4):
        prints = fingerprint(status)
        prints[place] += 1
        assert not is_trusted({**row, "fingerprint": prints}, status)


def test_every_way_to_change_a_file_changes_its_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    seen = [fingerprint(os.lstat(path))]
    path.write_bytes(b"54321")
    os.utime(path, ns=(0, seen[0][1]))  # the same size, and the old time put back
    seen.append(fingerprint(os.lstat(path)))
    (tmp_path / "new").write_bytes(b"12345")
    os.replace(tmp_path / "new", path)
    seen.append(fingerprint(os.lstat(path)))
    assert len({tuple(prints) for prints in seen}) == 3


def test_where_the_system_names_no_boot_nobody_else_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localstore.disk.boot.sys.platform", "other")
    boot_id.cache_clear()
    first = boot_id()
    boot_id.cache_clear()
    assert first.startswith("process-")
    assert boot_id() != first
    boot_id.cache_clear()


GOOD: dict[str, Any] = {
    "session_id": "s1",
    "path": PATH,
    "kind": "agent",
    "created_at": "t",
    "updated_at": "t",
    "version": 1,
    "entries": 1,
    "runs": 1,
    "fingerprint": [1, 2, 3, 4],
}


def test_a_line_that_can_be_used() -> None:
    assert is_row(GOOD)
    assert is_row({**GOOD, "from a later release": [1]})
    assert is_row({**GOOD, "path": "sessions/my folder/trip to Vienna.yaml"})


@pytest.mark.parametrize(
    "line",
    [
        None,
        [],
        {},
        {**GOOD, "session_id": 5},
        {**GOOD, "entries": "1"},
        {**GOOD, "runs": True},
        {**GOOD, "fingerprint": []},
        {**GOOD, "fingerprint": [1, 2, 3, 4.5]},
        {**GOOD, "user_id": 7},
        {**GOOD, "boot": 7},
        {**GOOD, "tags": "x"},
        {**GOOD, "created_at": "2026-11-25T23:30:00+14:00"},  # sorted as text, it would be in the wrong place
        {**GOOD, "updated_at": "2026-11-25T23:30:00+14:00"},
        {**GOOD, "offsets": {"session_state": "7"}},
        {**GOOD, "offsets": [1]},
        *(
            {**GOOD, "path": path}
            for path in (
                *("../s1.json", "/etc/passwd", "sessions/../s1.json", "sessions/../../x/s1.json", "s1.json"),
                *("sessions/s1.json", "sessions/a/b/s1.json", "sessions/./s1.json", "sessions/a/../../s1.json"),
                *("sessions/a/.hidden.json", "sessions/.a/s1.json", "sessions/a/s1.txt", "sessions/a\\b/s1.json"),
                *("sessions/a/s1.json\n", "sessions/a/\0.json", "x/sessions/a/s1.json", "sessions//s1.json", ""),
            )
        ),
    ],
    ids=str,
)
def test_a_line_that_cannot_be_used_is_not_believed(line: Any) -> None:
    assert not is_row(line)


def test_a_row_of_unsynced_writes_does_not_describe_the_file_after_a_restart(tmp_path: Path) -> None:
    """`ls` counted runs that a power cut had taken: the file had the times and the size of the lost write."""
    storage = JsonStorage(tmp_path / "store", durability="relaxed")
    storage.append("s1", answered("r1"))
    storage.append("s1", answered("r2"))
    row = storage._engine.index.find("s1")
    assert row is not None
    status = storage.path("s1").stat()
    assert matches_file(row, status)
    assert not matches_file({**row, "boot": "another boot"}, status)
