"""The manifest: every process follows it, damaged lines are skipped, and it is rebuilt without loss."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore import JsonStorage
from localstore.disk.locks import pool_of
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, is_row
from localstore.index.selection import Selection
from tests.effort import rounds
from tests.unit.raw import Storage, answered, edit, manifest_lines, run_ids
from tests.unit.watched_disk import Call, WatchedDisk


def row(session_id: str, updated_at: str = "2026-11-22T07:01:20.123Z", **more: Any) -> IndexRow:
    made: IndexRow = {
        "session_id": session_id,
        "path": f"sessions/2026-11/{session_id}.json",
        "kind": "agent",
        "created_at": updated_at,
        "updated_at": updated_at,
        "version": 1,
        "entries": 1,
        "runs": 1,
        "fingerprint": [1, 2, 3, 4],
    }
    return {**made, **more}  # type: ignore[typeddict-item]


@pytest.fixture
def open_manifest(tmp_path: Path) -> Callable[[], Manifest]:
    (tmp_path / ".localstore" / "locks").mkdir(parents=True)
    return lambda: Manifest(str(tmp_path), pool_of(tmp_path), 1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".localstore/manifest.jsonl"


@pytest.fixture(autouse=True, params=["lines in memory", "lines in the index"])
def folding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether lines are kept in memory, or go to the index at once."""
    if request.param == "lines in the index":
        for name in ("_SHORT", "_LONG", "_MOST_ROWS"):
            monkeypatch.setattr(f"localstore.index.manifest.{name}", 0)
    return str(request.param)


def ordered(manifest: Manifest, user_id: str | None = None, entity_id: str | None = None) -> list[str]:
    """The sessions of a user and an entity, oldest activity first."""
    rows, _ = manifest.in_order(Selection(user_id, entity_id), None, None, newest_first=False)
    return [row["session_id"] for _, row in rows]


def known(manifest: Manifest) -> list[str]:
    manifest.refresh(thorough=True)
    return ordered(manifest)


def test_a_line_is_appended_and_the_last_one_counts(open_manifest: Callable[[], Manifest], file: Path) -> None:
    manifest = open_manifest()
    manifest.record([row("a"), row("b")])
    first = file.read_bytes()
    manifest.record([row("a", runs=2)])
    assert file.read_bytes().startswith(first)
    assert file.read_bytes().endswith(b"\n")
    other = open_manifest()
    assert known(other) == ["a", "b"]
    assert other.get("a") == row("a", runs=2)
    generation, *lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert generation["generation"]
    assert lines == [row("a"), row("b"), row("a", runs=2)]


def test_a_deletion_is_a_line_too(open_manifest: Callable[[], Manifest], file: Path) -> None:
    manifest, follower = open_manifest(), open_manifest()
    manifest.record([row("a"), row("b")])
    assert known(follower) == ["a", "b"]
    manifest.record_deletion("a")
    assert json.loads(file.read_bytes().splitlines()[-1]) == {"session_id": "a", "deleted": True}
    assert known(follower) == known(manifest) == known(open_manifest()) == ["b"]
    assert follower.session_at("sessions/2026-11/a.json") is None


def test_a_follower_reads_only_what_was_added(
    open_manifest: Callable[[], Manifest], file: Path, disk: WatchedDisk
) -> None:
    manifest, follower = open_manifest(), open_manifest()
    manifest.record([row(f"s{number}") for number in range(500)])
    assert len(known(follower)) == 500
    manifest.record([row("new")])
    disk.forget()
    follower.refresh()
    assert disk.size("read") < 1000
    assert follower.get("new") == row("new")
    disk.forget()
    follower.refresh()
    assert disk.calls == []


def test_the_newest_comes_last_in_every_order(open_manifest: Callable[[], Manifest]) -> None:
    manifest = open_manifest()
    rows = [
        row("a", "2026-01-03", user_id="u", entity_id="e"),
        row("b", "2026-01-01", user_id="u"),
        row("c", "2026-01-02", user_id="v", entity_id="e"),
    ]
    manifest.record(rows)
    assert ordered(manifest) == ["b", "c", "a"]
    assert ordered(manifest, "u", None) == ["b", "a"]
    assert ordered(manifest, None, "e") == ["c", "a"]
    assert ordered(manifest, "nobody", None) == []
    manifest.record([row("b", "2026-01-04", user_id="w")])
    assert ordered(manifest) == ["c", "a", "b"]
    assert ordered(manifest, "u", None) == ["a"]
    assert ordered(manifest, "w", None) == ["b"]


