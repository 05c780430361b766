"""A person types at the end of a document and saves in between: nothing that was typed is taken for a crash."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import DocumentBroken, JsonStorage, YamlStorage
from localstore.maintenance.check import check
from tests import oracle
from tests.crashes import forget_boot, leave_mark
from tests.effort import rounds
from tests.unit.raw import Storage, answered, question, rescued, run_ids

TYPED = {
    ".json": """,
    {
      "type": "run",
      "run_id": "typed",
      "created_at": "2026-11-22T07:01:20.123Z",
      "messages": [
        {
          "role": "user",
          "content": "by hand"
        }
      ],
      "status": "completed"
    }""",
    ".yaml": """- type: run
  run_id: typed
  created_at: "2026-11-22T07:01:20.123Z"
  messages:
    - role: user
      content: by hand
""",
}
KNOWN = ["the row", "an older row", "a row of another boot", "nothing"]


def store_with_two_runs(kind: type[Storage], root: Path, last: str) -> tuple[Storage, bytes]:
    """Return a store with one session of two runs, and an older manifest."""
    storage = kind(root)
    storage.append("s1", answered("r1"))
    older = (root / ".localstore/manifest.jsonl").read_bytes()
    storage.append("s1", question("r2", status="unfinished") if last == "unfinished" else answered("r2"))
    return storage, older


def set_manifest(root: Path, known: str, older: bytes) -> None:
    """Leave in the manifest what is `known` of the document."""
    manifest = root / ".localstore/manifest.jsonl"
    if known == "nothing":
        manifest.unlink()
    elif known == "an older row":
        manifest.write_bytes(older)
    elif known == "a row of another boot":
        forget_boot(root)


@pytest.mark.parametrize("last", ["finished", "unfinished"])
@pytest.mark.parametrize("known", KNOWN)
def test_a_run_typed_in_yaml_without_the_end_marker_is_read_and_kept(tmp_path: Path, known: str, last: str) -> None:
    """The next read did not see the typed run, and the next write moved it to the rescue folder."""
    storage, older = store_with_two_runs(YamlStorage, tmp_path / "store", last)
    path = storage.path("s1")
    path.write_text(path.read_text().removesuffix("...\n") + TYPED[".yaml"])
    set_manifest(storage.root, known, older)
    before = path.read_bytes()
    opened = YamlStorage(storage.root)
    (info,) = opened.list_sessions()
    session = opened.read("s1")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1", "r2", "typed"]
    assert session.runs[-1].question == "by hand"
    assert (info.runs, info.problem) == (3, None)
    assert [finding for finding in check(storage.root) if finding.kind == "torn"] == []
    assert path.read_bytes() == before
    opened.append("s1", answered("next"))
    assert run_ids(path) == ["r1", "r2", "typed", "next"]
    assert rescued(storage) == []


@pytest.mark.parametrize("first", ["read", "append", "list", "a finish"])
@pytest.mark.parametrize("known", KNOWN)
def test_whatever_is_saved_in_the_middle_of_typing_stays(storage: Storage, known: str, first: str) -> None:
    """A document that was saved with a brace missing was repaired while the editor was open, without a word."""
    kind, root = type(storage), storage.root
    storage, older = store_with_two_runs(kind, root, "unfinished" if first == "a finish" else "finished")
    path, manifest = storage.path("s1"), (root / ".localstore/manifest.jsonl").read_bytes()
    whole = path.read_bytes()
    end = {".json": b"\n  ]\n}\n", ".yaml": b"...\n"}[path.suffix]
    typed = TYPED[path.suffix].encode()
    calls: dict[str, Callable[[Storage], object]] = {
        "read": lambda opened: opened.read("s1"),
        "append": lambda opened: opened.append("s1", answered("next")),
        "a finish": lambda opened: opened.append("s1", answered("r2")),
        "list": lambda opened: opened.list_sessions(),
    }
    moments = [(number, closing) for number in range(1, len(typed) + 1) for closing in (b"", end)]
    step = rounds(12, 3, 1)
    for number, closing in moments[(KNOWN.index(known) + [*calls].index(first)) % step :: step]:
        raw = whole.removesuffix(end) + typed[:number] + closing
        path.write_bytes(raw)
        (root / ".localstore/manifest.jsonl").write_bytes(manifest)
        set_manifest(root, known, older)
        opened = kind(root, durability="relaxed")
        problem: DocumentBroken | None = None
        try:
            calls[first](opened)
        except DocumentBroken as error:
            problem = error
        if problem is not None:
            assert problem.line is not None or "history[" in str(problem), problem
        if problem is not None or first in ("read", "list"):
            assert path.read_bytes() == raw, "not a byte changes"
        else:
            document = oracle.parse(path)
            assert document.run_ids[:2] == ["r1", "r2"]
            assert typed[:number].decode().strip("- \n,")[-20:].split("\n")[-1].strip() in path.read_text()
        torn = [one for one in rescued(storage) if one["reason"] == "torn by a crash"]
        assert torn == []


@pytest.mark.parametrize("moment", ["before the write", "after the write"])
def test_typing_after_a_kill_is_not_taken_for_the_killed_write(storage: Storage, moment: str) -> None:
    """A mark explains the bytes of its own write alone, and not what a person adds to the document since."""
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    old = path.read_bytes()
    storage.append("s1", answered("r2", answer="long " * 2000))
    new = path.read_bytes()
    raw = old if moment == "before the write" else new
    end = {".json": b"\n  ]\n}\n", ".yaml": b"...\n"}[path.suffix]
    typed = raw.removesuffix(end) + TYPED[path.suffix].encode() + (end if path.suffix == ".json" else b"")
    for saved in (typed, raw + TYPED[path.suffix].encode()):
        path.write_bytes(saved)
        leave_mark(storage.root, "s1", old, new)
        opened = type(storage)(storage.root)
        try:
            session = opened.read("s1")
        except DocumentBroken:
            assert saved != typed
            with pytest.raises(DocumentBroken):
                opened.append("s1", answered("next"))
            assert path.read_bytes() == saved
        else:
            assert session is not None
            assert session.runs[-1].run_id == "typed"
            opened.append("s1", answered("next"))
            assert run_ids(path)[-2:] == ["typed", "next"]
        assert [one for one in rescued(storage) if one["reason"] == "torn by a crash"] == []


def test_a_mark_of_another_boot_explains_nothing(tmp_path: Path) -> None:
    """Lock files are not synced: after a power cut, a mark may name a write that was complete long ago."""
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    old = path.read_bytes()
    storage.append("s1", answered("r2", answer="long " * 2000))
    new = path.read_bytes()
    path.write_bytes(new[:-5000])
    leave_mark(storage.root, "s1", old, new)
    forget_boot(storage.root)
    with pytest.raises(DocumentBroken):
        JsonStorage(storage.root).read("s1")
    assert path.read_bytes() == new[:-5000]


def test_a_document_that_is_broken_by_hand_can_be_used_again_once_it_is_fixed(storage: Storage) -> None:
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"r1", b'r"1: [', 1))
    with pytest.raises(DocumentBroken):
        storage.append("s1", answered("r2"))
    path.write_bytes(whole)
    storage.append("s1", answered("r2"))
    assert run_ids(path) == ["r1", "r2"]
    assert json.dumps(rescued(storage)).count("r2") >= 1
