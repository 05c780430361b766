"""Reads a whole store and says what is wrong. Prints nothing, changes no byte.

It takes a lock only to look again at a document that seems to be torn.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from localstore.errors import DocumentBroken, LocalstoreError
from localstore.files import names, rescue, tree
from localstore.files.atomic import FILE_MODE, FOLDER_MODE, TEMPORARY_SUFFIX, is_private
from localstore.files.document import LAYOUTS, Parsed, parse_document
from localstore.files.document_file import DocumentFile
from localstore.files.locks import pool_of
from localstore.files.malformed import Malformed
from localstore.files.manifest import Manifest
from localstore.files.rows import Row, fingerprint, is_row, row_of
from localstore.files.salvage import known, salvage

if TYPE_CHECKING:
    from localstore.storage import Storage

_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])\Z")
_DOCUMENT = re.compile(r"(?!\.).*\.(?:json|yaml|yml)\Z", re.IGNORECASE | re.DOTALL)
_LOOKS = 5
"""How often a document that looks torn is read, while somebody is writing it."""
_YOUNG, _PATIENCE = 60, 2
"""Seconds: for how long a temporary file may belong to a writer at work, and how long the sweep waits for that."""
_MOST_PROBLEMS = 10
"""Wrong fields that are named for one document."""
_MOST_MODES = 3
"""Files and folders with wrong permissions that are named one by one: a copy of a store may have them all wrong."""
_HEALS = "Nothing to do, the next listing corrects it."
_DERIVED = ("foreign", "boot", "era", "rewrite", "fingerprint", "offsets", "unfinished", "unsettled", "problem")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong (`error`) or worth knowing (`note`), at an absolute path.

    `line` counts from 1, None where no line is known. `problem` is a clause, `advice` says in a sentence what to do.
    """

    severity: Literal["error", "note"]
    path: str
    line: int | None
    problem: str
    advice: str

    @property
    def place(self) -> str:
        """`path:line`, or the path alone."""
        return self.path if self.line is None else f"{self.path}:{self.line}"

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def check(store: Storage | Path | str) -> Generator[Finding, None, int]:
    """What is wrong in a store, open or at this path, one finding after the other; at the end the number of sessions.

    Every document is parsed and validated, then the store is held against its manifest. Other programs may write
    meanwhile. Raises StoreNotFound, OlderFormat, NewerFormat, and OSError when the folder itself cannot be read.
    """
    root = tree.open_store(Path(store) if isinstance(store, (str, Path)) else store.root, create=False)
    return (yield from _Sweep(str(root)).run())


