"""The writer: what each change costs, in which order it reaches the disk, and what a failure leaves behind."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import DocumentBroken, JsonStorage, Message, Update, YamlStorage
from localstore.format.document import LAYOUTS
from localstore.format.values import to_json_value
from tests.crashes import lock_file
from tests.unit.conftest import StorageClass
from tests.unit.raw import Storage, answered, edit, in_our_layout, manifest_lines, parse, question, rescued, run_ids
from tests.unit.watched_disk import Call, WatchedDisk, nothing


@pytest.fixture
def watched(storage: Storage, disk: WatchedDisk) -> Storage:
    """A storage with a session of two runs, on a disk that is watched from here on."""
    storage.append("s1", answered("r1"))
    storage.append("s1", answered("r2"))
    disk.forget()
    return storage


def test_an_append_costs_the_entry(watched: Storage, disk: WatchedDisk) -> None:
    path = watched.path("s1")
    old = path.read_bytes()
    layout = LAYOUTS[path.suffix]
    run = answered("r3", "x" * 1000)
    disk.forget()
    watched.append("s1", run)
    new = path.read_bytes()
    assert new == old.removesuffix(layout.end) + layout.separator + layout.entry(to_json_value(run)) + layout.end
    assert disk.size("write", path.name) == len(new) - len(old) + len(layout.end)
    assert disk.size("read", path.name) <= len(layout.end)
    assert not disk.of("replace")


def test_an_append_costs_the_same_in_a_long_session(storage: Storage, disk: WatchedDisk) -> None:
    costs = []
    for length in (1, 2000):
        storage.drop()
        session = type(storage)(storage.root)
        session.append("s1", answered("first"))
        path = session.path("s1")
        layout = LAYOUTS[path.suffix]
        raw = path.read_bytes()
        entry = layout.entry(to_json_value(answered("other")))
        path.write_bytes(raw.removesuffix(layout.end) + (layout.separator + entry) * length + layout.end)
        session.append("s1", answered("settle"))  # reads it once, because somebody else wrote
        disk.forget()
        type(storage)(storage.root).append("s1", answered("last"))
        costs.append((disk.size("write", path.name), disk.size("read", path.name)))
    assert costs[0][0] == costs[1][0]
    assert costs[1][1] <= 100_000, "the last 64 entries are enough to know a repeated run"
    assert path.stat().st_size > 300_000


def test_an_append_within_one_page_is_one_write_that_is_synced_then_recorded(
    watched: Storage, disk: WatchedDisk
) -> None:
    """A process that was killed between two writes left a file that `jq`, git and editors could not parse."""
    path = watched.path("s1")
    size, end = path.stat().st_size, len(LAYOUTS[path.suffix].end)
    disk.forget()
    watched.append("s1", answered("r3"))
    done = disk.of("write", "sync", "truncate", "replace")
    assert [(call.operation, call.name) for call in done] == [
        ("write", path.name),
        ("sync", path.name),
        ("write", "manifest.jsonl"),
    ]
    assert (done[0].offset, done[0].size) == (size - end, path.stat().st_size - size + end)


def test_a_longer_append_is_marked_and_what_lies_beyond_the_end_is_written_first(
    watched: Storage, disk: WatchedDisk
) -> None:
    path = watched.path("s1")
    size, end = path.stat().st_size, len(LAYOUTS[path.suffix].end)
    disk.forget()
    watched.append("s1", answered("r3", answer="long " * 1000))
    done = disk.of("write", "sync", "truncate", "replace")
    lock = lock_file(watched.root, "s1").name
    assert [(call.operation, call.name) for call in done] == [
        ("write", lock),
        ("write", path.name),
        ("write", path.name),
        ("sync", path.name),
        ("write", lock),
        ("write", "manifest.jsonl"),
    ]
    assert (done[1].offset, done[2].offset, done[2].size) == (size, size - end, end)
    assert (done[0].offset, done[4].offset, done[4].size) == (1, 1, 1)


def test_relaxed_appends_are_not_synced_and_say_in_which_boot_they_are_safe(
    watched: Storage, disk: WatchedDisk
) -> None:
    relaxed = type(watched)(watched.root, durability="relaxed")
    relaxed.append("s1", answered("r3"))
    assert not disk.of("sync")
    assert "boot" in manifest_lines(watched)[-1]
    watched.append("s1", answered("r4"))
    assert disk.of("sync", name=watched.path("s1").name)
    assert "boot" not in manifest_lines(watched)[-1]


def test_finishing_a_run_overwrites_only_the_constant_closing(watched: Storage, disk: WatchedDisk) -> None:
    path = watched.path("s1")
    final = answered("r3", "what?", "that", session_state={"a": 1}, model="m")
    watched.append("s1", question("r3", "what?", status="unfinished", created_at=final.created_at))
    old = path.read_bytes()
    layout = LAYOUTS[path.suffix]
    assert old.endswith(layout.closing_after_list)
    disk.forget()
    watched.append("s1", final)
    new = path.read_bytes()
    kept = len(old) - len(layout.closing_after_list)
    assert new[:kept] == old[:kept]
    assert not disk.of("replace")
    writes = disk.of("write", name=path.name)
    assert min(call.offset for call in writes) >= kept
    assert len(writes) == 1 or writes[0].offset == len(old), "what lies beyond the old end comes first"
    assert parse(path)["history"][-1]["status"] == "completed"
    assert run_ids(path) == ["r1", "r2", "r3"]
    session = type(watched)(watched.root).read("s1", last_runs=1)
    assert session is not None
    assert (session.session_state, session.runs[0].answer) == ({"a": 1}, "that")


@pytest.mark.parametrize("changed", ["the answer", "another entry"])
def test_any_other_finish_is_a_rewrite(watched: Storage, disk: WatchedDisk, changed: str) -> None:
    path = watched.path("s1")
    watched.append("s1", answered("r3", "what?", status="unfinished"))
    if changed == "another entry":
        watched.update("s1", session_state={"a": 1})
    final = {
        "the answer": answered("r3", "what?", "that"),
        "another entry": answered("r3", "what?", "good day", session_state={"a": 2}),
    }[changed]
    disk.forget()
    watched.append("s1", final)
    assert [call.path for call in disk.of("replace")] == [str(path)]
    assert not disk.of("write", name=path.name)
    session = type(watched)(watched.root).read("s1")
    assert session is not None
    assert to_json_value(session.runs[-1]) == to_json_value(final)
    assert session.session_state == ({"a": 1} if changed == "another entry" else {})
    assert in_our_layout(path)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failed_append_puts_the_document_back(watched: Storage, disk: WatchedDisk, number: int, code: int) -> None:
    path = watched.path("s1")
    old = path.read_bytes()
    disk.most_at_once = 40
    disk.fail("write", path.name, number, code)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        watched.append("s1", answered("r3"))
    assert caught.value.errno == code
    assert path.read_bytes() == old
    watched.append("s1", answered("r3"))
    assert run_ids(path) == ["r1", "r2", "r3"]


def test_a_failed_rewrite_leaves_the_document_and_no_temporary_file(watched: Storage, disk: WatchedDisk) -> None:
    path = watched.path("s1")
    old = path.read_bytes()
    for operation in ("write", "sync", "replace"):
        disk.fail(operation, path.name if operation == "replace" else ".tmp")
        with pytest.raises(OSError, match=r"error"):
            watched.update("s1", name="n")
        assert path.read_bytes() == old
        assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("other_process", [True, False])
@pytest.mark.parametrize("listed_between", [True, False])
def test_after_a_failed_sync_the_next_write_is_a_full_rewrite(
    watched: Storage, disk: WatchedDisk, other_process: bool, listed_between: bool
) -> None:
    path = watched.path("s1")
    disk.fail("sync", path.name)
    with pytest.raises(OSError, match="did not keep the last write"):
        watched.append("s1", answered("r3"))
    following = type(watched)(watched.root) if other_process else watched
    if listed_between:
        following.list_sessions()
        following.read("s1", last_runs=1)
    disk.forget()
    following.append("s1", answered("r4"))
    assert [call.path for call in disk.of("replace", name=path.name)] == [str(path)]
    assert not disk.of("write", name=path.name)
    assert [call for call in disk.of("sync") if call.name == "temporary"]
    assert run_ids(path) == ["r1", "r2", "r3", "r4"]
    disk.forget()
    following.append("s1", answered("r5"))
    assert not disk.of("replace")


def test_a_run_whose_sync_failed_is_made_durable_when_it_is_stored_again(watched: Storage, disk: WatchedDisk) -> None:
    path = watched.path("s1")
    disk.fail("sync", path.name)
    with pytest.raises(OSError, match="did not keep"):
        watched.append("s1", answered("r3"))
    disk.forget()
    watched.append("s1", answered("r3"))
    assert disk.of("replace", name=path.name)
    assert run_ids(path) == ["r1", "r2", "r3"]


def test_a_rewrite_goes_through_a_new_private_file(watched: Storage, disk: WatchedDisk) -> None:
    path = watched.path("s1")
    os.chmod(path, 0o644)
    watched.update("s1", name="n")
    assert [(call.operation, call.name) for call in disk.of("write", "sync", "replace", "sync_folder")] == [
        ("write", "manifest.jsonl"),  # what was found: somebody touched the file since
        ("write", "temporary"),
        ("sync", "temporary"),
        ("replace", path.name),
        ("sync_folder", path.parent.name),
        ("write", "manifest.jsonl"),
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("seen", [True, False])
def test_a_document_with_another_name_is_rewritten_and_the_other_name_keeps_its_bytes(
    watched: Storage, tmp_path: Path, seen: bool
) -> None:
    path, backup = watched.path("s1"), tmp_path / "backup"
    os.link(path, backup)
    old = path.read_bytes()
    if seen:  # so that the manifest knows the file as it is now
        watched.list_sessions()
        watched.read("s1")
    watched.append("s1", answered("r3"))
    assert backup.read_bytes() == old
    assert run_ids(path) == ["r1", "r2", "r3"]
    os.link(path, tmp_path / "second")
    old = path.read_bytes()
    watched.append("s1", question("r4", status="unfinished"))
    os.link(path, tmp_path / "third")
    watched.append("s1", answered("r4"))
    assert (tmp_path / "second").read_bytes() == old
    assert run_ids(path) == ["r1", "r2", "r3", "r4"]


def test_bytes_that_another_program_appends_in_the_same_instant_stay(watched: Storage, disk: WatchedDisk) -> None:
    """What was typed after the end of the document was taken for a torn write, and moved to the rescue folder."""
    path = watched.path("s1")
    done: list[bool] = []

    def interfere(call: Call) -> None:
        if call.operation == "sync" and call.path == str(path) and not done:
            done.append(True)
            with path.open("ab") as other:
                other.write(b"typed by hand\n")

    disk.before = interfere
    with pytest.raises(DocumentBroken) as caught:
        watched.append("s1", answered("r3"))
    assert caught.value.line is not None
    raw = path.read_bytes()
    assert raw.endswith(b"typed by hand\n")
    path.write_bytes(raw.removesuffix(b"typed by hand\n"))
    watched.append("s1", answered("r3"))
    assert run_ids(path) == ["r1", "r2", "r3"]


@pytest.mark.parametrize("size", [1, 1000], ids=["one write", "two writes"])
def test_an_editor_that_replaces_the_document_at_any_moment_of_an_append_loses_no_run(
    watched: Storage, disk: WatchedDisk, size: int
) -> None:
    """An append into a file that had lost its name to an editor's new one was acknowledged, and the run was lost."""
    path, number, replaced = watched.path("s1"), 0, True
    edited = path.read_bytes().replace(b"good day", b"typed by hand")
    calls: list[Call] = []

    def replace(call: Call) -> None:
        calls.append(call)
        if len(calls) == number:
            new = path.with_name("~new")
            is_written = f"run_id: a{number}".encode() in path.read_bytes().replace(b'"', b"")
            is_over = is_written and call.path != str(path)  # the editor opened what was acknowledged
            new.write_bytes(path.read_bytes() if is_over else edited)
            os.replace(new, path)

    while replaced:
        number += 1
        calls.clear()
        disk.before = replace
        watched.append("s1", answered(f"a{number}", answer="long " * size))
        disk.before = nothing
        replaced = len(calls) >= number
        assert run_ids(path)[-1] == f"a{number}"
        if replaced:
            assert "typed by hand" in path.read_text()
        assert [one for one in rescued(watched) if one["reason"] == "torn by a crash"] == []
    assert number > 6


