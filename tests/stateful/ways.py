"""Every way in which a file of a store changes without localstore: the rows of the table in `tests/README.md`.

Another way joins by one line in `WAYS` and one in the table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from localstore import Message, Run
from tests import oracle
from tests.crash.writer import STORAGES
from tests.stateful import by_hand

TRIP, OTHER = "trip", "other"
CAFE = "café"
"""A session whose id is no file name. Its file may get the id as its name, in either form of Unicode."""
WORDS = ("packing", "tickets", "weather", "Graz", "evening")
"""What to search for: a word of each run, and of what is typed."""


def run(run_id: str, word: str, minute: int = 10) -> Run:
    return Run(
        run_id=run_id,
        created_at=f"2026-11-22T07:{minute:02d}:00.000Z",
        messages=[Message(role="user", content=f"about {word}"), Message(role="assistant", content="yes")],
        status="completed",
    )


@dataclass(frozen=True)
class Place:
    """A store with three sessions, and the document of the one that changes."""

    root: Path
    suffix: str
    path: Path

    @property
    def raw(self) -> bytes:
        return self.path.read_bytes()

    @property
    def other(self) -> Path:
        return by_hand.locate(self.root, OTHER)

    def beside(self, name: str) -> Path:
        return self.path.with_name(name)


def make(root: Path, suffix: str, session_id: str = TRIP) -> Place:
    """A store in which the session to change has two runs, and another one has one run."""
    storage = STORAGES[suffix](root)
    storage.append(session_id, run("r1", WORDS[0], 10), user_id="alice")
    storage.append(session_id, run("r2", WORDS[1], 11))
    storage.append(OTHER, run("o1", WORDS[2], 12))
    return Place(root, suffix, storage.path(session_id))


# What is done


def _typed(raw: bytes, text: bytes = b"a hotel in Graz") -> bytes:
    """The text with another word in one of its runs."""
    words = [word.encode() for word in WORDS if word != "Graz" and word.encode() in raw]
    assert words
    return raw.replace(words[0], text, 1)


def _in_place(place: Place) -> None:
    by_hand.write_in_place(place.path, _typed(place.raw))


def _same_size(place: Place) -> None:
    by_hand.write_in_place(place.path, _typed(place.raw, b"in Graz"))


def _renamed_over(place: Place) -> None:
    by_hand.write_by_rename(place.path, _typed(place.raw))


def _moved_aside(place: Place) -> None:
    """As an editor that keeps a backup: the old file is renamed, and the new one gets its name."""
    raw = place.raw
    place.path.rename(place.beside(f"{place.path.name}~"))
    place.path.write_bytes(_typed(raw))


def _typed_run(place: Place) -> None:
    """One more run, typed at the end of the file."""
    raw = place.raw
    if place.suffix == ".json":
        entry = b'{"type": "run", "run_id": "typed", "created_at": "2026-11-22T07:20:00.000Z"}'
        by_hand.write_in_place(place.path, raw.replace(b"\n    }\n  ]\n}\n", b"\n    },\n    " + entry + b"\n  ]\n}\n"))
    else:
        entry = b'- type: run\n  run_id: typed\n  created_at: "2026-11-22T07:20:00.000Z"\n'
        by_hand.write_in_place(place.path, raw.replace(b"\n...\n", b"\n" + entry + b"...\n"))


def _half_saved(place: Place) -> None:
    by_hand.write_in_place(place.path, place.raw[: place.raw.rindex(b"role") + 2])


def _half_saved_yaml(place: Place) -> None:
    """YAML that is cut off between two lines may parse."""
    by_hand.write_in_place(place.path, place.raw[: place.raw.rindex(b"\n  status") + 1])


def _half_saved_and_then_whole(place: Place) -> None:
    raw = place.raw
    _half_saved(place)
    by_hand.write_in_place(place.path, _typed(raw))


def _emptied(place: Place) -> None:
    by_hand.write_in_place(place.path, b"")


def _zeros(place: Place) -> None:
    by_hand.write_in_place(place.path, bytes(len(place.raw)))


def _evicted(place: Place) -> None:
    """As iCloud does to save space: the file is gone, and a placeholder names it."""
    place.path.unlink()
    place.beside(f".{place.path.name}.icloud").write_bytes(b"bplist00")


def _conflict_copy(name: str) -> Callable[[Place], None]:
    """A sync tool puts the version of another machine, which is newer, beside the document."""

    def change(place: Place) -> None:
        newer = place.raw.replace(b"packing", b"a hotel in Graz").replace(b"07:11", b"09:11").replace(b"r2", b"r9")
        place.beside(f"{name}{place.suffix}").write_bytes(newer)

    return change


def _arriving(place: Place) -> None:
    """rsync is bringing another version of the document."""
    place.beside(f".{place.path.name}.Xy12Zz").write_bytes(_typed(place.raw)[:-9])


def _moved(place: Place) -> None:
    by_hand.move(place.path, place.root / "sessions" / "2020-01" / place.path.name)


def _renamed(place: Place) -> None:
    place.path.rename(place.beside(f"my journey{place.suffix}"))


def _month_renamed(place: Place) -> None:
    place.path.parent.rename(place.path.parent.with_name("2020-01"))


def _upper_case_name(place: Place) -> None:
    """As a file system does that does not tell upper from lower case."""
    place.path.rename(place.beside(f"Trip{place.suffix}"))


def _upper_case_ending(place: Place) -> None:
    place.path.rename(place.beside(f"trip{place.suffix.upper()}"))


def _upper_case_session(place: Place) -> None:
    """Another session, whose id differs only in case, with a file named as its id."""
    place.beside(f"Trip{place.suffix}").write_bytes(by_hand.rename_session(place.raw, place.suffix, "Trip"))


def _named(form: Literal["NFC", "NFD"]) -> Callable[[Place], None]:
    def rename(place: Place) -> None:
        place.path.rename(place.beside(unicodedata.normalize(form, CAFE) + place.suffix))

    return rename


def _deleted(place: Place) -> None:
    place.path.unlink()


def _made_again(place: Place) -> None:
    raw = place.raw
    place.path.unlink()
    place.path.write_bytes(_typed(raw))


def _swapped(place: Place) -> None:
    other, aside = place.other, place.beside("aside")
    place.path.rename(aside)
    other.rename(place.path)
    aside.rename(other)


def _overwritten(place: Place) -> None:
    """Another session's document, saved under the name of this one."""
    by_hand.write_by_rename(place.path, by_hand.rename_session(place.raw, place.suffix, "strange"))


