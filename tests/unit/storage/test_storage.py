"""The storage: sessions are made, read and owned, whatever their ids look like."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localstore import (
    ContentPart,
    JsonStorage,
    KindMismatch,
    LockTimeout,
    Message,
    Metrics,
    OwnerMismatch,
    Run,
    Session,
    SessionNotFound,
    Step,
    ToolCall,
    UnstorableValue,
    Update,
    YamlStorage,
)
from localstore.disk import file_names
from localstore.format.values import to_json_value
from tests.unit.conftest import StorageClass
from tests.unit.raw import Storage, answered, edit, parse, question, run_ids

HOSTILE_IDS = [
    *("../x", "..", "/etc/passwd", "a/b", "a\\b", "C:\\x", "CON", "nul.txt", "a.", "a..", " a ", "a", "A", "aA", "AA"),
    *(
        "\0",
        "a\0b",
        "a\nb",
        "\u2028",
        "x" * 10_000,
        "é",
        "e\u0301",
        "😀",
        "日本語",
        "ß",
        "\ufeff",
        "~",
        "-",
        "'",
        '"',
        "{}",
    ),
    *(
        "null",
        "true",
        "no",
        "1",
        "1.0",
        "2026-11-22",
        "# a",
        "- a",
        "a: b",
        "...",
        "---",
        "[",
        "%TAG",
        "&a",
        "*a",
        "!a",
    ),
]


def test_what_was_stored_is_read_again(storage: Storage) -> None:
    run = Run(
        run_id="r1",
        input={"q": [1, None]},
        messages=[
            Message(role="user", content=[ContentPart(type="image", url="u"), ContentPart(type="text", text="what?")]),
            Message(role="assistant", tool_calls=[ToolCall(id="1", name="f", arguments={"x": None, "y": [1.5]})]),
            Message(role="tool", tool_call_id="1", name="f", content="line\n\ttabbed \nend\n\n"),
            Message(role="assistant", content="tr\u00fcb \u2028 \0 \x1b[31m 😀"),
        ],
        member_runs=[answered("member", agent_id="a", tool_call_id="1")],
        steps=[Step(name="s", input=None, output={"a": None})],
        instructions="Be kind.",
        session_state={"a": None, "b": {"no": "yes", "12:30": "0o7", "": []}},
        session_summary=["any", {"thing": 1}],
        session_data={"big": 2**64 - 1, "small": -(2**63), "float": 1e-7},
        model="m",
        metrics=Metrics(input_tokens=3, duration_seconds=0.25),
        status="completed",
    )
    storage.append("s1", run, user_id="alice", entity_id="geographer", kind="team")
    for opened in (storage, type(storage)(storage.root)):
        for last_runs in (None, 1, 5):
            session = opened.read("s1", last_runs=last_runs)
            assert session is not None
            assert session.runs == [run]
            assert to_json_value(session.runs[0]) == to_json_value(run)
            assert (session.kind, session.team_id, session.entity_id, session.user_id) == (
                *("team", "geographer", "geographer", "alice"),
            )
            assert session.session_state == run.session_state
            assert session.session_summary == run.session_summary
            assert session.session_data == run.session_data
            assert session.instructions == "Be kind."
            assert session.created_at == run.created_at
    document = parse(storage.path("s1"))
    document.pop("$schema", None)
    assert list(document) == [
        *("schema_version", "session_id", "kind", "team_id", "user_id", "created_at", "history"),
    ]
    assert document["history"] == [to_json_value(run)]


def test_a_missing_session_is_none_or_an_error(storage: Storage) -> None:
    assert storage.read("s1") is None
    assert storage.delete_session("s1") is False
    calls: list[Callable[[], object]] = [
        lambda: storage.append("s1", question("r1"), create=False),
        lambda: storage.update("s1", name="n"),
        lambda: storage.path("s1"),
    ]
    for call in calls:
        with pytest.raises(SessionNotFound) as caught:
            call()
        assert caught.value.session_id == "s1"
    assert list(storage.root.glob("sessions/*")) == []


@pytest.mark.parametrize("other", [JsonStorage, YamlStorage])
def test_the_storage_chooses_the_format_of_new_documents_only(storage: Storage, other: StorageClass) -> None:
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    assert path.suffix == (".json" if isinstance(storage, JsonStorage) else ".yaml")
    second = other(storage.root)
    second.append("s1", answered("r2"))
    second.update("s1", name="n")
    assert second.path("s1") == path
    assert run_ids(path) == ["r1", "r2"]
    second.append("s2", answered("r1"))
    assert second.path("s2").suffix == (".json" if other is JsonStorage else ".yaml")


def test_hostile_ids_are_ids_like_any_other(storage: Storage) -> None:
    for number, session_id in enumerate(HOSTILE_IDS):
        storage.append(session_id, answered(f"r{number}", session_id), user_id=session_id, entity_id=session_id)
    inside = {path.relative_to(storage.root).parts[0] for path in storage.root.rglob("*")}
    assert inside == {".gitignore", "localstore.json", "sessions", "schemas", ".localstore"}
    assert os.listdir(storage.root.parent) == [storage.root.name]
    for opened in (storage, type(storage)(storage.root)):
        assert sorted(opened.get_all_session_ids()) == sorted(HOSTILE_IDS)
        for number, session_id in enumerate(HOSTILE_IDS):
            session = opened.read(session_id, user_id=session_id, last_runs=1)
            assert session is not None
            assert (session.session_id, session.runs[0].question) == (session_id, session_id)
            assert parse(opened.path(session_id))["session_id"] == session_id
            assert run_ids(opened.path(session_id)) == [f"r{number}"]
            assert opened.get_all_session_ids(user_id=session_id, entity_id=session_id) == [session_id]
    files = [path.name for path in storage.root.glob("sessions/*/*")]
    assert len({name.casefold() for name in files}) == len(HOSTILE_IDS)
    for session_id in HOSTILE_IDS:
        assert storage.delete_session(session_id)
    assert list(storage.root.glob("sessions/*/*")) == []


@pytest.mark.parametrize(
    ("session_id", "error"),
    [("", ValueError), (None, TypeError), (5, TypeError), (b"s", TypeError), ("a\ud800", UnstorableValue)],
)
def test_what_is_no_id_is_refused_by_every_call(storage: Storage, session_id: Any, error: type[Exception]) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.append(session_id, question("r1")),
        lambda: storage.read(session_id),
        lambda: storage.update(session_id, name="n"),
        lambda: storage.path(session_id),
        lambda: storage.delete_session(session_id),
        lambda: storage.upsert(Session.model_construct(session_id=session_id)),
    ]
    for call in calls:
        with pytest.raises(error):
            call()
    assert storage.list_sessions() == []


@pytest.mark.parametrize("fresh", [True, False], ids=["another process", "the same process"])
def test_another_users_session_is_none_to_read_and_an_error_to_write(storage: Storage, fresh: bool) -> None:
    storage.append("s1", answered("r1"), user_id="alice")
    storage.append("s2", answered("r1"))
    before = storage.path("s1").read_bytes()
    opened = type(storage)(storage.root) if fresh else storage
    assert opened.read("s1", user_id="bob") is None
    assert opened.read("s2", user_id="bob") is None
    assert opened.read("s1", user_id="bob", last_runs=1) is None
    calls: list[Callable[[], object]] = [
        lambda: opened.append("s1", question("r2"), user_id="bob"),
        lambda: opened.update("s1", name="n", user_id="bob"),
        lambda: opened.delete_session("s1", user_id="bob"),
        lambda: opened.upsert(Session(session_id="s1", user_id="bob")),
    ]
    for call in calls:
        with pytest.raises(OwnerMismatch) as caught:
            call()
        assert (caught.value.session_id, caught.value.path) == ("s1", str(opened.path("s1")))
    assert storage.path("s1").read_bytes() == before
    assert storage.read("s1", user_id="alice") is not None
    storage.append("s1", question("r2"), user_id="alice")
    storage.append("s1", question("r3"))
    assert run_ids(storage.path("s1")) == ["r1", "r2", "r3"]


def test_an_owner_changed_by_hand_counts_at_once(storage: Storage) -> None:
    storage.append("s1", answered("r1"), user_id="alice")
    edit(storage.path("s1"), "alice", "bob")
    with pytest.raises(OwnerMismatch):
        storage.delete_session("s1", user_id="alice")
    assert storage.read("s1", user_id="alice") is None
    assert storage.read("s1", user_id="bob") is not None
    with pytest.raises(OwnerMismatch):
        storage.append("s1", question("r2"), user_id="alice")


def test_another_kind_is_an_error(storage: Storage) -> None:
    storage.append("s1", answered("r1"), kind="team", entity_id="t")
    calls: list[Callable[[], object]] = [
        lambda: storage.append("s1", question("r2"), kind="agent"),
        lambda: storage.upsert(Session(session_id="s1", kind="agent")),
    ]
    for call in calls:
        with pytest.raises(KindMismatch, match="of kind team, not agent"):
            call()
    storage.append("s1", question("r2"), kind="team")
    storage.append("s1", question("r3"))
    assert run_ids(storage.path("s1")) == ["r1", "r2", "r3"]
    with pytest.raises(ValueError, match="kind must be one of"):
        storage.append("s1", question("r4"), kind="robot")


def test_unknown_keys_are_kept_through_every_change(storage: Storage) -> None:
    run = Run.model_validate(
        {**to_json_value(answered("r1")), "colour": {"a": None}, "messages": [{"role": "user", "mood": 1}]}
    )
    session = Session.model_validate({"session_id": "s1", "flavour": ["mint", None], "history": [run]})
    session.history.append(Update.model_validate({"by": "hand", "session_state": {"n": 1}}))
    storage.upsert(session)
    storage.append("s1", Run.model_validate({**to_json_value(question("r2", status="unfinished")), "shape": "round"}))
    storage.append("s1", Run.model_validate({**to_json_value(answered("r2")), "shape": "round"}))
    storage.update("s1", name="n")
    again = storage.read("s1")
    assert again is not None
    again.tags = ["t"]
    storage.upsert(again)
    document = parse(storage.path("s1"))
    assert document["flavour"] == ["mint", None]
    assert document["tags"] == ["t"]
    first, update, second = document["history"]
    assert (first["colour"], first["messages"]) == ({"a": None}, [{"role": "user", "mood": 1}])
    assert update["by"] == "hand"
    assert (second["shape"], list(second)[-1]) == ("round", "status")
    assert again.model_extra == {"flavour": ["mint", None]}


def test_entries_of_a_type_that_we_do_not_know_are_kept(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    note = (
        '    {\n      "type": "note",\n      "x": null\n    },\n'
        if path.suffix == ".json"
        else "- type: note\n  x: null\n"
    )
    text = path.read_text()
    opening = '  "history": [\n' if path.suffix == ".json" else "history:\n"
    path.write_text(text.replace(opening, opening + note))
    storage.append("s1", answered("r2"))
    session = storage.read("s1")
    assert session is not None
    assert [entry.type for entry in session.history] == ["note", "run", "run"]
    session.name = "n"
    storage.upsert(session)
    assert parse(path)["history"][0] == {"type": "note", "x": None}
    assert storage.list_sessions()[0].runs == 2


def test_a_lock_that_is_held_too_long_is_named_and_nothing_is_written(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    before = storage.path("s1").read_bytes()
    impatient = type(storage)(storage.root, lock_timeout=0.01)
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with storage._engine.locks.session("s1", 5):
            inside.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(30)
    try:
        with pytest.raises(LockTimeout) as caught:
            impatient.append("s1", answered("r2"))
        with pytest.raises(LockTimeout):
            impatient.drop()
        number = file_names.stripe("s1", 64)
        assert caught.value.path == str(storage.root / ".localstore" / "locks" / f"{number:02d}.lock")
        session = impatient.read("s1")
        assert session is not None, "reading waits for nobody"
    finally:
        done.set()
        thread.join()
    assert storage.path("s1").read_bytes() == before


@pytest.mark.parametrize("arguments", [{"durability": "some"}, {"lock_timeout": -1}, {"lock_timeout": float("nan")}])
def test_odd_arguments_are_refused_before_a_store_is_made(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        JsonStorage(tmp_path / "store", **arguments)
    assert os.listdir(tmp_path) == []


def test_a_storage_is_opened_by_position_or_name_and_says_where_it_is(
    storage_class: StorageClass, tmp_path: Path
) -> None:
    first = storage_class(str(tmp_path / "store"))
    second = storage_class(dir_path=tmp_path / "store", lock_timeout=float("inf"), durability="relaxed")
    first.append("s1", answered("r1"))
    second.append("s1", answered("r2"))
    assert repr(second) == f"{storage_class.__name__}({str(tmp_path / 'store')!r})"
