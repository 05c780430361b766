"""Files change behind our back in random ways, between random calls of storages in several processes.

After each step, the answers are those of the raw files. No call of ours loses a run, or changes an unreadable document.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from localstore import JsonStorage, LocalstoreError, YamlStorage
from localstore.maintenance.check import check
from tests import oracle
from tests.crash.writer import STORAGES
from tests.effort import ci_only, rounds
from tests.stateful import by_hand, observer, ways
from tests.stateful.observer import OtherProcess
from tests.stateful.ways import OTHER, TRIP, WAYS, WORDS, Place, Way, whole

Storage = JsonStorage | YamlStorage
pytestmark = [ci_only, pytest.mark.filterwarnings("ignore:Session .* has .* not read")]
IDS = (TRIP, OTHER, "third")
STEPS = 25


@pytest.fixture(scope="module")
def other_process() -> Iterator[OtherProcess]:
    with OtherProcess() as process:
        yield process


class Story:
    """One store, what happened to it so far, and the documents that somebody has broken."""

    def __init__(self, root: Path, suffix: str, seed: int, other_process: OtherProcess) -> None:
        self.place = ways.make(root, suffix)
        self.root, self.suffix, self.chance = root, suffix, random.Random(seed)
        self.handles: list[Storage] = [STORAGES[suffix](root), STORAGES[suffix](root, durability="relaxed")]
        self.handles[0].append("third", ways.run("t1", "weather"))
        self.other_process = other_process
        fitting = [way for way in WAYS if suffix in way.suffixes and way.session_id == TRIP]
        self.ways = [way for way in fitting if way.name != "git checkout"]  # it needs a repository of its own
        self.broken: dict[str, tuple[Path, bytes]] = {}
        """By session: the path of its document, and the bytes that mend it."""
        self.told: list[str] = []
        self.count = 0

    def step(self) -> None:
        if self.broken and self.chance.random() < 0.3:
            self._mend(self.chance.choice(sorted(self.broken)))
        elif self.chance.random() < 0.5:
            self._change()
        else:
            self._call()

    def _mend(self, session_id: str) -> None:
        path, raw = self.broken.pop(session_id)
        self.told.append(f"mend {session_id}")
        path.parent.mkdir(exist_ok=True)
        by_hand.write_by_rename(path, raw)
        path.with_name(f".{path.name}.icloud").unlink(missing_ok=True)

    def _change(self) -> None:
        """Somebody changes the document of one session that can be read."""
        session_id = self.chance.choice([one for one in IDS if one not in self.broken] or IDS)
        way: Way = self.chance.choice(self.ways)
        with contextlib.suppress(LookupError):  # there is none
            path = by_hand.locate(self.root, session_id)
            raw = path.read_bytes()
            self.told.append(f"{way.name}: {session_id}")
            with contextlib.suppress(AssertionError, ValueError, LookupError, OSError):  # it does not fit this document
                assert way.name != "evicted" or path.stem == session_id  # otherwise the placeholder says another name
                way.change(Place(self.root, self.suffix, path))
            for one in [one for one, (place, _) in self.broken.items() if whole(place) is not None]:
                del self.broken[one]  # another document got its name
            is_placeholder = path.with_name(f".{path.name}.icloud").exists()
            if whole(path) is None and (path.exists() or is_placeholder):
                self.broken[session_id] = path, raw

    def _call(self) -> None:
        """One of the storages writes. What it could not do, it says."""
        session_id, before = self.chance.choice(IDS), _kept(self.root)
        unreadable = {path: path.read_bytes() for path, _ in self.broken.values() if path.exists()}
        self.count += 1
        run_id, word = f"n{self.count}", self.chance.choice(WORDS)
        storage = self.chance.choice(self.handles)
        what = self.chance.choice(["append", "append", "append elsewhere", "name", "rate", "trash", "check", "merge"])
        self.told.append(f"{what}: {session_id}")
        error: object = None
        try:
            match what:
                case "append":
                    storage.append(session_id, ways.run(run_id, word), user_id=None)
                case "append elsewhere":
                    error = self.other_process.append(self.root, self.suffix, session_id, run_id, f"about {word}")
                case "name":
                    storage.update(session_id, name=f"name {self.count}")
                case "rate":
                    session = storage.read(session_id)
                    if session is not None and session.runs:
                        storage.rate(session_id, session.runs[0].run_id, self.chance.choice(["good", "bad"]))
                case "trash":
                    error = "; ".join(map(str, storage.trash(session_id).problems.values()))
                case "merge":
                    storage.merge_copies()
                case _:
                    list(check(storage))
        except LocalstoreError as caught:
            error = caught
        after = _kept(self.root)
        assert before <= after, f"lost: {sorted(before - after)}"
        if what.startswith("append") and error is None:
            assert any(key[:2] == (session_id, run_id) for key in after), "acknowledged, and not there"
        trashed = [path.read_bytes() for path in oracle.trashed(self.root)]
        for one, (path, _) in list(self.broken.items()):
            if path in unreadable and not path.exists():
                assert unreadable[path] in trashed, f"{path} is lost"
                del self.broken[one]
            elif path in unreadable:
                assert path.read_bytes() == unreadable[path], f"{path} was changed"
        if error:
            assert session_id in self.broken or "There is no session" in str(error) or "is in the way" in str(error), (
                error
            )

    def judge(self) -> None:
        seen = observer.look(self.chance.choice(self.handles), IDS, WORDS)
        assert seen == self.other_process.look(self.root, self.suffix, IDS, WORDS)
        files = ways.expected(self.root)
        for session_id, told in seen["read"].items():
            if session_id in self.broken:  # a copy may still be readable
                assert isinstance(told, str) or session_id in files, f"{session_id} is broken, and read as {told}"
                files.pop(session_id, None)
            elif session_id not in files:
                assert told is None
            else:
                assert told == ways.texts(files[session_id])
        listed = {one: row for one, row in seen["listed"].items() if row["problem"] is None and one not in self.broken}
        assert {session_id: (row["path"], row["runs"]) for session_id, row in listed.items()} == {
            session_id: (str(document.path), len(document.run_ids)) for session_id, document in files.items()
        }
        for word, found in seen["found"].items():
            with_word = {one for one, document in files.items() if word in str(document.history)}
            assert set(found) - self.broken.keys() == with_word


def _kept(root: Path) -> set[tuple[str, ...]]:
    """Every run that is in a document, in the trash or in rescue: session, id and texts."""
    kept: set[tuple[str, ...]] = set()
    aside = root.parent / "aside"
    aside.mkdir(exist_ok=True)
    for number, one in enumerate(oracle.rescued(root)):
        if "entry" in one:
            entry = one["entry"]
            kept.add((one["session_id"], entry.get("run_id"), json.dumps(entry.get("messages"), sort_keys=True)))
        elif "text" in one:
            (aside / f"{number}{Path(one['document']).suffix}").write_text(one["text"])
    for copy in (root / ".localstore" / "rescue").glob("*.copy"):
        suffix = ".yaml" if ".yaml." in copy.name else ".json"
        (aside / f"{copy.name}{suffix}").write_bytes(copy.read_bytes())
    for path in [*oracle.document_paths(root), *oracle.trashed(root), *aside.iterdir()]:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            document = oracle.parse(path)
            for entry in document.history:
                if entry["type"] == "run":
                    texts = json.dumps(entry.get("messages"), sort_keys=True)
                    kept.add((document.header["session_id"], entry["run_id"], texts))
    return kept


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@pytest.mark.parametrize("seed", range(rounds(1, 8, 1000)))
def test_whatever_happens_to_the_files_the_answers_are_theirs(
    seed: int, suffix: str, tmp_path: Path, other_process: OtherProcess
) -> None:
    story = Story(tmp_path / "store", suffix, seed, other_process)
    try:
        for _ in range(STEPS):
            story.step()
            story.judge()
    except AssertionError as error:
        raise AssertionError("\n".join([*story.told, str(error)])) from error
    oracle.assert_sound(story.root)