def test_an_editor_that_replaces_the_document_before_a_rewrite_wins(watched: Storage, disk: WatchedDisk) -> None:
    path = watched.path("s1")
    edited = path.read_bytes().replace(b"good day", b"good night")
    done: list[bool] = []

    def interfere(call: Call) -> None:
        if call.operation == "read" and call.path == str(path) and not done:
            done.append(True)
            path.write_bytes(edited)

    disk.before = interfere
    watched.update("s1", name="n")
    assert parse(path)["name"] == "n"
    assert b"good night" in path.read_bytes()
    assert b"good day" not in path.read_bytes()


def test_a_program_that_writes_all_the_time_is_an_error_that_keeps_the_run(watched: Storage, disk: WatchedDisk) -> None:
    path = watched.path("s1")

    def interfere(call: Call) -> None:
        if call.operation == "read" and call.path == str(path):
            with path.open("ab") as other:
                other.write(b"\n")

    disk.before = interfere
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DocumentBroken, match="Another program keeps changing the document of session") as caught:
        watched.append("s1", answered("r3"))
    assert caught.value.path == str(path)
    assert Path(caught.value.rescued or "").name.startswith("s1.")
    assert [record["entry"]["run_id"] for record in rescued(watched)] == ["r3"]
    assert run_ids(path) == ["r1", "r2"]


