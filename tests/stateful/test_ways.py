"""Files change without localstore, in every way of the table in `tests/README.md`.

A storage that was open and a new process see it at once. The next write continues what is there, or is refused with a
reason. Nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.crash.writer import STORAGES
from tests.effort import sampled
from tests.stateful import observer, ways
from tests.stateful.observer import OtherProcess
from tests.stateful.ways import WAYS, WORDS, Place, Way
from tests.unit.raw import in_our_layout

pytestmark = pytest.mark.filterwarnings("ignore:Session .* has .* not read")
TEXT = "what is new this evening"


@pytest.fixture(scope="module")
def other_process() -> Iterator[OtherProcess]:
    with OtherProcess() as process:
        yield process


WRITERS = ("open storage", "new process")
"""Who writes after the change."""


@pytest.mark.parametrize(
    ("way", "suffix", "writer"),
    sampled(
        (
            pytest.param(way, suffix, writer, id=f"{way.name}, {suffix[1:]}, {writer}")
            for number, way in enumerate(WAYS)
            for turn, suffix in enumerate(way.suffixes)
            for writer in WRITERS[:: -1 if (number + turn) % 2 else 1]
        ),
        5,
    ),
)
def test_a_change_is_seen_at_once_and_nothing_is_lost(
    way: Way, suffix: str, writer: str, tmp_path: Path, other_process: OtherProcess
) -> None:
    place = ways.make(tmp_path / "store", suffix, way.session_id)
    root = place.root
    opened = STORAGES[suffix](root)
    ids = [way.session_id, ways.OTHER, "Trip", "strange"]
    observer.look(opened, ids, WORDS)
    way.change(place)
    before = _files(root)
    for _ in range(2):
        seen = observer.look(opened, ids, WORDS)
        assert seen == other_process.look(root, suffix, ids, WORDS)
        _judge(place, way, seen)
    assert _files(root) == before
    if writer == "open storage":
        refused = observer.append(opened, way.session_id, "new", TEXT)
    else:
        refused = other_process.append(root, suffix, way.session_id, "new", TEXT)
    if way.outcome in ("refused", "taken", "placeholder"):
        assert refused is not None
        assert place.path.name in refused
        assert _files(root) == before
    else:
        assert refused is None
        _judge_append(place, way, before)
    seen = observer.look(opened, ids, WORDS)
    assert seen == other_process.look(root, suffix, ids, WORDS)
    _judge(place, way, seen, appended=refused is None)
    oracle.assert_sound(root)


def _files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.glob("sessions/*/*") if path.is_file()}


def _judge(place: Place, way: Way, seen: dict[str, Any], *, appended: bool = False) -> None:
    """Compare the answers with the raw files."""
    files = ways.expected(place.root)
    told = seen["read"][way.session_id]
    if way.outcome in ("refused", "placeholder"):
        assert isinstance(told, str), told
        assert place.path.name in told
        files.pop(way.session_id, None)
        is_named = any(place.path.name in path for path in seen["named"])
        assert is_named or seen["listed"][way.session_id]["problem"]
    elif way.outcome == "taken" or (way.outcome == "gone" and not appended):
        assert told is None
    listed = {session_id: row for session_id, row in seen["listed"].items() if row["problem"] is None}
    assert {session_id: (row["path"], row["runs"]) for session_id, row in listed.items()} == {
        session_id: (str(document.path), len(document.run_ids)) for session_id, document in files.items()
    }
    for session_id, document in files.items():
        if session_id in seen["read"]:
            assert seen["read"][session_id] == ways.texts(document)
    for word, found in seen["found"].items():
        assert found == sorted(session_id for session_id, document in files.items() if word in str(document.history))
    for path in oracle.document_paths(place.root):
        if str(path) not in {row["path"] for row in seen["listed"].values()}:
            assert str(path) in seen["named"], f"{path} is ignored without a word"


def _judge_append(place: Place, way: Way, before: dict[Path, bytes]) -> None:
    """The run is at the end of the session, everything before it is as it was, and no other file changed."""
    document = ways.expected(place.root)[way.session_id]
    assert document.run_ids[-1] == "new"
    after = _files(place.root)
    assert {path for path in after if path not in before} <= {document.path}
    assert {path: raw for path, raw in before.items() if path != document.path} == {
        path: raw for path, raw in after.items() if path != document.path
    }
    if document.path in before:
        (place.root / "before").mkdir()
        copy = place.root / "before" / document.path.name
        copy.write_bytes(before[document.path])
        old = oracle.parse(copy)
        assert document.history[:-1] == old.history
        assert document.header == old.header
        assert b"#" in document.raw or in_our_layout(document.path)
        for comment in re.findall(rb"# [a-z ]+$", before[document.path], re.MULTILINE):
            assert comment in document.raw or comment in str(oracle.rescued(place.root)).encode()


def test_every_way_stands_in_the_table() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    section = text.partition("## Files change behind our back\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| ([^|]+) \|", section)[1:]
    named = [name.removesuffix(" (YAML)") for row in rows for name in row.split("; ")]
    assert sorted(named) == sorted({way.name for way in WAYS})
