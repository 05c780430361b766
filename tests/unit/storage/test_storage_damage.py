"""What looks like the work of a crash and is a person's, and what else a damaged document must not lead to."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from localstore import DocumentBroken, JsonStorage, LocalstoreError, YamlStorage
from localstore.format.values import to_json_value
from tests.crashes import restart_machine
from tests.unit.raw import Storage, answered, parse, question, rescued, run_ids

HEADER = """schema_version: 1
session_id: s1
kind: agent
created_at: "2026-11-22T07:01:20.123Z"
history:
- type: run
  run_id: r1
  created_at: "2026-11-22T07:01:20.123Z"
"""


def type_over(path: Path, raw: bytes) -> None:
    time.sleep(0.012)  # the time of a file moves in steps
    path.write_bytes(raw)


def typed(storage: Storage, name: str, text: str) -> Path:
    """A document that a person wrote, of which the manifest knows nothing."""
    folder = storage.root / "sessions" / "2026-11"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def assert_refused(storage: Storage, path: Path) -> None:
    """Neither read nor written, and nothing of it moved."""
    raw = path.read_bytes()
    calls: list[Callable[[], object]] = [
        lambda: storage.read("s1"),
        lambda: storage.read("s1", last_runs=1),
        lambda: storage.append("s1", answered("new")),
    ]
    for call in calls:
        with pytest.raises(DocumentBroken):
            call()
    assert path.read_bytes() == raw
    assert {record["reason"] for record in rescued(storage)} == {"its document could not be written"}


@pytest.mark.parametrize(
    "rest",
    [
        "  messages:\n    - 5\n",
        "  status: 1\n",
        "  messages:\n    - role: user\n      content: hi\n  status: completed\n- 5\n",
        "  status: completed\n- type: run\n  status: completed\n",
    ],
)
def test_a_typed_document_with_a_mistake_in_its_last_entry_is_refused(tmp_path: Path, rest: str) -> None:
    """Without the end marker, which no person types, it was taken for a torn one: its runs were not shown, and the next
    append moved them to the rescue folder."""
    storage = YamlStorage(tmp_path / "store")
    assert_refused(storage, typed(storage, "s1.yaml", HEADER + rest))


@pytest.mark.parametrize("history", ['["text"]', "[5, 6]", '{"a": 1}', '[{"type": 1}]'])
def test_json_that_parses_is_not_torn(tmp_path: Path, history: str) -> None:
    """A history of something else than entries was read as an empty one."""
    storage = JsonStorage(tmp_path / "store")
    storage.append("s2", answered("r1"))
    head = storage.path("s2").read_text().replace("s2", "s1").partition('"history"')[0]
    lines = history.replace("[", "[\n    ").replace("{", "{\n", 1)
    assert_refused(
        storage, typed(storage, "s1.json", f'{head}"history": {lines}\n  ]\n}}\n'.replace("]\n  ]", "\n  ]"))
    )


def test_damage_in_the_middle_of_an_unknown_document_is_refused(storage_class: type[Storage], tmp_path: Path) -> None:
    """All entries from the first damaged one on were left out."""
    storage = storage_class(tmp_path / "store")
    for number in range(4):
        storage.append("s1", answered(f"r{number}"))
    path = storage.path("s1")
    raw = path.read_bytes()
    (storage.root / ".localstore/manifest.jsonl").unlink()
    for damaged in (raw.replace(b"r1", b'"[', 1), raw.replace(b"r1", b'"[', 1)[:-1], raw.replace(b"r3", b'"[', 1)[:-1]):
        type_over(path, damaged)
        assert_refused(storage_class(storage.root), path)


def test_a_run_that_says_how_it_ended_is_whole_whatever_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero bytes in the place of the end marker took the run before it along."""
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    (storage.root / ".localstore/manifest.jsonl").unlink()
    path.write_bytes(path.read_bytes().removesuffix(b"\n") + b"\0\0\0")
    restart_machine(storage.root, monkeypatch)
    again = YamlStorage(storage.root)
    session = again.read("s1")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1"]
    again.append("s1", answered("r2"))
    assert run_ids(path) == ["r1", "r2"]


@pytest.mark.parametrize("status", ["1", "[a]", "un\x85finished", "&a unfinished", "{a: b}"])
def test_the_status_of_an_unfinished_run_that_a_person_changed_stays(tmp_path: Path, status: str) -> None:
    """Behind an unfinished run, whatever was odd was a torn write: the typed status went to the rescue folder."""
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", question("r1", status="unfinished"))
    path = storage.path("s1")
    type_over(path, path.read_bytes().replace(b"status: unfinished", f"status: {status}".encode()))
    assert_refused(storage, path)


def test_a_question_that_a_person_changed_is_never_cut(tmp_path: Path) -> None:
    """The cut fell where the manifest knew the end of the question, in the middle of what was typed."""
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", question("r1", "?", status="unfinished"))
    path = storage.path("s1")
    raw = path.read_bytes()
    type_over(path, raw.replace(b'"?"', b'"a" "b"').replace(b'"unfinished"', b'"unfinished", "x": 1'))
    assert_refused(storage, path)