class _Sweep:
    """One pass over a store. Paths are relative to the root, with slashes."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.locks = pool_of(Path(root))
        self.manifest = Manifest(root, self.locks, 0)
        self.documents: list[str] = []
        self.rows: dict[str, Row] = {}
        self.leftovers: list[str] = []
        self.modes = 0
        self.closed: dict[str, str] = {}
        """Folders that could not be looked into, and why."""

    def run(self) -> Generator[Finding, None, int]:
        for path, status in self._walk("", deep=False):
            if path == "manifest.jsonl":
                yield from self._permissions(path, status)
        for path, status in (*self._walk(tree.SESSIONS), *self._walk(".localstore"), *self._walk("schemas")):
            if not path.startswith("schemas"):
                yield from self._permissions(path, status)
            if path.startswith(f"{tree.SESSIONS}/"):
                yield from self._place(path, status)
            elif Path(path).parent == rescue.FOLDER:
                yield self._note(path, "holds what was set aside", "Look whether you still need it, then delete it.")
        if self.modes > _MOST_MODES:
            problem = f"and {self.modes - _MOST_MODES:,} more files and folders below have such modes"
            yield self._error("", problem, f"Set them all with: chmod -R u+rwX,go= {shlex.quote(self.root)}")
        for path, why in self.closed.items():
            yield self._error(path, f"cannot be looked into: {why}", "Check its permissions and the disk.")
        with contextlib.suppress(OSError):  # named below
            self.manifest.refresh()
        for path in self.documents:
            yield from self._document(path)
        yield from self._duplicates()
        yield from self._manifest()
        yield from self._leftovers()
        return len(self.documents)

    def _full(self, path: str) -> str:
        return os.path.join(self.root, *path.split("/"))

    def _is_gone(self, path: str) -> bool:
        try:
            os.lstat(self._full(path))
        except FileNotFoundError:
            return True
        except OSError:
            pass
        return False

    def _leftovers(self) -> Iterator[Finding]:
        """Temporary files that stay: those of writers at work are given some time to go."""
        deadline = time.monotonic() + _PATIENCE
        for path in self.leftovers:
            with contextlib.suppress(FileNotFoundError):
                while True:
                    age = time.time() - os.lstat(self._full(path)).st_mtime
                    if age > _YOUNG or time.monotonic() > deadline:
                        yield self._error(path, "is left from a write that was cut off", "Delete it.")
                        break
                    time.sleep(0.01)

    def _error(self, path: str, problem: str, advice: str, line: int | None = None) -> Finding:
        return Finding("error", self._full(path), line, problem, advice)

    def _note(self, path: str, problem: str, advice: str, line: int | None = None) -> Finding:
        return Finding("note", self._full(path), line, problem, advice)

    # Names, places, permissions

    def _walk(self, folder: str, *, deep: bool = True) -> Iterator[tuple[str, os.stat_result]]:
        """A folder of the store and all that is in it, sorted. Links are not followed, temporary files set aside."""
        if deep:
            try:
                yield folder, os.lstat(self._full(folder))
            except FileNotFoundError:
                return
        try:
            with os.scandir(self._full(folder)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.closed[folder] = error.strerror or str(error)
            return
        for entry in entries:
            path = f"{folder}/{entry.name}".removeprefix("/")
            if entry.name.startswith(".") and entry.name.endswith(TEMPORARY_SUFFIX):
                self.leftovers.append(path)
            elif entry.is_dir(follow_symlinks=False):
                # Hidden folders among the months belong to other programs.
                if deep and not (folder == tree.SESSIONS and entry.name.startswith(".")):
                    yield from self._walk(path)
            else:
                try:
                    yield path, os.lstat(entry.path)
                except FileNotFoundError:
                    continue

    def _permissions(self, path: str, status: os.stat_result) -> Iterator[Finding]:
        if os.name != "posix" or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return
        right = FOLDER_MODE if stat.S_ISDIR(status.st_mode) else FILE_MODE
        mode = stat.S_IMODE(status.st_mode)
        if not is_private(mode) or mode & right != right:
            what = "gives others access" if not is_private(mode) else "keeps you from using it"
            self.modes += 1
            if self.modes > _MOST_MODES:
                return
            yield self._error(
                path,
                f"has mode {mode:04o}, which {what}",
                f"Set it with: chmod {right:o} {shlex.quote(self._full(path))}",
            )

    def _place(self, path: str, status: os.stat_result) -> Iterator[Finding]:
        """Whether a file below `sessions/` is where documents are read; those that are go on the list."""
        folder, _, name = path.rpartition("/")
        if stat.S_ISLNK(status.st_mode):
            yield self._error(path, "is a symbolic link, and links are not followed", "Put the thing itself there.")
        elif stat.S_ISDIR(status.st_mode):
            if folder == tree.SESSIONS and not _MONTH.match(name):
                yield self._note(path, "is not named like a month (2026-11)", "Move its documents to month folders.")
        elif not _DOCUMENT.match(name):
            return
        elif folder.count("/") != 1:
            yield self._error(
                path,
                "is not in a month folder, so it is not read",
                f"Move it to a folder such as {tree.SESSIONS}/2026-11.",
            )
        elif not name.endswith(tuple(LAYOUTS)):
            yield self._error(path, "is not read, because of its ending", "Rename it to end in .json or .yaml.")
        elif not stat.S_ISREG(status.st_mode):
            yield self._error(path, "is not a regular file", "Move it out of the store.")
        else:
            self.documents.append(path)

    # Documents

    def _document(self, path: str) -> Iterator[Finding]:
        try:
            raw, status, parsed = self._read(path)
        except FileNotFoundError:
            return  # deleted since it was listed
        except OSError as error:
            yield self._error(path, f"cannot be read: {error.strerror}", "Check its permissions and the disk.")
            return
        except DocumentBroken as error:
            yield self._broken(path, error)
            return
        except LocalstoreError as error:
            problem, _, advice = str(error).removeprefix(self._full(path)).strip().partition(" Nothing was changed. ")
            yield self._error(path, problem.rstrip("."), advice)
            return
        self.rows[path] = row_of(parsed, path, status, None)
        if not parsed.in_layout:
            yield self._note(
                path, "is valid, but not laid out as localstore writes it", "Nothing to do, the next write rewrites it."
            )
        yield from self._strict(path, raw, parsed)
        yield from self._fields(path, parsed)
        yield from self._run_ids(path, parsed)
        expected = names.stem(parsed.header["session_id"]) + parsed.layout.suffix
        if os.path.basename(path) != expected:
            yield self._note(path, "is not named after its session_id", f"Rename it to {expected} to find it faster.")

    def _read(self, path: str) -> tuple[bytes, os.stat_result, Parsed]:
        """A document; one that looks torn is read again under its lock, because somebody may be writing it."""
        try:
            found = self._look(path)
            if found[2].in_layout:
                return found
        except LocalstoreError:
            pass
        with ExitStack() as stack:
            self._wait_for_writer(path, stack)
            return self._look(path)

    def _look(self, path: str) -> tuple[bytes, os.stat_result, Parsed]:
        with DocumentFile(self._full(path)) as file:
            raw = file.read_all()
            return raw, file.status, parse_document(raw, file.layout, self._full(path))

    def _wait_for_writer(self, path: str, stack: ExitStack) -> None:
        """Hold the session's lock, if there is one to hold: where no lock file is, nobody is writing."""
        session_id = self.manifest.at(path)
        if session_id is None:
            self.manifest.refresh()
            session_id = self.manifest.at(path)
        if session_id is not None and self.locks.has_been_used(session_id):
            with contextlib.suppress(OSError):  # a lock that cannot be had, or not in time
                stack.enter_context(self.locks.session(session_id, _PATIENCE))

    def _broken(self, path: str, error: DocumentBroken) -> Finding:
        if self._is_torn(path):
            return self._error(
                path,
                "was torn by a crash",
                f"The next write mends it and keeps the rest in {rescue.FOLDER}.",
                error.line,
            )
        problem = error.problem or str(error)
        column = f" (column {error.column})" if error.column else ""
        return self._error(path, problem + column, "Mend it in an editor.", error.line)

    def _is_torn(self, path: str) -> bool:
        """Whether a crash explains why the document does not parse, so that localstore mends it by itself."""
        session_id = self.manifest.at(path)
        row = self.manifest.get(session_id) if session_id is not None else None
        try:
            with DocumentFile(self._full(path)) as file:
                return salvage(file.read_all(), file.layout, known(row) if row else None, file.path) is not None
        except (OSError, LocalstoreError):
            return False

    def _strict(self, path: str, raw: bytes, parsed: Parsed) -> Iterator[Finding]:
        """What parses, but would not survive a rewrite."""
        try:
            parsed.layout.parse_strict(raw)
        except Malformed as error:
            yield self._error(
                path, error.problem, "Mend it in an editor, before a rewrite drops or rounds it.", error.line
            )

    def _fields(self, path: str, parsed: Parsed) -> Iterator[Finding]:
        """The fields that have a wrong type."""
        from pydantic import ValidationError

        from localstore.sessions import Session

        try:
            Session.model_validate({**parsed.header, "history": parsed.entries})
        except ValidationError as error:
            problems: dict[str, tuple[str, int | None]] = {}
            for found in error.errors(include_url=False, include_context=False):
                where, line = _where(found["loc"], found["type"] == "missing", parsed)
                problems.setdefault(where, (found["msg"], line))
            for where, (problem, line) in list(problems.items())[:_MOST_PROBLEMS]:
                yield self._error(path, f"{where}: {problem}", "Mend it in an editor.", line)
            if len(problems) > _MOST_PROBLEMS:
                more = f"{len(problems) - _MOST_PROBLEMS} more fields are wrong"
                yield self._error(path, more, "Mend those above, then check again.")

    def _run_ids(self, path: str, parsed: Parsed) -> Iterator[Finding]:
        """Runs that share an id: the store recognises a repetition among the newest entries only."""
        seen: set[str] = set()
        for number, entry in enumerate(parsed.entries):
            if entry["type"] == "run":
                if entry["run_id"] in seen:
                    line = parsed.raw.count(b"\n", 0, parsed.starts[number]) + 1 if parsed.starts else None
                    problem = f"has a second run with the run_id {entry['run_id']}"
                    yield self._note(path, problem, "Give one of them another run_id, or delete it.", line)
                seen.add(entry["run_id"])

    def _duplicates(self) -> Iterator[Finding]:
        first: dict[str, str] = {}
        for path, row in self.rows.items():
            other = first.setdefault(row["session_id"], path)
            if other != path:
                problem = f"has the same session_id as {self._full(other)}"
                yield self._error(path, problem, "Delete one of them, or give one another session_id.")

    # The manifest

    def _manifest(self) -> Iterator[Finding]:
        name = "manifest.jsonl"
        try:
            lines = Path(self._full(name)).read_bytes().split(b"\n")
        except FileNotFoundError:
            if self.rows:
                yield self._note(name, "is missing", "Nothing to do, the next listing makes it anew.")
            return
        except OSError as error:
            yield self._error(name, f"cannot be read: {error.strerror}", "Delete it; it is made anew.")
            return
        for number, line in enumerate(lines, 1):
            if not _is_usable(line) and (line or number < len(lines)):
                yield self._note(name, "is no line of a manifest, and skipped", _HEALS, number)
        self.manifest.refresh(thorough=True)
        ids = [session_id for _, session_id in self.manifest.newest(None, None)]
        listed = {row["path"]: row for session_id in ids if (row := self.manifest.get(session_id))}
        for path in listed:
            if path not in self.rows and self._is_gone(path):
                yield self._note(path, "is gone, but the manifest still names it", _HEALS)
        for path, row in self.rows.items():
            if path in listed:
                yield from self._compare(path, row, listed[path])
            elif row["session_id"] not in ids:  # a second document with the same id was named already
                yield self._note(path, "is not in the manifest yet", _HEALS)

    def _compare(self, path: str, row: Row, listed: Row) -> Iterator[Finding]:
        """A document against its line in the manifest."""
        keys = [key for key in {**row, **listed} if key not in _DERIVED and row.get(key) != listed.get(key)]
        try:
            now = fingerprint(os.lstat(self._full(path)))
        except OSError:
            return
        if not keys or now != row["fingerprint"]:  # right, or changed while we looked
            return
        problem = f"and the manifest disagree on {', '.join(sorted(keys))}"
        if listed["fingerprint"] == row["fingerprint"]:
            yield self._error(path, problem, "Delete manifest.jsonl; the next listing makes it anew.")
        else:
            yield self._note(path, problem, _HEALS)


def _where(location: tuple[int | str, ...], is_missing: bool, parsed: Parsed) -> tuple[str, int | None]:
    """Where a field sits, in words, and the line on which its entry (or header field) starts."""
    value: Any = {**parsed.header, "history": parsed.entries}
    where = ""
    for step in location:  # between the steps stand the names of the types that were tried
        if isinstance(value, list) and isinstance(step, int):
            value = value[step]
            where += f"[{step}]"
        elif isinstance(value, dict) and (step in value or (is_missing and step == location[-1])):
            value = value.get(step)
            where += f".{step}" if where else str(step)
    line = None
    if len(location) > 1 and location[0] == "history" and isinstance(location[1], int):
        if parsed.in_layout:
            line = parsed.raw.count(b"\n", 0, parsed.starts[location[1]]) + 1
    elif location:
        found = re.search(rb'^(?:  ")?%s"?:' % re.escape(str(location[0]).encode()), parsed.raw, re.MULTILINE)
        line = parsed.raw.count(b"\n", 0, found.start()) + 1 if found else None
    return where, line


def _is_usable(line: bytes) -> bool:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return is_row(value) or (isinstance(value, dict) and ("generation" in value or value.get("deleted") is True))