def edit_an_entry(path: Path) -> None:
    edit(
        path,
        "  messages:\n    - role: user\n      content: what?",
        "  # mine\n  messages:\n    - role: user\n      content: what?",
    )


def edit_behind_an_entry(path: Path) -> None:
    edit(path, "  status: unfinished\n", "  status: unfinished\n# mine\n")


def edit_the_head(path: Path) -> None:
    edit(path, "kind: agent", "kind: agent  # mine")


def edit_above_the_head(path: Path) -> None:
    path.write_text("# mine\n" + path.read_text())


@pytest.mark.parametrize("where", [edit_an_entry, edit_behind_an_entry, edit_the_head, edit_above_the_head])
@pytest.mark.parametrize("what", ["append", "update", "finish", "rename"])
def test_a_comment_survives_or_is_set_aside(tmp_path: Path, where: Callable[[Path], None], what: str) -> None:
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    storage.append("s1", question("r2", "what?", status="unfinished"))
    path = storage.path("s1")
    where(path)
    match what:
        case "append":
            storage.append("s1", answered("r3"))
        case "update":
            storage.update("s1", session_state={"a": 1})
        case "finish":
            storage.append("s1", answered("r2", "what?"))
        case _:
            storage.update("s1", name="n")
    in_place = "# mine" in path.read_text()
    assert in_place or any("# mine" in record["text"] for record in rescued(storage))
    if what in ("append", "update"):
        assert in_place, "an append does not touch it"
    assert not (in_place and rescued(storage)), "nothing is set aside that stays"


