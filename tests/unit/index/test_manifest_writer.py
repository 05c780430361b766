"""Writing the manifest: lines are added at its end, and it is replaced when most of them are outdated."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore.disk.locks import pool_of
from localstore.index.manifest import Manifest
from tests.unit.index.manifests import known, ordered, row
from tests.unit.watched_disk import WatchedDisk

pytestmark = pytest.mark.usefixtures("folding")


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


def test_a_manifest_full_of_dead_lines_is_compacted_under_its_followers(
    open_manifest: Callable[[], Manifest], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localstore.index.manifest_writer._SPARE_LINES", 10)
    monkeypatch.setattr("localstore.index.manifest_reader._LONG", 0)
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
    monkeypatch.setattr("localstore.index.manifest_writer._SPARE_LINES", 50)
    manifest, follower = open_manifest(), open_manifest()
    manifest.record([row(f"s{number}", user_id="u") for number in range(200)])
    assert len(known(follower)) == 200
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
    assert known(follower) == known(manifest) == known(open_manifest())
    assert "behind" in ordered(follower, "u")
    assert "s3" not in ordered(follower, "u")


def test_a_file_without_a_generation_is_compacted_like_any_other(
    open_manifest: Callable[[], Manifest], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localstore.index.manifest_writer._SPARE_LINES", 3)
    monkeypatch.setattr("localstore.index.manifest_reader._LONG", 0)
    file.write_bytes(b"garbage\n" * 10)
    manifest, follower = open_manifest(), open_manifest()
    follower.refresh()
    manifest.record([row("a")])
    assert len(file.read_bytes().splitlines()) == 2
    assert known(follower) == known(manifest) == ["a"]


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
