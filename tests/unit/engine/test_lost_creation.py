"""What a power cut leaves of a session that `durability="relaxed"` created and that was not synced."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import DocumentBroken, JsonStorage, SessionNotFound
from localstore.maintenance.check import Check
from tests.crashes import restart_machine
from tests.unit.raw import answered, run_ids

Damage = Callable[[bytes], bytes]
LEFT: dict[str, Damage] = {
    "nothing": lambda _: b"",
    "zeros": lambda raw: bytes(len(raw)),
    "the beginning of the header": lambda raw: raw[:60],
    "the header": lambda raw: raw[: raw.index(b"    {")],
    "the header and zeros": lambda raw: raw[: raw.index(b"    {")] + bytes(300),
    "zeros and the end": lambda raw: bytes(80) + raw[80:],
    "a part of the run": lambda raw: raw[: raw.index(b'"role"')],
}
BLANK = ("nothing", "zeros")


@pytest.fixture(params=[True, False], ids=["with its row", "without its row"])
def left(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Damage], Path]:
    """Return a function that damages a new session, s1, as a power cut does. The session s0 is durable."""

    def damage(change: Damage) -> Path:
        JsonStorage(tmp_path / "store").append("s0", answered("r0"))
        storage = JsonStorage(tmp_path / "store", durability="relaxed")
        storage.append("s1", answered("r1"))
        path = storage.path("s1")
        storage.close()
        path.write_bytes(change(path.read_bytes()))
        if not request.param:
            for manifest in path.parents[2].rglob("manifest.jsonl"):
                lines = manifest.read_bytes().splitlines(keepends=True)
                manifest.write_bytes(b"".join(line for line in lines if b'"s1"' not in line))
        restart_machine(path.parents[2], monkeypatch)
        return path

    return damage


@pytest.mark.parametrize(
    ("left", "how"),
    [(has_row, how) for has_row in (True, False) for how in LEFT if has_row or how not in BLANK],
    indirect=["left"],
)
def test_a_lost_session_is_none_and_can_be_made_again(left: Callable[[Damage], Path], how: str) -> None:
    """An empty or torn file would otherwise keep the session from being read and written until a person removes it."""
    path = left(LEFT[how])
    raw = path.read_bytes()
    storage = JsonStorage(path.parents[2])
    assert storage.read("s1") is None
    assert [info.session_id for info in storage.list_sessions()] == ["s0"]
    assert storage.read("s0") is not None
    assert path.read_bytes() == raw
    findings = [finding for finding in Check(str(path.parents[2])) if finding.path == str(path)]
    assert [finding.advice for finding in findings] == ["The next write to the session removes it."]
    storage.append("s1", answered("r2"))
    assert run_ids(path) == ["r2"]
    session = JsonStorage(path.parents[2]).read("s1")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r2"]
    rescued = [json.loads(file.read_bytes()) for file in (path.parents[2] / ".localstore").glob("rescue/*.json")]
    kept = [one.get("text") for one in rescued]
    assert kept == ([raw.decode()] if raw.strip(b"\0") else [])


@pytest.mark.parametrize(("left", "how"), [(False, how) for how in BLANK], indirect=["left"])
def test_a_file_without_content_is_not_taken_for_lost_unless_a_row_says_so(
    left: Callable[[Damage], Path], how: str
) -> None:
    """A sync tool makes such a file in place of a document. A new session in its place would replace the document."""
    path = left(LEFT[how])
    raw = path.read_bytes()
    storage = JsonStorage(path.parents[2])
    for call in (storage.read, lambda session_id: storage.append(session_id, answered("r2"))):
        with pytest.raises(DocumentBroken, match="sync tool") as caught:
            call("s1")
        assert caught.value.path == str(path)
    (finding,) = [finding for finding in Check(str(path.parents[2])) if finding.path == str(path)]
    assert "sync tool" in finding.advice
    assert list(storage.unreadable_files()) == [path]
    assert path.read_bytes() == raw
    path.unlink()
    storage.append("s1", answered("r2"))
    assert run_ids(path) == ["r2"]


def test_what_is_complete_of_a_new_session_is_read(left: Callable[[Damage], Path]) -> None:
    path = left(lambda raw: raw)
    session = JsonStorage(path.parents[2]).read("s1")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1"]


def test_a_write_that_needs_the_session_leaves_nothing_of_it_in_the_manifest(left: Callable[[Damage], Path]) -> None:
    path = left(LEFT["zeros and the end"])
    storage = JsonStorage(path.parents[2])
    with pytest.raises(SessionNotFound):
        storage.update("s1", name="trip")
    assert not path.exists()
    assert [finding.problem for finding in Check(str(path.parents[2]))] == ["was set aside"]


@pytest.mark.parametrize("change", [lambda raw: raw.replace(b'"kind": ', b'"kind" '), lambda raw: raw[5:]])
def test_a_document_that_a_person_broke_is_not_taken_for_a_lost_one(
    left: Callable[[Damage], Path], change: Damage
) -> None:
    """A person leaves no zeros, and does not cut the end off."""
    path = left(change)
    raw = path.read_bytes()
    storage = JsonStorage(path.parents[2])
    with pytest.raises(DocumentBroken):
        storage.read("s1")
    with pytest.raises(DocumentBroken):
        storage.append("s1", answered("r2"))
    assert path.read_bytes() == raw


def test_without_a_restart_nothing_is_taken_for_lost(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path / "store", durability="relaxed")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    path.write_bytes(b"")
    with pytest.raises(DocumentBroken):
        JsonStorage(tmp_path / "store").read("s1")
    assert path.read_bytes() == b""