@pytest.mark.parametrize("text", ["C# and #1", "# no comment\n# at all"])
def test_a_text_that_looks_like_a_comment_is_not_set_aside(tmp_path: Path, text: str) -> None:
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", question("r1", text, status="unfinished"))
    storage.update("s1", tags=[text], metadata={"a": text})
    storage.update("s1", name="n", session_state={"a": text})
    storage.append("s1", answered("r1", text))
    assert rescued(storage) == []


def test_comments_in_a_document_without_entries_stay(tmp_path: Path) -> None:
    from localstore import Session

    storage = YamlStorage(tmp_path / "store")
    storage.upsert(Session(session_id="s1"))
    path = storage.path("s1")
    edit(path, "kind: agent\n", "kind: agent\n# mine\n")
    storage.append("s1", answered("r1"))
    assert "kind: agent\n# mine\n" in path.read_text()
    assert in_our_layout(path)


@pytest.mark.parametrize("old", ['"kind": "agent"', '"role": "user"'])
@pytest.mark.parametrize("new", ['"x": 1, "x": 2', '"x": 18446744073709551616', '"x": 18446744073709551616.5'])
def test_what_a_rewrite_would_drop_or_round_refuses_the_rewrite_and_nothing_else(
    tmp_path: Path, old: str, new: str
) -> None:
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", question("r1", status="unfinished"))
    path = storage.path("s1")
    edit(path, old, f"{old}, {new}")
    storage.append("s1", answered("r2"))
    storage.update("s1", session_state={"a": 1})
    raw = path.read_bytes()
    assert new.encode() in raw
    finished = answered("r1")
    if "role" in old:  # a finish has to say all that the stored form says
        finished.messages[0] = Message.model_validate(
            {"role": "user", "content": "hello", "x": 2 if new.endswith("2") else 2.0**64}
        )
    changes: list[Callable[[], object]] = [
        lambda: storage.update("s1", name="n"),
        lambda: storage.append("s1", finished),
    ]
    refused, allowed = changes if "kind" in old else reversed(changes)
    with pytest.raises(DocumentBroken, match=r"appears twice|64 bits"):
        refused()
    assert path.read_bytes() == raw
    allowed()
    assert new.encode() in path.read_bytes()