def test_a_damaged_document_with_another_id_is_no_torn_one(storage: Storage) -> None:
    """The listing showed the session as it was, and reading it said that there was none."""
    storage.append("s1", question("r1", status="unfinished"))
    path = storage.path("s1")
    type_over(path, path.read_bytes().replace(b"s1", b"s2", 1)[:-3])
    assert [info.session_id for info in storage.list_sessions()] == ["s2"]
    assert storage.read("s1") is None


def test_what_a_person_makes_of_an_empty_history_stays(tmp_path: Path) -> None:
    """A document without entries is never extended, so that nothing in it can be torn."""
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    session = storage.read("s1")
    assert session is not None
    session.history.clear()
    storage.upsert(session)
    path = storage.path("s1")
    type_over(path, path.read_bytes().replace(b"history: []\n...\n", b"history:\n  a:\n"))
    assert_refused(storage, path)


@pytest.mark.parametrize("marker", ["...\n", "---\n", "...\n\n"])
def test_nothing_is_added_behind_the_end_of_a_yaml_document(tmp_path: Path, marker: str) -> None:
    """A second end marker passed for the end of the last entry; what was appended was another document then."""
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    type_over(path, path.read_bytes().replace(b"\n...\n", f"\n{marker}...\n".encode()))
    try:
        storage.append("s1", answered("r2"))
    except LocalstoreError:
        assert marker == "---\n"
        return
    assert len(list(yaml.safe_load_all(path.read_text()))) == 1
    assert run_ids(path) == ["r1", "r2"]


def test_a_list_in_the_header_is_no_history(tmp_path: Path) -> None:
    """In a document without entries, lines of the header that begin like an entry were looked through for run ids: a
    run of that id was never written, and others ended in an error of the parser."""
    for line in ('name: "a\n- b"', "mine:\n- type: run\n  run_id: r1\n  status: completed"):
        storage = YamlStorage(tmp_path / f"{len(line)}")
        path = typed(storage, "s1.yaml", HEADER.partition("history:")[0] + f"{line}\nhistory: []\n...\n")
        storage.read("s1")
        storage.append("s1", answered("r1"))
        assert run_ids(path) == ["r1"] or line.startswith("name")
        session = YamlStorage(storage.root).read("s1")
        assert session is not None
        assert [run.run_id for run in session.runs] == ["r1"]


def test_an_entry_of_another_type_may_hold_anything(storage: Storage) -> None:
    """`status` and `messages` had to be those of a run."""
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    if path.suffix == ".json":
        entry = b',\n    {\n      "type": "note", "status": 1, "messages": {}\n    }\n  ]\n}\n'
        type_over(path, path.read_bytes().removesuffix(b"\n  ]\n}\n") + entry)
    else:
        type_over(path, path.read_bytes().removesuffix(b"...\n") + b"- type: note\n  status: 1\n  messages: {}\n...\n")
    session = storage.read("s1")
    assert session is not None
    assert session.history[1].model_extra == {"status": 1, "messages": {}}
    storage.append("s1", answered("r2"))
    assert run_ids(path) == ["r1", "r2"]


def test_null_is_absent(tmp_path: Path) -> None:
    """In fields that always have a value in the model, null made a document unreadable."""
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    text = path.read_text()
    text = text.replace('"completed"', "null").replace('"kind"', '"tags": null, "metadata": null, "name": null, "kind"')
    call = '"messages": [{"role": "assistant", "content": null, "tool_calls": [{"name": "f", "arguments": null}]}],'
    whole = text.replace(
        '"run_id": "r1",',
        f'"run_id": "r0", "created_at": "", {call} "status": null}}, {{\n"type": "run", "run_id": "r1",',
    )
    type_over(path, whole.encode())
    session = storage.read("s1")
    assert session is not None
    assert (session.tags, session.metadata, session.runs[1].status) == ([], {}, "completed")
    tool_calls = session.runs[0].messages[0].tool_calls
    assert tool_calls is not None
    assert tool_calls[0].arguments == {}
    type_over(path, whole.replace('"messages": [\n', '"messages": null, "other": [\n').encode())
    session = storage.read("s1")
    assert session is not None
    assert session.runs[1].messages == []
    storage.append("s1", answered("r2"))
    assert parse(path)["history"][1]["messages"] is None


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_at_the_edge_of_the_calendar_is_kept(tmp_path: Path, moment: str) -> None:
    """Such a time has no equivalent in UTC: reading the session raised an OverflowError."""
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    document = parse(path)
    type_over(path, path.read_bytes().replace(document["history"][0]["created_at"].encode(), moment.encode()))
    session = storage.read("s1")
    assert session is not None
    assert session.runs[0].created_at is None
    assert to_json_value(session.runs[0])["created_at"] == moment
