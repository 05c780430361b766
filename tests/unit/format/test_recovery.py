"""After a crash, acknowledged entries are kept, no partial entry is read, and no bytes are thrown away.

The tests make the states after a crash by hand: a part of the bytes of one append (or of finishing a run) reaches the
file, and the manifest's line does not. After a power cut, the machine is restarted. A killed writer leaves its mark.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from localstore import DocumentBroken, JsonStorage, LocalstoreError, Run, YamlStorage
from localstore.disk import boot
from localstore.format.document import LAYOUTS
from localstore.format.in_place import SECTOR
from localstore.format.recovery import PowerCut, RecordedState, RecoveredDocument, parse_or_recover
from tests.crashes import in_another_boot, restart_machine
from tests.effort import sampled
from tests.unit.raw import Storage, answered, edit, parse, question, rescued, run_ids

BLANK = b"\0 \r\n,"
"""The bytes between entries, and the zeros that a disk leaves in place of lost bytes."""


@pytest.fixture
def restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is older than the boot of the machine."""
    monkeypatch.setattr(boot, "started_at", lambda: time.time_ns() + 10**9)


class Crash:
    """A store before and after a write that a crash interrupts, and the states in between.

    With the fixture `restarted`, the crash is a power cut.
    """

    def __init__(self, storage: Storage, first: list[Run], last: Run) -> None:
        for run in first:
            storage.append("s1", run, user_id="alice")
        self.storage = storage
        self.path = storage.path("s1")
        self.manifest = storage.root / ".localstore/manifest.jsonl"
        self.old, self.line = self.path.read_bytes(), self.manifest.read_bytes()
        storage.append("s1", last)
        self.new = self.path.read_bytes()
        self.same = next(at for at, (a, b) in enumerate(zip(self.old, self.new, strict=False)) if a != b)

    def states(self) -> Iterator[bytes]:
        """Yield what the file may hold: the write cut off at every byte, and sectors reordered or lost by the disk."""
        old, new, size = self.old, self.new, len(self.old)
        for end in range(size, len(new) + 1):
            yield old + new[size:end]  # cut off beyond the old end
        for end in {self.same, *range(self.same // 512 * 512 + 512, size, 512), size}:
            yield new[:end] + old[end:] + new[size:]  # the sectors of the overlap are old and new
        for end in range(size, len(new)):
            yield new[:end]  # the new length did not reach the disk
        for end in range(self.same, len(new), 5):
            yield new[:end] + b"\0" * (len(new) - end)  # the length did, the bytes did not
            yield old[: self.same] + b"\0" * (end - self.same) + new[end:]  # the later bytes did, the earlier ones not

    def set(self, raw: bytes) -> Storage:
        """Put the file into this state, and open the store as a new process does."""
        self.path.write_bytes(raw)
        self.manifest.write_bytes(in_another_boot(self.line))
        shutil.rmtree(self.storage.root / ".localstore" / "rescue", ignore_errors=True)
        return type(self.storage)(self.storage.root, durability="relaxed")

    def kept(self) -> str:
        """Return all text that was set aside."""
        return "".join(record["text"] for record in rescued(self.storage))


@pytest.mark.usefixtures("restarted")
def test_an_append_cut_off_anywhere_loses_nothing(storage: Storage) -> None:
    last = question("torn", "the last\nquestion", session_state={"n": 1})
    crash = Crash(storage, [answered("r1"), answered("r2")], last)
    for raw in sampled(crash.states(), 5):
        opened = crash.set(raw)
        before = opened.read("s1")
        assert before is not None
        assert crash.path.read_bytes() == raw, "a read changes nothing"
        read = {run.run_id: run for run in before.runs}
        assert list(read) in (["r1", "r2"], ["r1", "r2", "torn"])
        if "torn" in read:
            assert read["torn"].messages == last.messages
            assert read["torn"].status == "unfinished" or read["torn"] == last
        opened.append("s1", question("next"))
        ids = run_ids(crash.path)
        assert ids in (["r1", "r2", "next"], ["r1", "r2", "torn", "next"])
        assert ("torn" in ids) == ("torn" in read)
        rest = raw[crash.same :].strip(BLANK)
        if "torn" not in ids and rest not in (b"", crash.old[crash.same :].strip(BLANK)):
            assert rest.decode().replace("\0", "") in crash.kept().replace("\0", ""), raw
        again = type(storage)(storage.root).read("s1")
        assert again is not None
        assert [run.run_id for run in again.runs] == ids


@pytest.mark.parametrize("status", ["completed", "unfinished"])
@pytest.mark.parametrize("border", [0, 2, 7])
def test_several_entries_that_are_cut_off_anywhere_are_there_together_or_not_at_all(
    storage: Storage, status: Literal["completed", "unfinished"], border: int
) -> None:
    """They could not be added in place: recovery kept each entry that was complete."""
    storage.append("s1", question("r1", status=status))
    path = storage.path("s1")
    length = -path.stat().st_size % SECTOR + border  # so many bytes of the old end are behind the border of a sector
    edit(path, "hello", "hello" + "x" * length)
    if border == 7 and path.suffix == ".yaml":
        edit(path, "...\n", "# " + "x" * 50 + "\n...\n")
    old = path.read_bytes()
    storage.append_many("s1", [answered("a", "x" * 600), answered("b"), answered("c")])
    new, layout = path.read_bytes(), LAYOUTS[path.suffix]
    size, start = len(old), len(old) - len(layout.end)
    assert new.startswith(old[:start])
    states = []
    for at in sampled(range(size, len(new) + 1), 37, 5):  # not synced yet: the old end is intact
        states += [(old + new[size:at], 1), (old + new[size:at] + bytes(len(new) - at), 1)]
        states += [(old + bytes(at - size) + new[at:], 1)] if at < len(new) else []
    for at in range(start, size + 1):  # synced: the bytes of the overlap are zero, or old and new by sectors
        sides = [(bytes(at - start), one[at:size]) for one in (old, new)]
        sides += [(one[start:at], bytes(size - at)) for one in (old, new)]
        sides += [(old[start:at], new[at:size]), (new[start:at], old[at:size])] if at % SECTOR == 0 else []
        states += [(old[:start] + a + b + new[size:], 1 if a + b == old[start:] else 4) for a, b in sides]
    known = [None, *(RecordedState("s1", size, 1, status == "unfinished", may_lack) for may_lack in (False, True))]
    for raw, count in states:
        for record in known:
            found = parse_or_recover(raw, layout, path, (), PowerCut(record))
            parsed = found.parsed if isinstance(found, RecoveredDocument) else found
            assert len(parsed.entries) == count, raw[start:]
            if isinstance(found, RecoveredDocument):
                kept = b"".join(data for _, data in found.rest)
                assert (b"" if count == 4 else raw[size:].strip(b"\0")) in kept


@pytest.mark.usefixtures("restarted")
def test_a_finish_cut_off_anywhere_leaves_the_question_or_the_complete_answer(storage: Storage) -> None:
    asked = question("r2", "the question", status="unfinished")
    last = answered("r2", "the question", "an answer\nof two lines", model="m", created_at=asked.created_at)
    crash = Crash(storage, [answered("r1"), asked], last)
    outcomes = set()
    for raw in sampled(crash.states(), 5):
        opened = crash.set(raw)
        before = opened.read("s1")
        assert before is not None
        assert [run.run_id for run in before.runs] == ["r1", "r2"]
        run = before.runs[-1]
        assert run.question == "the question"
        assert run.status == "completed" or "an answer\nof two lines".startswith(run.answer), raw
        assert run.status == "unfinished" or run == last
        outcomes.add(run.status)
        opened.append("s1", last)
        assert run_ids(crash.path) == ["r1", "r2"]
        assert parse(crash.path)["history"][-1]["status"] == "completed"
    assert outcomes == {"unfinished", "completed"}


@pytest.mark.usefixtures("restarted")
@pytest.mark.parametrize("known", ["the last line", "an older line", "nothing"])
def test_a_torn_document_is_listed_as_it_is_read(storage: Storage, known: str) -> None:
    """After a power cut that lost lines of the manifest and tore an append, `list_sessions` counted fewer runs than
    `read` returned, without a problem, until the next write to that session."""
    storage.append("s1", answered("r0"), user_id="alice")
    older = (storage.root / ".localstore/manifest.jsonl").read_bytes()
    crash = Crash(storage, [answered("r1"), answered("r2")], question("torn", "x" * 100))
    for raw in (crash.old + crash.new[len(crash.old) : -60], crash.new[:-60], crash.old + bytes(100)):
        opened = crash.set(raw)
        if known == "an older line":
            crash.manifest.write_bytes(in_another_boot(older))
        elif known == "nothing":
            crash.manifest.unlink()
            opened = type(storage)(storage.root)
        for _ in range(2):
            (info,) = opened.list_sessions()
            session = opened.read("s1")
            assert session is not None
            assert (info.session_id, info.user_id, info.runs) == ("s1", "alice", len(session.runs))
            assert len(session.runs) >= 3
            assert info.problem is None, "a reader sees past what was torn"
        assert crash.path.read_bytes() == raw
        opened.append("s1", question("next"))
        (after,) = opened.list_sessions()
        assert (after.runs, after.problem) == (info.runs + 1, None)


@pytest.mark.usefixtures("restarted")
def test_an_entry_after_a_torn_one_stays(storage: Storage) -> None:
    crash = Crash(storage, [answered("r1")], question("torn", "lost?"))
    between = len(crash.new)
    storage.append("s1", answered("r3"))
    storage.append("s1", answered("r4"))
    raw = crash.path.read_bytes()
    for start, end in ((crash.same, between - 40), (crash.same + 60, between - 20)):
        opened = crash.set(raw[:start] + b"\0" * (end - start) + raw[end:])
        opened.append("s1", question("next"))
        assert run_ids(crash.path) == ["r1", "r3", "r4", "next"]
        assert "lost?" in crash.kept() or "lost?" not in raw[end:].decode()


@pytest.mark.usefixtures("restarted")
def test_the_rescue_file_is_synced_before_the_document_changes(storage: Storage, disk: Any) -> None:
    crash = Crash(storage, [answered("r1")], question("torn"))
    opened = crash.set(crash.new[:-30])
    disk.forget()
    opened.append("s1", question("next"))
    first, second, *_ = disk.of("replace", "truncate", "write", name=".json") + disk.of("replace", name=".yaml")
    assert (first.operation, ".localstore/rescue/" in first.path) == ("replace", True)
    assert (second.operation, second.path) == ("replace", str(crash.path)), "never cut in place"


def test_runs_that_were_not_synced_may_be_missing_after_another_boot(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    relaxed = type(storage)(storage.root, durability="relaxed")
    for number in range(4):
        relaxed.append("s1", answered(f"r{number}", "x" * 200))
    path = storage.path("s1")
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.find(b"r3")] + b"\0" * (len(raw) - raw.find(b"r3")))
    with pytest.raises(DocumentBroken):  # in this boot no crash explains that
        type(storage)(storage.root).read("s1")
    restart_machine(storage.root, monkeypatch)
    opened = type(storage)(storage.root)
    session = opened.read("s1")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r0", "r1", "r2"]
    opened.append("s1", question("next"))
    assert run_ids(path) == ["r0", "r1", "r2", "next"]


@pytest.mark.usefixtures("restarted")
@pytest.mark.parametrize("known", [True, False], ids=["manifest", "no manifest"])
def test_a_torn_document_is_recovered_if_its_closing_is_missing(tmp_path: Path, known: bool) -> None:
    """It may have been acknowledged: the question stays, as the unfinished run that it is."""
    storage = JsonStorage(tmp_path / "store")
    crash = Crash(storage, [answered("r1")], question("torn"))
    opened = crash.set(crash.new[:-30])
    if not known:
        crash.manifest.unlink()
    opened.append("s1", question("next"))
    assert run_ids(crash.path) == ["r1", "torn", "next"]


def test_another_key_in_place_of_the_status_of_an_unfinished_run_is_an_edit(tmp_path: Path) -> None:
    """Regression: valid YAML of the same size was mistaken for an interrupted write."""
    storage = YamlStorage(tmp_path / "store")
    storage.append("s1", question("r1", status="unfinished"))
    path = storage.path("s1")
    typed = path.read_bytes().replace(b"  status: unfinished", b"  stands: unfinished")
    path.write_bytes(typed)
    session = storage.read("s1")
    assert session is not None
    assert session.runs[0].model_extra == {"stands": "unfinished"}
    storage.append("s1", answered("r2"))
    assert b"  stands: unfinished" in path.read_bytes()


def test_yaml_without_its_end_marker_and_without_new_entries_is_an_edit(tmp_path: Path) -> None:
    storage = YamlStorage(tmp_path / "store")
    crash = Crash(storage, [answered("r1"), answered("r2")], answered("r3"))
    opened = type(storage)(storage.root)
    assert opened.read("s1") is not None
    edit(crash.path, "\n...\n", "\n")
    opened.append("s1", question("next"))
    assert run_ids(crash.path) == ["r1", "r2", "r3", "next"]
    assert rescued(storage) == []


def person_breaks(what: str, raw: bytes) -> bytes:
    first, last = raw.find(b"first"), raw.rfind(b"last")
    match what:
        case "the first entry":
            return raw[: first - 3] + b'"[x' + raw[first:]
        case "the last entry":
            return raw[: last - 3] + b'"[x' + raw[last:]
        case "the header":
            return raw.replace(b"s1", b'"[s1', 1)
        case "the first entry and the tail":
            return raw[: first - 3] + b'"[x' + raw[first:-4]
        case "all by emptying it":
            return b""
        case _:
            return b"just a text: [\n"


@pytest.mark.parametrize(
    "what",
    [
        "the first entry",
        "the last entry",
        "the header",
        "the first entry and the tail",
        "all by emptying it",
        "all",
    ],
)
def test_a_document_that_a_person_broke_is_never_recovered(storage: Storage, what: str) -> None:
    for name in ("first", "middle", "last"):
        storage.append("s1", answered(name), user_id="alice")
    path = storage.path("s1")
    raw = person_breaks(what, path.read_bytes())
    path.write_bytes(raw)
    calls: list[Callable[[Storage], object]] = [
        lambda opened: opened.read("s1"),
        lambda opened: opened.read("s1", last_runs=1),
        lambda opened: opened.append("s1", question("next")),
        lambda opened: opened.update("s1", name="n"),
    ]
    for call in calls:
        with pytest.raises(LocalstoreError) as caught:
            call(type(storage)(storage.root))
        assert isinstance(caught.value, DocumentBroken), caught.value
        assert caught.value.path == str(path)
        assert path.read_bytes() == raw
    (record,) = rescued(storage)
    assert record["entry"]["run_id"] == "next"


def _without_lines(crash: Crash, how: str) -> None:
    """Remove the manifest's lines that a power cut may lose because they were not synced: all, or the newest one."""
    if how == "no manifest":
        crash.manifest.unlink()
        return
    crash.manifest.write_bytes(in_another_boot(b"".join(crash.line.splitlines(keepends=True)[:-1])))


@pytest.mark.usefixtures("restarted")
@pytest.mark.parametrize("how", ["no manifest", "a line of another boot"])
@pytest.mark.parametrize("width", [1, 480])
def test_a_question_stays_when_the_power_fails_while_its_run_is_finished(
    storage: Storage, how: str, width: int
) -> None:
    """Regression: the line that recorded the question was not on the disk yet. The torn run was mistaken for a person's
    edit, or went to rescue with its question, which had been acknowledged."""
    asked = question("r2", "the question" * width, status="unfinished")
    last = answered("r2", "the question" * width, "an answer\nof two lines", created_at=asked.created_at)
    crash = Crash(storage, [answered("r1"), asked], last)
    old, new, size = crash.old, crash.new, len(crash.old)
    border = size // 512 * 512
    states = [
        old + new[size:],
        new[:size],
        new[: size + 10],
        new[:size] + bytes(len(new) - size),
        old + bytes(len(new) - size),
        old[: crash.same] + bytes(size - crash.same) + new[size:],
        *([new[:border] + old[border:], old[:border] + new[border:]] if border > crash.same else []),
    ]
    for raw in states:
        crash.set(raw)
        _without_lines(crash, how)
        opened = type(storage)(storage.root)
        session = opened.read("s1")
        assert session is not None, raw
        assert [run.run_id for run in session.runs] == ["r1", "r2"], raw
        assert session.runs[1].question == "the question" * width
        assert (session.runs[1].status, session.runs[1].answer) in (
            ("unfinished", ""),
            ("unfinished", "an answer\nof two lines"),  # all of it had arrived, but how it ended
        ), raw
        opened.append("s1", last)
        assert parse(crash.path)["history"][-1]["status"] == "completed"


@pytest.mark.usefixtures("restarted")
@pytest.mark.parametrize("how", ["no manifest", "a line of another boot"])
def test_an_edit_is_not_mistaken_for_a_power_cut_without_a_manifest_line(storage: Storage, how: str) -> None:
    """Text that a person typed is not set aside only because the machine was restarted."""
    crash = Crash(storage, [answered("r1"), answered("r2")], answered("r3", "what a person changes"))
    text = crash.new.decode()
    mistakes = [text.replace("what a person changes", 'what" a: [person changes'), text.replace("r3", 'r"3: ]')]
    if crash.path.suffix == ".json":
        mistakes += [text.replace('"type"', 'type"'), text.replace("    },\n", "    }\n", 1), text + "oops\n"]
    for mistake in mistakes:
        crash.set(mistake.encode())
        _without_lines(crash, how)
        opened = type(storage)(storage.root)
        with pytest.raises(DocumentBroken):
            opened.append("s1", question("next"))
        assert crash.path.read_bytes() == mistake.encode()


@pytest.mark.usefixtures("restarted")
def test_yaml_that_matches_the_manifest_but_was_cut_is_not_trusted(tmp_path: Path) -> None:
    """Regression: a power cut kept the size and times of the file, and half of the overwritten bytes. Half of a run was
    read, because YAML parses wherever it is cut."""
    storage = YamlStorage(tmp_path / "store")
    asked = question("r2", "the question", status="unfinished")
    crash = Crash(storage, [answered("r1"), asked], answered("r2", "the question", created_at=asked.created_at))
    status = crash.path.stat()
    opened = crash.set(crash.new[: len(crash.old)])
    now = crash.path.stat()
    told = [status.st_mtime_ns, status.st_ctime_ns]
    row = json.loads(in_another_boot(crash.line.splitlines()[-1]))
    row["fingerprint"] = [len(crash.old), now.st_mtime_ns, now.st_ctime_ns, now.st_ino]
    assert told != row["fingerprint"][1:3]
    with crash.manifest.open("ab") as file:
        file.write(json.dumps(row).encode() + b"\n")
    for last_runs in (None, 1):
        session = opened.read("s1", last_runs=last_runs)
        assert session is not None
        assert (session.runs[-1].status, len(session.runs[-1].messages)) == ("unfinished", 1)