def test_what_is_not_named_stays_byte_for_byte(storage_class: StorageClass, tmp_path: Path) -> None:
    storage = storage_class(tmp_path / "store")
    for number in range(3):
        storage.append("s1", answered(f"r{number}"))
    path = storage.path("s1")
    if path.suffix == ".json":
        edit(path, '"run_id": "r1",', '"run_id":   "r1"  ,\n\n"mine": {"b":1,"a":[ ]},')
    else:
        edit(path, "  run_id: r1\n", "  run_id:   'r1' # mine\n\n  mine: {b: 1, a: [ ]}\n")
    mine = path.read_bytes().partition(b"mine")[2].partition(b"r2")[0]
    storage.update("s1", name="n")
    session = storage.read("s1")
    assert session is not None
    del session.history[0]
    storage.upsert(session)
    assert mine in path.read_bytes()
    assert run_ids(path) == ["r1", "r2"]


def test_an_update_in_the_history_is_an_append(watched: Storage, disk: WatchedDisk) -> None:
    path = watched.path("s1")
    old = path.read_bytes()
    watched.update("s1", session_state={"a": 1}, instructions="Be kind.")
    layout = LAYOUTS[path.suffix]
    new = path.read_bytes()
    assert new.startswith(old.removesuffix(layout.end))
    assert not disk.of("replace")
    entry = parse(path)["history"][-1]
    expected = to_json_value(Update(created_at=entry["created_at"], session_state={"a": 1}, instructions="Be kind."))
    assert entry == expected
    assert list(entry) == ["type", "created_at", "instructions", "session_state"]


@pytest.mark.parametrize("operation", ["append", "rewrite"])
def test_a_full_disk_names_the_file(storage: Storage, disk: WatchedDisk, operation: str) -> None:
    """'No space left on device' alone did not say where."""
    storage.append("s1", answered("r1"))

    def full(call: Call) -> None:
        if call.operation == "write" and "lock" not in call.path:
            raise OSError(errno.ENOSPC, "No space left on device")

    disk.before = full
    with pytest.raises(OSError, match="No space left on device") as caught:
        storage.append("s1", answered("r2")) if operation == "append" else storage.update("s1", name="n")
    assert caught.value.filename == str(storage.path("s1"))


def test_a_rewrite_parses_each_entry_once(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new bytes were parsed again as a whole: to rate one of 20,000 runs in YAML took 3.4 seconds."""
    for number in range(50):
        storage.append("s1", answered(f"r{number}"))
    layout = type(LAYOUTS[storage.path("s1").suffix])
    parsed = []
    parse_entry = layout.parse_entry

    def counted(self: object, piece: bytes) -> object:
        parsed.append(piece)
        return parse_entry(self, piece)  # type: ignore[arg-type]

    monkeypatch.setattr(layout, "parse_entry", counted)
    storage.rate("s1", "r7", "good")
    assert len(parsed) == len(set(parsed)) == 51
    session = type(storage)(storage.root).read("s1")
    assert session is not None
    assert [run.run_id for run in session.runs if run.rating == "good"] == ["r7"]