GARBAGE = [
    b"no json\n",
    b"\xff\xfe\0\n",
    b"[1, 2]\n",
    b"null\n",
    b"\n",
    b'{"session_id": "x"}\n',
    b'{"session_id": 5, "deleted": true}\n',
    json.dumps(row("x", path="../../etc/x.json")).encode() + b"\n",
    json.dumps(row("x", path="sessions/../x.json")).encode() + b"\n",
    json.dumps(row("x", fingerprint=[1])).encode() + b"\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: str(garbage[:30]))
def test_a_line_that_cannot_be_used_is_skipped(
    open_manifest: Callable[[], Manifest], file: Path, garbage: bytes
) -> None:
    manifest = open_manifest()
    manifest.record([row("a")])
    with file.open("ab") as other:
        other.write(garbage)
    manifest.record([row("b")])
    assert known(manifest) == known(open_manifest()) == ["a", "b"]


def test_a_line_that_was_cut_off_spoils_no_other(open_manifest: Callable[[], Manifest], file: Path) -> None:
    manifest, follower = open_manifest(), open_manifest()
    manifest.record([row("a")])
    with file.open("ab") as other:
        other.write(json.dumps(row("torn")).encode()[:-20])
    assert known(follower) == ["a"]
    manifest.record([row("b")])
    assert known(follower) == known(manifest) == known(open_manifest()) == ["a", "b"]


def test_a_failed_write_is_no_failure_and_leaves_no_half_line(
    open_manifest: Callable[[], Manifest], file: Path, disk: WatchedDisk
) -> None:
    manifest = open_manifest()
    manifest.record([row("a")])
    before = file.read_bytes()
    disk.most_at_once = 10
    disk.fail("write", file.name, 3)
    manifest.record([row("b")])
    assert file.read_bytes() == before
    assert manifest.get("b") == row("b"), "this process knows it all the same"


def test_a_locked_manifest_is_no_failure(open_manifest: Callable[[], Manifest], tmp_path: Path) -> None:
    manifest = Manifest(str(tmp_path), pool_of(tmp_path), 0.0)
    with pool_of(tmp_path).manifest(1):
        manifest.record([row("a")])
    assert manifest.get("a") == row("a")


def test_a_manifest_full_of_dead_lines_is_compacted_under_its_followers(
    open_manifest: Callable[[], Manifest], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localstore.index.manifest._SPARE_LINES", 10)
    monkeypatch.setattr("localstore.index.manifest._LONG", 0)
    manifest, follower = open_manifest(), open_manifest()
    generations = set()
    for number in range(60):
        manifest.record([row(f"s{number % 3}", f"2026-01-01T00:00:{number:02}", runs=number)])
        if number % 7 == 0:
            manifest.record_deletion("s1")
        assert known(follower) == known(manifest)
        for session_id in known(follower):
            assert follower.get(session_id) == manifest.get(session_id)
        generations.add(file.read_bytes().partition(b"\n")[0])
        assert file.read_bytes().count(b"\n") <= 20
    assert len(generations) > 2
    follower.record([row("from the follower")])
    assert "from the follower" in known(manifest)


@pytest.mark.parametrize("folding", ["lines in the index"], indirect=True)
def test_a_follower_goes_on_behind_what_a_compaction_wrote(
    open_manifest: Callable[[], Manifest], monkeypatch: pytest.MonkeyPatch, disk: WatchedDisk
) -> None:
    """At each compaction all processes forgot their rows and read the whole file again at the same time."""
    monkeypatch.setattr("localstore.index.manifest._SPARE_LINES", 50)
    manifest, follower = open_manifest(), open_manifest()
    manifest.record([row(f"s{number}", user_id="u") for number in range(200)])
    assert len(known(follower)) == 200
    restarts = follower.restarts
    number = 0
    disk.forget()
    while not disk.of("replace", name="manifest.jsonl"):
        number += 1
        manifest.record([row("s3", runs=number), row("new", runs=number)])
    manifest.record([row("behind", user_id="u")])
    disk.forget()
    follower.refresh()
    assert disk.size("read") < 2000
    assert follower.get("s3") == row("s3", runs=number)  # written between our last look and the compaction
    assert follower.restarts == restarts
    assert known(follower) == known(manifest) == known(open_manifest())
    assert "behind" in ordered(follower, "u")
    assert "s3" not in ordered(follower, "u")


@pytest.mark.parametrize("lines", [-1, 0, True, "21", None])
def test_a_first_line_that_nobody_of_ours_wrote_is_not_believed(
    open_manifest: Callable[[], Manifest], file: Path, lines: object
) -> None:
    manifest = open_manifest()
    manifest.record([row("a")])
    first = json.loads(file.read_bytes().splitlines()[0])
    other = file.with_name("other")
    made = {**first, "generation": "x", "follows": first["generation"], "lines": lines}
    other.write_text(f"{json.dumps(made)}\n{json.dumps(row('b'))}\n")
    other.replace(file)
    assert known(manifest) == ["b"]


def test_a_file_without_a_generation_is_compacted_like_any_other(
    open_manifest: Callable[[], Manifest], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localstore.index.manifest._SPARE_LINES", 3)
    monkeypatch.setattr("localstore.index.manifest._LONG", 0)
    file.write_bytes(b"garbage\n" * 10)
    manifest, follower = open_manifest(), open_manifest()
    follower.refresh()
    manifest.record([row("a")])
    assert len(file.read_bytes().splitlines()) == 2
    assert known(follower) == known(manifest) == ["a"]


# A line is looked into when its session is asked for; that must not be seen.


@pytest.mark.parametrize("folding", ["lines in memory"], indirect=True)
def test_lines_cost_nothing_until_somebody_asks_for_their_session(
    open_manifest: Callable[[], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, follower = open_manifest(), open_manifest()
    rows = [row(f"s{number}", user_id=f"u{number % 10}") for number in range(100)]
    manifest.record(rows)
    assert len(known(follower)) == 100
    manifest.record([{**one, "runs": 2} for one in rows])
    looked: list[Any] = []

    def look(value: Any) -> bool:
        looked.append(value)
        return is_row(value)

    monkeypatch.setattr("localstore.index.manifest_lines.is_row", look)
    follower.refresh()
    assert follower.get("s7") == row("s7", user_id="u7", runs=2)
    assert len(looked) == 1


@pytest.mark.parametrize("folding", ["lines in memory"], indirect=True)
def test_who_adds_a_line_does_not_take_in_what_others_added(
    open_manifest: Callable[[], Manifest], file: Path, disk: WatchedDisk
) -> None:
    """All other writers wait for this lock."""
    manifest, other = open_manifest(), open_manifest()
    manifest.record([row("a"), row("b")])
    assert known(other) == ["a", "b"]
    manifest.record([row("a", runs=2), row("b", runs=2), row("c")])
    disk.forget()
    other.record([row("b", runs=3)])
    assert sum(call.size for call in disk.calls if call.operation == "read") == 1
    assert other.get("b") == row("b", runs=3)
    assert known(other) == ["a", "b", "c"]
    assert other.get("a") == row("a", runs=2)
    assert other.get("b") == row("b", runs=3)
    assert [json.loads(line)["session_id"] for line in file.read_bytes().splitlines()[1:]] == [*"ababcb"]


def test_who_adds_a_line_adds_none_to_a_file_that_was_moved_away(
    open_manifest: Callable[[], Manifest], file: Path
) -> None:
    manifest = open_manifest()
    manifest.record([row("a")])
    moved = file.rename(file.with_name("moved.jsonl"))
    before = moved.read_bytes()
    manifest.record([row("b")])
    assert moved.read_bytes() == before
    assert known(open_manifest()) == ["b"]


@pytest.mark.parametrize("user_id", ["u", 'quoted "u"', "back\\slash", "ü\n", ""])
def test_every_user_is_found_in_lines_that_nobody_looked_into(
    open_manifest: Callable[[], Manifest], file: Path, user_id: str
) -> None:
    manifest, follower = open_manifest(), open_manifest()
    manifest.record([row("a", user_id="before"), row("b", user_id=user_id), row("c", user_id=user_id)])
    assert known(follower) == ["a", "b", "c"]
    manifest.record([row("a", user_id=user_id), row("c", user_id="after")])
    with file.open("ab") as other:  # as somebody else would write it
        other.write(json.dumps(row("d", user_id=user_id)).encode() + b"\n")
        other.write(b" " + json.dumps({"user_id": user_id, **row("e")}, indent=None).encode() + b"\n")
        nested = {**row("f", user_id=user_id), "shared": [{"user_id": "after"}]}
        other.write(json.dumps(nested, separators=(",", ":")).encode() + b"\n")
    follower.refresh()
    assert ordered(follower, user_id, None) == ["a", "b", "d", "e", "f"]
    assert ordered(follower, "after", None) == ["c"]
    assert ordered(follower, "before", None) == []


def test_a_line_that_was_cut_off_does_not_hide_the_one_before(
    open_manifest: Callable[[], Manifest], file: Path
) -> None:
    manifest, follower = open_manifest(), open_manifest()
    manifest.record([row("a"), row("b")])
    assert known(follower) == ["a", "b"]
    manifest.record([row("a", runs=2)])
    with file.open("ab") as other:
        other.write(json.dumps(row("a", runs=3), separators=(",", ":")).encode()[:60])
    manifest.record([row("b", runs=4)])
    follower.refresh()
    assert follower.get("a") == row("a", runs=2)
    assert follower.get("b") == row("b", runs=4)


@pytest.mark.parametrize("first", ["a", "b", ""])
def test_documents_that_took_each_others_ids_are_told_by_the_order_of_all_lines(
    open_manifest: Callable[[], Manifest], first: str
) -> None:
    """The newest line with a path counts, whichever session is asked for first."""
    manifest, follower = open_manifest(), open_manifest()
    path = row("b")["path"]
    manifest.record([row("a"), row("b")])
    assert known(follower) == ["a", "b"]
    manifest.record([row("a", path=path)])
    manifest.record([row("b", runs=2)])
    follower.refresh()
    if first:
        follower.get(first)
    assert known(follower) == ["b"]
    assert follower.session_at(path) == "b"
    assert follower.get("a") is None
    follower.record([row("c", path=path)])
    assert known(follower) == known(manifest) == ["c"]


@settings(max_examples=rounds(30, 100, 5000), deadline=None)
@given(data=st.data())
def test_a_follower_that_asks_now_and_then_knows_what_one_knows_that_always_asks(data: st.DataObject) -> None:
    names, users, folders = st.sampled_from("abcd"), st.sampled_from(["u", "v", 'w"']), st.sampled_from(["1", "2"])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / ".localstore" / "locks").mkdir(parents=True)
        manifests = [Manifest(folder, pool_of(root), 1.0) for _ in range(3)]
        writer, always, seldom = manifests
        for number in range(data.draw(st.integers(1, 25))):
            match data.draw(st.sampled_from(["record", "record", "delete", "get", "user", "at"])):
                case "record":
                    name = data.draw(names)
                    path = f"sessions/{data.draw(folders)}/{name}.json"
                    writer.record([row(name, f"2026-01-01T00:00:{number:02}", path=path, user_id=data.draw(users))])
                case "delete":
                    writer.record_deletion(data.draw(names))
                case "get":
                    seldom.refresh()
                    seldom.get(data.draw(names))
                case "user":
                    seldom.refresh()
                    ordered(seldom, data.draw(users), None)
                case _:
                    seldom.refresh()
                    seldom.session_at(f"sessions/{data.draw(folders)}/{data.draw(names)}.json")
            always.refresh()
            ordered(always)
        for manifest in manifests:
            manifest.refresh(thorough=True)
        for user_id in ("u", "v", 'w"'):
            assert ordered(seldom, user_id, None) == ordered(always, user_id, None)
        assert ordered(seldom) == ordered(always) == ordered(writer)
        assert [seldom.get(name) for name in "abcd"] == [always.get(name) for name in "abcd"]


def test_a_replaced_manifest_is_noticed_at_the_same_length(open_manifest: Callable[[], Manifest], file: Path) -> None:
    manifest = open_manifest()
    manifest.record([row("a")])
    assert known(manifest) == ["a"]
    other = file.with_name("other")
    other.write_bytes(file.read_bytes().replace(b'"a"', b'"b"').replace(b"/a.json", b"/b.json"))
    other.write_bytes(other.read_bytes().replace(other.read_bytes()[50:60], b"0123456789"))
    other.replace(file)
    assert known(manifest) == ["b"]


# The same through the storage: whatever happens to the manifest, the answers stay the same.


def destroy(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncate_in_a_line(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) * 2 // 3])


def truncate_in_the_first_line(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10])


def overwrite(path: Path) -> None:
    path.write_bytes(b"\0\xff garbage \n\n[]\n{}\n" * 50)


def overwrite_without_lines(path: Path) -> None:
    path.write_bytes(b"x" * 5000)


def move_away(path: Path) -> None:
    path.rename(path.with_name("old-manifest"))


def another_stores(path: Path) -> None:
    other = JsonStorage(path.parent / "other-store")
    for name in ("s1", "foreign"):
        other.append(name, answered("x"), user_id="mallory")
    path.write_bytes((other.root / ".localstore/manifest.jsonl").read_bytes())


def lies(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines[1:]:
        line.update(fingerprint=[1, 2, 3, 4], runs=99, offsets={"session_state": 7}, entries=99)
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def backwards(path: Path) -> None:
    first, *lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"".join(reversed(lines)))


def dots_in_paths(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        if "path" in line:
            line["path"] = f"sessions/2026-11/../../{line['path']}"
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


ACCIDENTS = [
    *(destroy, empty, truncate_in_a_line, truncate_in_the_first_line, overwrite, overwrite_without_lines, move_away),
    *(another_stores, lies, backwards, dots_in_paths),
]


@pytest.mark.parametrize("accident", ACCIDENTS)
@pytest.mark.parametrize("fresh", [True, False], ids=["another process", "the same process"])
def test_the_answers_stay_the_same_whatever_happens_to_the_manifest(
    storage: Storage, accident: Callable[[Path], None], fresh: bool
) -> None:
    for number in range(6):
        user = "alice" if number % 2 else "bob"
        storage.append(f"s{number}", answered("r1", session_state={"n": number}), user_id=user, entity_id="e")
        storage.append(f"s{number}", answered("r2"))
    storage.delete_session("s4")
    before = storage.list_sessions()
    paths = {info.session_id: info.path for info in before}
    accident(storage.root / ".localstore/manifest.jsonl")
    opened = type(storage)(storage.root) if fresh else storage
    assert opened.list_sessions() == before
    assert opened.list_sessions(user_id="alice") == [info for info in before if info.user_id == "alice"]
    for name in paths:
        session = opened.read(name, last_runs=1)
        assert session is not None
        assert session.session_state == {"n": int(name[1:])}
    assert opened.read("foreign") is None
    opened.append("s1", answered("r3"))
    assert opened.path("s1") == paths["s1"]
    assert run_ids(opened.path("s1")) == ["r1", "r2", "r3"]
    assert not list(storage.root.glob("sessions/*/s4.*"))
    assert type(storage)(storage.root).get_all_session_ids() == opened.get_all_session_ids()


@pytest.mark.parametrize("accident", [destroy, lies, another_stores, truncate_in_a_line])
def test_writing_first_makes_no_second_document(storage: Storage, accident: Callable[[Path], None]) -> None:
    for number in range(3):
        storage.append(f"s{number}", answered("r1"))
    accident(storage.root / ".localstore/manifest.jsonl")
    opened = type(storage)(storage.root)
    opened.append("s1", answered("r2"))
    opened.append("S1", answered("other"))
    assert len(list(storage.root.glob("sessions/*/*"))) == 4
    assert run_ids(storage.path("s1")) == ["r1", "r2"]


def test_a_run_is_acknowledged_though_its_line_is_lost(storage: Storage, disk: WatchedDisk) -> None:
    storage.append("s1", answered("r1"))
    lines = len(manifest_lines(storage))

    def full(call: Call) -> None:
        if call.operation == "write" and call.name == "manifest.jsonl":
            raise OSError(28, "No space left on device")

    disk.before = full
    storage.append("s1", answered("r2"))
    assert len(manifest_lines(storage)) == lines
    opened = type(storage)(storage.root)
    session = opened.read("s1", last_runs=1)
    assert session is not None
    assert session.runs[0].run_id == "r2"
    assert opened.list_sessions()[0].runs == 2


def test_a_manifest_of_a_later_release_is_read_as_far_as_it_goes(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    with (storage.root / ".localstore/manifest.jsonl").open("ab") as manifest:
        manifest.write(b'{"checkpoint": 7}\n{"session_id": "s1", "hint": true}\n')
    assert type(storage)(storage.root).get_all_session_ids() == ["s1"]


def test_a_line_of_another_version_is_not_believed(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    edit(storage.root / ".localstore/manifest.jsonl", '"version":1', '"version":7')
    opened = type(storage)(storage.root)
    session = opened.read("s1", last_runs=1)
    assert session is not None
    assert session.schema_version == 1


def test_a_compacted_manifest_has_only_lines_that_can_be_used(
    open_manifest: Callable[[], Manifest], file: Path
) -> None:
    """Regression: the row of a document that never could be read has no fingerprint, and became an unusable line."""
    manifest = open_manifest()
    manifest.record([row("a"), row("a", entries=2), row("b")])
    manifest.put(row("broken", fingerprint=[], problem="cannot be read"))
    manifest.put(row("b", problem="broken by now"))
    file.write_bytes(file.read_bytes() + b"garbage\n")
    manifest.compact()
    lines = [json.loads(line) for line in file.read_bytes().splitlines()[1:]]
    assert [(line["session_id"], line["entries"]) for line in lines] == [("a", 2), ("b", 1)]
    assert all("problem" not in line for line in lines)
    assert known(open_manifest()) == ["a", "b"]
