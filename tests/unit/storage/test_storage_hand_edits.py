"""People edit documents in any editor: in place, by rename, in any layout, rightly and wrongly."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localstore import Conflict, DocumentBroken, Message, YamlStorage
from localstore.disk import file_end
from tests.stateful import by_hand
from tests.unit.raw import Storage, answered, edit, edit_by_rename, in_our_layout, parse, question, rescued, run_ids

Edit = Callable[[Path, str, str], None]


@pytest.fixture(params=[edit, edit_by_rename], ids=["in place", "by rename"])
def editor(request: pytest.FixtureRequest) -> Edit:
    chosen: Edit = request.param
    return chosen


@pytest.fixture(params=[True, False], ids=["the same process", "another process"])
def opened(request: pytest.FixtureRequest, storage: Storage) -> Storage:
    """A session of two runs, and the storage that sees it after the edit."""
    storage.append("s1", answered("r1", "first", "one", session_state={"a": 1}), user_id="alice")
    storage.append("s1", answered("r2", "second", "two"))
    other = type(storage)(storage.root)
    other.read("s1", last_runs=1)
    return storage if request.param else other


@pytest.mark.parametrize("word", ["uno", "a much longer answer than before", "1"])
def test_an_edit_is_read_and_kept(storage: Storage, opened: Storage, editor: Edit, word: str) -> None:
    path = storage.path("s1")
    quoted = json.dumps(word)
    editor(
        path,
        '"one"' if path.suffix == ".json" else "content: one",
        quoted if path.suffix == ".json" else f"content: {quoted}",
    )
    for last_runs in (2, None):
        session = opened.read("s1", last_runs=last_runs)
        assert session is not None
        assert [run.answer for run in session.runs] == [word, "two"]
    opened.append("s1", answered("r3"))
    assert run_ids(path) == ["r1", "r2", "r3"]
    assert parse(path)["history"][0]["messages"][1]["content"] == word
    assert in_our_layout(path)
    assert rescued(storage) == []


def test_an_edit_before_the_last_run_does_not_hide_in_a_read_of_the_tail(
    storage: Storage, opened: Storage, editor: Edit
) -> None:
    path = storage.path("s1")
    editor(path, '"a": 1' if path.suffix == ".json" else "a: 1", '"a": 2' if path.suffix == ".json" else "a: 2")
    session = opened.read("s1", last_runs=1)
    assert session is not None
    assert session.session_state == {"a": 2}


@pytest.mark.parametrize("what", ["append", "update", "rename", "upsert", "finish"])
def test_an_edit_that_breaks_the_document_stays_until_it_is_mended(
    storage: Storage, opened: Storage, editor: Edit, what: str
) -> None:
    path = storage.path("s1")
    session = opened.read("s1")
    assert session is not None
    session.history.append(answered("r3"))
    right, wrong = ('"first"', '"first') if path.suffix == ".json" else ("content: first", "content: 'first")
    editor(path, right, wrong)
    before = path.read_bytes()
    calls: dict[str, Callable[[], object]] = {
        "append": lambda: opened.append("s1", answered("r3")),
        "finish": lambda: opened.append("s1", question("r3", status="unfinished")),
        "update": lambda: opened.update("s1", session_state={"b": 2}),
        "rename": lambda: opened.update("s1", name="n"),
        "upsert": lambda: opened.upsert(session),
    }
    for call in (lambda: opened.read("s1"), lambda: opened.read("s1", last_runs=1), calls[what]):
        with pytest.raises(DocumentBroken, match="Fix the file") as caught:
            call()
        assert caught.value.path == str(path)
        assert caught.value.line is not None
        assert path.read_bytes() == before
    (info,) = opened.list_sessions()
    assert (info.session_id, info.user_id, info.runs) == ("s1", "alice", 2)
    assert info.problem is not None
    editor(path, wrong, right)
    calls[what]()
    after = opened.read("s1")
    assert after is not None
    assert [run.run_id for run in after.runs][:2] == ["r1", "r2"]
    assert len(after.runs) == (3 if what in ("append", "upsert", "finish") else 2)
    assert opened.list_sessions()[0].problem is None


def add_an_entry(path: Path) -> None:
    if path.suffix == ".json":
        entry = '    {\n      "type": "run", "run_id": "typed",\n      "created_at": "2026-11-22T07:01:20.123Z"\n    }'
        edit(path, "\n    }\n  ]\n}\n", f"\n    }},\n{entry}\n  ]\n}}\n")
    else:
        entry = '- type: run\n  run_id: typed\n  created_at: "2026-11-22T07:01:20.123Z"\n'
        edit(path, "\n...\n", f"\n{entry}...\n")


def test_an_entry_typed_by_hand_is_an_entry(storage: Storage, opened: Storage) -> None:
    path = storage.path("s1")
    add_an_entry(path)
    opened.append("s1", answered("r3"))
    assert run_ids(path) == ["r1", "r2", "typed", "r3"]
    with pytest.raises(Conflict):
        opened.append("s1", answered("typed"))
    assert run_ids(path) == ["r1", "r2", "typed", "r3"]


def test_what_a_person_typed_at_the_end_is_never_taken_for_a_torn_write(storage: Storage, opened: Storage) -> None:
    """An entry with a mistake, typed behind the last one, was moved to the rescue folder without a word."""
    path = storage.path("s1")
    whole = path.read_text()
    if path.suffix == ".json":
        typed = [
            whole.replace(
                "\n    }\n  ]\n}\n", '\n    },\n    {\n      "type": "note",\n      "text": "mine",\n    }\n  ]\n}\n'
            ),
            whole + "my remark\n",
        ]
    else:
        typed = [whole.replace("\n...\n", "\n- type: note\n  text: [mine\n...\n"), whole + "my remark\n"]
    for text in typed:
        path.write_text(text)
        with pytest.raises(DocumentBroken):
            opened.read("s1")
        with pytest.raises(DocumentBroken):
            opened.append("s1", answered("r9"))
        assert path.read_text() == text
        assert {record["reason"] for record in rescued(storage)} <= {"its document could not be written"}


def test_a_run_typed_in_the_place_of_the_end_marker_stays(tmp_path: Path) -> None:
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    edit(
        path,
        "\n...\n",
        '\n- type: run\n  run_id: typed\n  created_at: "2026-11-22T07:01:20.123Z"\n  status: completed\n',
    )
    session = storage.read("s1")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1", "typed"]
    storage.append("s1", answered("r2"))
    assert run_ids(path) == ["r1", "typed", "r2"]
    assert rescued(storage) == []


LAYOUTS = sorted(by_hand.layouts(".json").keys() & by_hand.layouts(".yaml").keys())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("what", ["append", "finish", "update", "rename", "upsert"])
def test_a_document_in_another_layout_is_read_and_rewritten_at_the_next_write(
    storage: Storage, opened: Storage, layout: str, what: str
) -> None:
    storage.append("s1", question("r3", "third", status="unfinished"))
    path = storage.path("s1")
    expected = parse(path)
    foreign = by_hand.layouts(path.suffix)[layout](path.read_bytes())
    path.write_bytes(foreign)
    for last_runs in (None, 1):
        session = opened.read("s1", last_runs=last_runs)
        assert session is not None
        assert session.session_state == {"a": 1}
        assert session.runs[-1].question == "third"
    assert path.read_bytes() == foreign
    assert opened.list_sessions()[0].runs == 3
    match what:
        case "append":
            opened.append("s1", answered("r4"))
        case "finish":
            opened.append("s1", answered("r3", "third"))
        case "update":
            opened.update("s1", session_data={"d": 1})
        case "rename":
            opened.update("s1", name="n")
        case _:
            session = opened.read("s1", last_runs=1)
            assert session is not None
            session.runs[0].messages.append(Message(role="assistant", content="yes"))
            opened.upsert(session)
    assert in_our_layout(path)
    document = parse(path)
    assert document["history"][:2] == expected["history"][:2]
    assert {key: document[key] for key in ("session_id", "kind", "user_id", "created_at")} == {
        key: expected[key] for key in ("session_id", "kind", "user_id", "created_at")
    }
    assert run_ids(path) == ["r1", "r2", "r3", *(["r4"] if what == "append" else [])]
    opened.append("s1", answered("last"))
    assert run_ids(path)[-1] == "last"
    assert rescued(storage) == []


def test_comments_in_yaml_survive_appends(tmp_path: Path) -> None:
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    edit(path, "history:\n", "# above the history\nhistory:\n# above the first run\n")
    edit(path, "run_id: r1\n", "run_id: r1  # behind a value\n  # in the run\n")
    edit(path, "\n...\n", "\n# below the last run\n...\n")
    comments = re.findall("# [a-z ]+", path.read_text())[1:]
    for number in range(2, 5):
        storage.append("s1", question(f"r{number}", status="unfinished"))
        storage.append("s1", answered(f"r{number}"))
        storage.update("s1", session_state={"n": number})
    assert run_ids(path) == ["r1", "r2", "r3", "r4"]
    assert re.findall("# [a-z ]+", path.read_text())[1:] == comments
    storage.update("s1", name="n")
    assert sorted(re.findall("# [a-z ]+", path.read_text())[1:]) == sorted(comments)
    assert rescued(storage) == []


def test_a_rewrite_that_would_lose_comments_keeps_a_copy(tmp_path: Path) -> None:
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    edit(path, "run_id: r1\n", "run_id: r1  # precious\n")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = path.read_bytes()
    storage.append("s1", answered("r2"))
    assert run_ids(path) == ["r1", "r2"]
    (record,) = rescued(storage)
    assert record["text"].encode() == before
    assert "comments" in record["reason"]


def test_a_session_without_a_manifest_line_is_found_by_the_name_of_its_file(storage: Storage) -> None:
    path = storage.root / "sessions" / "2020-01" / "typed.json"
    path.parent.mkdir()
    document = {"schema_version": 1, "session_id": "typed", "kind": "agent", "created_at": "2020-01-01", "history": []}
    path.write_text(json.dumps(document))
    storage.append("typed", answered("r1"))
    assert storage.path("typed") == path
    assert run_ids(path) == ["r1"]


def test_an_editor_may_leave_its_files_beside_the_document(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    for name in (f".{path.name}.swp", f"{path.name}~", f"#{path.name}#", f".#{path.name}", "4913", f"{path.name}.bak"):
        (path.parent / name).write_bytes(path.read_bytes())
    opened = type(storage)(storage.root)
    assert opened.get_all_session_ids() == ["s1"]
    opened.append("s1", answered("r2"))
    assert run_ids(path) == ["r1", "r2"]


def test_a_run_is_not_lost_with_a_file_that_an_editor_replaces_during_the_write(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was acknowledged, and stood in a file that no longer had a name."""
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    raw, extend = path.read_bytes(), file_end.extend
    replaced: list[Path] = []

    def extend_and_replace(*arguments: Any) -> None:
        extend(*arguments)
        if not replaced:
            replaced.append(path)
            path.with_name("new").write_bytes(raw.replace(b"good day", b"good bye"))
            path.with_name("new").replace(path)

    monkeypatch.setattr(file_end, "extend", extend_and_replace)
    storage.append("s1", answered("r2"))
    assert replaced
    assert run_ids(path) == ["r1", "r2"]
    assert b"good bye" in path.read_bytes()