def _other_id(place: Place) -> None:
    by_hand.write_in_place(place.path, by_hand.rename_session(place.raw, place.suffix, "strange"))


def _named_in_both_forms(place: Place) -> None:
    """A Mac and another machine both have the file: it arrives under two names that look alike."""
    raw = place.raw
    place.path.rename(place.beside(unicodedata.normalize("NFC", CAFE) + place.suffix))
    place.beside(unicodedata.normalize("NFD", CAFE) + place.suffix).write_bytes(raw)


def _git(folder: Path, *args: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", *names, *args], cwd=folder, env=env, check=True, capture_output=True)  # noqa: S607


def _checked_out(place: Place) -> None:
    """A commit from before the last edit is checked out."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    _git(place.root, "init", "-q")
    _git(place.root, "add", "-A")
    _git(place.root, "commit", "-qm", "first")
    by_hand.write_in_place(place.path, _typed(place.raw))
    _git(place.root, "commit", "-qam", "second")
    _git(place.root, "checkout", "-q", "HEAD~1")


def _restored(place: Place) -> None:
    """An older file comes back from a backup, with its old time."""
    by_hand.write_by_rename(place.path, _typed(place.raw))
    os.utime(place.path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))


def _time_set_back(place: Place) -> None:
    """An edit of the same size, after which the file gets its old time again."""
    status = place.path.stat()
    _same_size(place)
    os.utime(place.path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _whole_seconds(place: Place) -> None:
    """As FAT and some sync tools do: the time of an edit of the same size loses what is below a second."""
    _same_size(place)
    second = place.path.stat().st_mtime_ns // 1_000_000_000 * 1_000_000_000
    os.utime(place.path, ns=(second, second))


def _future(place: Place) -> None:
    _same_size(place)
    os.utime(place.path, ns=(4_000_000_000_000_000_000, 4_000_000_000_000_000_000))


def _mode(mode: int) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        place.path.chmod(mode)

    return change


def _conflict_of_git(place: Place) -> None:
    line = b'  "user_id": "alice",\n' if place.suffix == ".json" else b"user_id: alice\n"
    theirs = line.replace(b"alice", b"bob")
    assert line in place.raw
    marked = b"<<<<<<< HEAD\n" + line + b"=======\n" + theirs + b">>>>>>> theirs\n"
    by_hand.write_in_place(place.path, place.raw.replace(line, marked))


def _laid_out(layout: Callable[[bytes], bytes]) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        by_hand.write_by_rename(place.path, layout(place.raw))

    return change


Outcome = Literal["read", "refused", "gone", "taken", "placeholder"]
"""What becomes of the session. Read: what the file says now. Refused: an error names the file, and no byte changes.
Gone: there is no such session, and an append begins a new one. Taken: there is none, and an append is refused,
because its file belongs to another session. Placeholder: the file has not arrived; as refused."""


@dataclass(frozen=True)
class Way:
    """One row of the table."""

    name: str
    change: Callable[[Place], None]
    outcome: Outcome = "read"
    session_id: str = TRIP
    suffixes: tuple[str, ...] = (".json", ".yaml")


WAYS = [
    Way("edited in place", _in_place),
    Way("edited in place, same size", _same_size),
    Way("renamed over", _renamed_over),
    Way("moved aside and written", _moved_aside),
    Way("a run typed", _typed_run),
    Way("half saved", _half_saved, "refused"),
    Way("half saved, and it parses", _half_saved_yaml, suffixes=(".yaml",)),
    Way("half saved, then whole", _half_saved_and_then_whole),
    Way("conflict of git", _conflict_of_git, "refused"),
    Way("moved to another month", _moved),
    Way("renamed", _renamed),
    Way("month folder renamed", _month_renamed),
    Way("deleted", _deleted, "gone"),
    Way("deleted and made again", _made_again),
    Way("two files swapped", _swapped),
    Way("another id in the file", _other_id, "taken"),
    Way("overwritten by another session", _overwritten, "taken"),
    Way("NFC and NFD names", _named_in_both_forms, session_id=CAFE),
    Way("empty placeholder", _emptied, "placeholder"),
    Way("placeholder of zeros", _zeros, "placeholder"),
    Way("evicted", _evicted, "placeholder"),
    Way("temporary file of rsync", _arriving),
    Way("conflict copy of Dropbox", _conflict_copy("trip (conflicted copy 2026-01-02)")),
    Way("conflict copy of Syncthing", _conflict_copy("trip.sync-conflict-20260102-101500-ABCDEFG")),
    Way("conflict copy of OneDrive", _conflict_copy("trip-LAPTOP")),
    Way("plain copy", _conflict_copy("a copy of mine")),
    Way("other case of the name", _upper_case_name),
    Way("other case of the ending", _upper_case_ending, "gone"),
    Way("session in other case", _upper_case_session),
    Way("NFC name", _named("NFC"), session_id=CAFE),
    Way("NFD name", _named("NFD"), session_id=CAFE),
    Way("git checkout", _checked_out),
    Way("restored with its old time", _restored),
    Way("time set back", _time_set_back),
    Way("whole-second time", _whole_seconds),
    Way("time in the future", _future),
    Way("mode 0644", _mode(0o644)),
    Way("mode 0400", _mode(0o400)),
    *(
        Way(name, _laid_out(layout), suffixes=(suffix,))
        for suffix in (".json", ".yaml")
        for name, layout in sorted(by_hand.layouts(suffix).items())
    ),
]


# What is there


def expected(root: Path) -> dict[str, oracle.Document]:
    """The sessions that the raw files hold. Of several documents with one id, the first in rank counts."""
    found: dict[str, oracle.Document] = {}
    for document in sorted(filter(None, map(whole, oracle.document_paths(root))), key=_rank):
        found[document.header["session_id"]] = document
    return found


def _rank(document: oracle.Document) -> tuple[bool, str, int, int]:
    stem = document.path.stem
    is_named_after = stem == document.header["session_id"]
    return is_named_after, document.updated_at, len(document.history), -len(stem)


def whole(path: Path) -> oracle.Document | None:
    """The document in a file, or None if it has none, or one without what every reader requires."""
    try:
        document = oracle.parse(path)
        for entry in document.history:
            entry["type"], entry["created_at"]
            if entry["type"] == "run":
                [message["role"] for message in (entry["run_id"] and entry.get("messages")) or []]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return document


def texts(document: oracle.Document) -> dict[str, list[Any]]:
    """The texts of each run of a document, by its id."""
    return {
        entry["run_id"]: [message.get("content") for message in entry.get("messages", [])]
        for entry in document.history
        if entry["type"] == "run"
    }
