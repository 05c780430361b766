"""Reads a store's raw files without localstore's code, and judges them.

Parsers that are not ours: `json` of the standard library, and a YAML 1.2 parser. Whatever the library answers is
held against what stands here.
"""

import fcntl
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml12

STATEFUL = ("instructions", "session_state", "session_summary", "session_data")
_ENTRY_ORDER = (
    "type",
    "run_id",
    "created_at",
    "plan",
    "input",
    "messages",
    "member_runs",
    "steps",
    "output",
    *STATEFUL,
    "state_conflicts",
    "model",
    "metrics",
    "error",
    "status",
)
_COPY = re.compile(r" \(conflicted copy 2026-01-02\)\Z|-LAPTOP\Z| 2\Z")
"""The end of the names of the copies that tests make. In all other tests, a session has one document."""
_NUMBER = re.compile('"\uf8ff([^"]*)\uf8ff"')


@dataclass(frozen=True, slots=True)
class Document:
    """One session as its file says it: `header` is everything before `history`, the name of the schema aside."""

    path: Path
    raw: bytes
    header: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def updated_at(self) -> str:
        """The time of the newest entry that has one, else of the session. A fork is newer than what it copied."""
        created_at = str(self.header["created_at"])
        times = [entry["created_at"] for entry in self.history if "created_at" in entry]
        return max(str(times[-1]), created_at if "forked_from" in self.header else "") if times else created_at

    @property
    def run_ids(self) -> list[str]:
        return [entry["run_id"] for entry in self.history if entry["type"] == "run"]


def parse(path: Path, suffix: str | None = None) -> Document:
    """The document at `path`, which has this suffix or that of its name. Raises ValueError when it is not one."""
    suffix = suffix or path.suffix
    raw = path.read_bytes()
    if b"\0" in raw:  # torn: to some parsers of YAML, the text ends there
        raise ValueError(f"{path} has NUL bytes")
    values = [json.loads(raw)] if suffix == ".json" else yaml12.parse_yaml(raw.decode("utf-8-sig"), multi=True)
    value: Any = values[0] if isinstance(values, list) and len(values) == 1 else None
    if not isinstance(value, dict) or not isinstance(value.get("session_id"), str):
        raise ValueError(f"{path} holds no session")
    history = value.pop("history")
    value.pop("$schema", None)
    return Document(path, raw, value, history)


def document_paths(root: Path) -> list[Path]:
    """Every file that may be a document, sorted."""
    return sorted(path for suffix in ("json", "yaml") for path in root.glob(f"sessions/[!.]*/[!.]*.{suffix}"))


def sessions(root: Path) -> dict[str, Document]:
    """Every session by its id, without its copies. Raises ValueError when a document does not parse, AssertionError for
    an id twice."""
    found: dict[str, Document] = {}
    for path in document_paths(root):
        add_session(found, parse(path))
    return found


def add_session(found: dict[str, Document], document: Document) -> None:
    """Add a session to those that were found. If it has several documents, all but one must have names of copies."""
    session_id = document.header["session_id"]
    other = found.get(session_id)
    if other is None or _COPY.search(other.path.stem):
        found[session_id] = document
    else:
        assert _COPY.search(document.path.stem), f"{document.path} and {other.path} hold the same session"