PI = "3.14159265358979323846"


def rename(storage: Storage) -> None:
    storage.update("s1", name="n")


def rate(storage: Storage) -> None:
    storage.rate("s1", "r1", "good")


@pytest.mark.parametrize(("where", "change"), [("metadata", rename), ("content", rate)])
def test_digits_that_a_person_typed_are_not_rounded_by_a_rewrite(
    storage: Storage, where: str, change: Callable[[Storage], None]
) -> None:
    """A rewrite of the header or of an entry rounded a decimal without a word: the last digits were lost."""
    storage.append("s1", answered("r1", session_state={"content": 5.125}))
    storage.update("s1", metadata={"metadata": 6.125})
    path = storage.path("s1")
    edit(path, "5.125" if where == "content" else "6.125", PI)
    raw = path.read_bytes()
    with pytest.raises(DocumentBroken, match=rf"{PI} .* rounded") as caught:
        change(storage)
    assert caught.value.line == next(at for at, line in enumerate(raw.splitlines(), 1) if PI.encode() in line)
    assert path.read_bytes() == raw
    storage.append("s1", answered("r2"))
    assert PI.encode() in path.read_bytes()


def test_a_decimal_in_another_notation_is_rewritten(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    storage.update("s1", metadata={"price": 6.125, "large": 7.125})
    path = storage.path("s1")
    edit(path, "6.125", "1.10")
    edit(path, "7.125", "1.0e+3")
    storage.update("s1", name="n")
    assert parse(path)["metadata"] == {"price": 1.1, "large": 1000.0}
