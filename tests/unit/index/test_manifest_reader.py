"""Following the manifest: every process knows what was added, and damaged lines are skipped."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore.disk.locks import pool_of
from localstore.disk.store_tree import MANIFEST
from localstore.index.manifest import Manifest
from localstore.index.row import is_row
from tests.effort import rounds
from tests.spreading import top_folder
from tests.unit.index.manifests import known, ordered, row
from tests.unit.watched_disk import WatchedDisk

pytestmark = pytest.mark.usefixtures("folding")


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


def test_a_follower_reads_only_what_was_added(
    open_manifest: Callable[[], Manifest], file: Path, disk: WatchedDisk
) -> None:
    manifest, follower = open_manifest(), open_manifest()
    manifest.record([row(f"s{number}") for number in range(500)])
    assert len(known(follower)) == 500
    manifest.record([row("new")])
    disk.forget()
    follower.refresh()
    assert disk.size("read") < 3000
    assert follower.get("new") == row("new")
    disk.forget()
    follower.refresh()
    assert disk.calls == []


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


def test_a_replaced_manifest_is_noticed_at_the_same_length(open_manifest: Callable[[], Manifest], file: Path) -> None:
    manifest = open_manifest()
    manifest.record([row("a")])
    assert known(manifest) == ["a"]
    other = file.with_name("other")
    other.write_bytes(file.read_bytes().replace(b'"a"', b'"b"').replace(b"/a.json", b"/b.json"))
    other.write_bytes(other.read_bytes().replace(other.read_bytes()[50:60], b"0123456789"))
    other.replace(file)
    assert known(manifest) == ["b"]


@pytest.mark.parametrize("reads", [True, False], ids=["a reader that looks", "a reader that looks later"])
def test_a_manifest_that_was_cut_off_and_grew_again_is_noticed_at_any_length(
    open_manifest: Callable[[], Manifest], file: Path, reads: bool
) -> None:
    """A session whose line was cut off stayed missing in the index, because all lines have the same end and length."""
    manifest, follower = open_manifest(), open_manifest()
    manifest.record([row("a")])
    size = file.stat().st_size
    manifest.record([row("b", path="sessions/2026-11/x.json")])
    assert known(follower) == known(manifest) == ["a", "b"]
    with file.open("r+b") as other:
        other.truncate(size)
    for name in "cdef":
        open_manifest().record([row(name, path="sessions/2026-11/y.json")])
        if reads:
            assert known(follower) == ["a", name]
    assert known(follower) == known(manifest) == known(open_manifest()) == ["a", "f"]


@pytest.mark.parametrize("folding", ["lines in memory"], indirect=True)
@pytest.mark.parametrize("question", ["get", "put", "count", "in order"])
def test_lines_of_a_manifest_that_was_replaced_with_the_index_are_forgotten(
    open_manifest: Callable[[], Manifest], file: Path, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that noticed it while it parsed the lines of the old manifest set their rows all the same."""
    other = open_manifest()
    other.record([row("b"), row("x")])
    other.close()
    replacement = file.rename(file.with_name("replacement"))
    manifest, follower = open_manifest(), open_manifest()
    with monkeypatch.context() as patch:
        patch.setattr("localstore.index.manifest_reader._SHORT", 0)
        manifest.record([row("a"), row("b")])
        assert known(follower) == ["a", "b"]
    manifest.record([row("a", path="sessions/2026-10/a.json"), row("c"), row("d")])
    manifest.record_deletion("b")
    follower.refresh()
    file.with_name("index.sqlite").unlink()
    replacement.replace(file)
    match question:
        case "get":
            assert follower.get("a") is None
        case "put":
            follower.put(row("new"))
        case "count":
            assert follower.count() == 2
        case _:
            assert ordered(follower) == ["b", "x"]
    assert known(follower) == ["b", *["new"] * (question == "put"), "x"]


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
def test_a_listing_of_a_user_parses_no_lines_that_name_others(
    open_manifest: Callable[[], Manifest], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, follower = open_manifest(), open_manifest()
    rows = [row(f"s{number}", user_id=f"u{number % 10}") for number in range(100)]
    with monkeypatch.context() as patch:
        patch.setattr("localstore.index.manifest_reader._SHORT", 0)
        manifest.record(rows)
        follower.refresh()
    manifest.record([{**one, "runs": 2} for one in rows[:50]])
    manifest.record([row("s8", user_id="u7")])
    with file.open("ab") as other:
        other.write(json.dumps(rows[17], separators=(",", ":")).encode()[:-20] + b"}\n")
    looked: list[Any] = []

    def look(value: Any) -> bool:
        looked.append(value)
        return is_row(value)

    monkeypatch.setattr("localstore.index.manifest_lines.is_row", look)
    follower.refresh()
    expected = sorted(["s8", *(f"s{number}" for number in range(7, 100, 10))])
    assert ordered(follower, "u7") == expected
    assert len(looked) <= 6
    with file.open("ab") as other:  # lines that name the user, and none of which can be used
        other.writelines(json.dumps(rows[number], separators=(",", ":")).encode() + b"!\n" for number in (57, 67))
    follower.refresh()
    assert ordered(follower, "u7") == expected
    assert follower.session_at(row("s8")["path"]) == "s8"
    manifest.record([row("s20", path=row("s21")["path"], user_id="u0")])
    follower.refresh()
    assert "s21" not in ordered(follower, "u1"), "its document is that of another session now"


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
    with tempfile.TemporaryDirectory(dir=top_folder()) as folder:
        root = Path(folder)
        (root / ".localstore" / "locks").mkdir(parents=True)
        manifests = [Manifest(folder, pool_of(root), 1.0) for _ in range(3)]
        writer, always, seldom = manifests
        for number in range(data.draw(st.integers(1, 25))):
            match data.draw(st.sampled_from(["record", "record", "delete", "get", "user", "at", "fold", "garbage"])):
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
                case "fold":
                    with mock.patch("localstore.index.manifest_reader._SHORT", 0):
                        always.refresh(thorough=True)
                case "garbage":
                    line = json.dumps(row(data.draw(names)), separators=(",", ":")).encode()
                    with (root / MANIFEST).open("ab") as other:
                        other.write(line[: data.draw(st.integers(0, len(line)))] + b"\n")
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
