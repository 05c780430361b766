"""The manifest: whatever happens to it, the answers stay the same, and it is rebuilt without loss."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import JsonStorage
from localstore.index.manifest import Manifest
from tests.unit.index.manifests import known, ordered, row
from tests.unit.raw import Storage, answered, edit, manifest_lines, run_ids
from tests.unit.watched_disk import Call, WatchedDisk

pytestmark = pytest.mark.usefixtures("folding")


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


def test_pages_have_every_row_once_even_if_memory_has_newer_ones_of_a_whole_page(
    open_manifest: Callable[[], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localstore.index.manifest_queries._PAGE", 2)
    manifest = open_manifest()
    rows = [row(name, f"2026-01-{day:02d}") for day, name in enumerate("abcdefg", 1)]
    manifest.record(rows)
    with manifest.mutex:
        for number in (4, 5, 6):
            manifest.put({**rows[number], "runs": 2})
    found = [row for page in manifest.in_pages() for row in page]
    assert sorted((row["session_id"], row["runs"]) for row in found) == [
        *(("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 2), ("f", 2), ("g", 2))
    ]


@pytest.mark.parametrize(("number", "has_more"), [(2, True), (3, False), (4, False)])
def test_more_rows_than_a_number(open_manifest: Callable[[], Manifest], number: int, has_more: bool) -> None:
    manifest = open_manifest()
    manifest.record([row(name) for name in "abc"])
    manifest.record([row("b", runs=2)])
    assert manifest.has_more_than(number) == has_more
    with manifest.mutex:
        manifest.put(row("d"))
        manifest.hide("d")
        manifest.put(row("c", runs=3))
    assert not manifest.has_more_than(3)
    manifest.record_deletion("a")
    assert not manifest.has_more_than(2)


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