def manifest_lines(root: Path) -> list[dict[str, Any]]:
    """The lines of the manifest that are JSON objects, the first one (of the generation) included."""
    try:
        lines = (root / ".localstore/manifest.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def manifest(root: Path) -> dict[str, dict[str, Any]]:
    """The last line of each session; deleted ones are left out."""
    last = {line["session_id"]: line for line in manifest_lines(root) if "session_id" in line}
    return {session_id: line for session_id, line in last.items() if not line.get("deleted")}


def rescued(root: Path) -> list[dict[str, Any]]:
    """What was set aside, oldest first."""
    return [json.loads(path.read_bytes()) for path in sorted((root / ".localstore" / "rescue").glob("*.json"))]


def trashed(root: Path) -> list[Path]:
    """The documents in the trash, oldest first."""
    return sorted((root / ".localstore" / "trash").glob("*/sessions/*/*"))


def rescued_copies(root: Path) -> list[Path]:
    """The copies of sessions that were set aside, oldest first."""
    return sorted((root / ".localstore" / "rescue").glob("*.copy"))


def kept(root: Path) -> dict[str, set[str]]:
    """By id, the runs of each session that is whole in its place, in the trash or in a copy, also one in rescue."""
    found: dict[str, set[str]] = {}
    for path in [*document_paths(root), *trashed(root), *rescued_copies(root)]:
        try:
            document = parse(path, ".json" if ".json" in path.name else ".yaml")
            run_ids = document.run_ids
        except (ValueError, TypeError, KeyError):  # torn, in a way that parses
            continue
        found.setdefault(document.header["session_id"], set()).update(run_ids)
    return found


# Invariants of a tree


def assert_sound(root: Path) -> None:
    """What holds whenever no call is in progress, whatever happened before."""
    assert_no_temporary_files(root)
    assert_locks_free(root)


def assert_no_temporary_files(root: Path) -> None:
    left = [str(path.relative_to(root)) for path in root.rglob("*.tmp")]
    assert not left, f"left behind: {left}"


def assert_private(root: Path) -> None:
    """Documents and whatever else the library made belong to their owner alone."""
    for path in root.rglob("*"):
        status = path.lstat()
        expected = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
        assert stat.S_IMODE(status.st_mode) == expected, f"{path} has mode {stat.S_IMODE(status.st_mode):o}"


def assert_locks_free(root: Path) -> None:
    """Somebody else could take every lock at once."""
    for path in (root / ".localstore" / "locks").glob("*.lock"):
        fd = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises BlockingIOError
        finally:
            os.close(fd)


def assert_own_layout(document: Document) -> None:
    """The document looks as localstore itself writes it: for one that no person touched since."""
    text = document.raw.decode()
    keys = list(document.header)
    assert keys[:3] == ["schema_version", "session_id", "kind"], keys
    for entry in document.history:
        known = [key for key in entry if key in _ENTRY_ORDER]
        assert known == sorted(known, key=_ENTRY_ORDER.index), known
    if document.path.suffix == ".json":
        shown = _NUMBER.sub(r"\1", json.dumps(_with_exact_numbers(text), indent=2, ensure_ascii=False))
        assert text == f"{shown}\n", f"{document.path} is not laid out as json.dumps does"
        assert list(json.loads(text))[-1] == "history"
        return
    head, opening, history = text.partition("\nhistory:")
    assert opening, f"{document.path} has no history"
    assert head.startswith("# yaml-language-server: $schema=")
    if not document.history:
        assert history == " []\n...\n", history
        return
    assert history.startswith("\n")
    assert history.endswith("\n...\n")
    lines = history.removeprefix("\n").removesuffix("...\n").split("\n")
    odd = [line for line in lines if line and not line.startswith(("- ", "  "))]
    assert not [line for line in odd if not line.startswith("#")], f"{document.path} has odd lines: {odd[:3]}"
    assert sum(line.startswith("- ") for line in lines) == len(document.history)


def _with_exact_numbers(text: str) -> Any:
    """The value with every float as it stands in the text: there is more than one way to write 1e16."""
    return json.loads(text, parse_float=lambda number: f"\uf8ff{number}\uf8ff")


def open_descriptors(folder: Path) -> list[str]:
    """The files below `folder` that this process has open (nothing where the system does not tell)."""
    found = []
    try:
        descriptors = os.listdir("/proc/self/fd")
    except OSError:
        return []
    for fd in descriptors:
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith(f"{folder}/"):
            found.append(target)
    return sorted(found)
