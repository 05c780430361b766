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
from pathlib import Path

import orjson

from localstore.disk import backup_folder, file_names, rescue_folder, store_tree, trash_folder
from localstore.disk.document_file import IRREGULAR, DocumentFile, fingerprint
from localstore.disk.filesystem import FILE_MODE, FOLDER_MODE, is_private, temporary_for
from localstore.disk.locks import pool_of
from localstore.disk.store_tree import Opened
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import LAYOUTS, ParsedDocument, parse_document
from localstore.format.recovery import RecoveredDocument, parse_or_recover
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, is_row, recorded_state, row_of
from localstore.maintenance.document_checks import repeated_runs, unwritable, wrong_fields
from localstore.maintenance.finding import Finding, Kind
from localstore.models.schema import SCHEMA_VERSION

_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])\Z")
_DOCUMENT = re.compile(r"(?!\.).*\.(?:json|yaml|yml)\Z", re.IGNORECASE | re.DOTALL)
_AS_THEY_WERE = (f"{backup_folder.FOLDER.as_posix()}/", f"{trash_folder.FOLDER}/")
"""Documents there keep the mode that they had; their folder is private."""
_PATIENCE = 2
"""Seconds for which the sweep waits for a writer at work."""
MOST_MODES = 3
"""Files and folders with wrong permissions that are named one by one: a copy of a store may have them all wrong."""
_HEALS = "Nothing to do, the next listing corrects it."
_DERIVED = ("foreign", "boot", "era", "rewrite", "fingerprint", "offsets", "unfinished", "unsettled", "problem")
"""What a row may say otherwise than the document does; offsets must fit while the document is unchanged."""


def check(store: Opened | Path | str) -> Generator[Finding, None, int]:
    """What is wrong in a store, open or at this path, one finding after the other; at the end the number of sessions.

    Every document is parsed and validated, then the store is held against its manifest. Other programs may write
    meanwhile. Raises StoreNotFound, OlderFormat, NewerFormat, and OSError when the folder itself cannot be read.
    """
    root = store_tree.root_of(store)
    return (yield from Sweep(str(root)).run())


class Sweep:
    """One pass over a store, and what a repair needs to know of it. Paths are relative to the root, with slashes."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.locks = pool_of(Path(root))
        self.manifest = Manifest(root, self.locks, 0)
        self.documents: list[str] = []
        self.rows: dict[str, IndexRow] = {}
        """What the manifest should say of each document that can be read."""
        self.duplicates: dict[str, str] = {}
        """Documents whose id belongs to another one, and which one that is."""
        self.doubtful: list[tuple[str, str]] = []
        """Documents of which the manifest says something else, and their ids."""
        self.modes: list[tuple[str, int]] = []
        """What has the wrong permissions, and the right ones."""
        self._unwritable: set[str] = set()
        self._leftovers: list[str] = []
        self.closed: dict[str, str] = {}
        """Folders that could not be looked into, and why."""

    def run(self) -> Generator[Finding, None, int]:
        for path, status in self._walk("", deep=False):
            if path == "manifest.jsonl":
                yield from self._permissions(path, status)
        for path, status in (*self._walk(store_tree.SESSIONS), *self._walk(".localstore"), *self._walk("schemas")):
            if not path.startswith("schemas"):
                yield from self._permissions(path, status)
            if path.startswith(f"{store_tree.SESSIONS}/"):
                yield from self._place(path, status)
            elif Path(path).parent == rescue_folder.FOLDER:
                name = shlex.quote(os.path.basename(path))
                yield self._note(path, "holds what was set aside", f"See it with: localstore rescue {name}")
        if len(self.modes) > MOST_MODES:
            problem = f"and {len(self.modes) - MOST_MODES:,} more files and folders below have such modes"
            yield self._error(
                "", problem, f"Set them all with: chmod -R u+rwX,go= {shlex.quote(self.root)}", kind="mode"
            )
        for path, why in self.closed.items():
            yield self._error(path, f"cannot be looked into: {why}", "Check its permissions and the disk.")
        with contextlib.suppress(OSError):  # named below
            self.manifest.refresh()
        for path in self.documents:
            yield from self._document(path)
        yield from self._duplicates()
        yield from self._names()
        yield from self._manifest()
        yield from self._migrations()
        yield from self._left()
        return len(self.documents)

    def _migrations(self) -> Iterator[Finding]:
        found: list[backup_folder.BackupInfo] = []
        with contextlib.suppress(OSError):  # named above
            found = backup_folder.listing(self.root)
        for one in found:
            if not one.finished and one.action != "unknown":
                path = f"{backup_folder.FOLDER.as_posix()}/{one.name}"
                again = "upgrade" if one.action == "upgrade" else one.action.replace(" to ", " --to ")
                advice = f"Go on with: localstore {again} --store {shlex.quote(self.root)}"
                yield self._note(path, f"is the backup of an interrupted {one.action}", advice)

    def _full(self, path: str) -> str:
        return store_tree.full_path(self.root, path)

    def _is_gone(self, path: str) -> bool:
        try:
            os.lstat(self._full(path))
        except FileNotFoundError:
            return True
        except OSError:
            pass
        return False

    def _left(self) -> Iterator[Finding]:
        """Temporary files that stay: those of writers at work are given some time to go."""
        deadline = time.monotonic() + _PATIENCE
        problem = "is left from a write that was cut off"
        for path in self._leftovers:
            with contextlib.suppress(FileNotFoundError):
                while not (is_old := rescue_folder.is_old(os.lstat(self._full(path)))) and time.monotonic() < deadline:
                    time.sleep(0.01)
                if is_old:
                    yield self._error(path, problem, "Delete it.", kind="leftover")
                else:
                    yield self._error(path, problem, "Look again in a minute, it may still be written.")

    def _error(
        self, path: str, problem: str, advice: str, line: int | None = None, kind: Kind | None = None
    ) -> Finding:
        return Finding("error", self._full(path), line, problem, advice, kind)

    def _note(self, path: str, problem: str, advice: str, line: int | None = None, kind: Kind | None = None) -> Finding:
        return Finding("note", self._full(path), line, problem, advice, kind)

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
            if temporary_for(entry.name) and entry.is_file(follow_symlinks=False):
                self._leftovers.append(path)
            elif entry.is_dir(follow_symlinks=False):
                # Hidden folders among the months belong to other programs.
                if deep and not (folder == store_tree.SESSIONS and entry.name.startswith(".")):
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
        if stat.S_ISREG(status.st_mode) and path.startswith(_AS_THEY_WERE):
            return  # their folder is private
        mode = stat.S_IMODE(status.st_mode)
        if not is_private(mode) or mode & right != right:
            what = "gives others access" if not is_private(mode) else "keeps you from using it"
            self.modes.append((path, right))
            if len(self.modes) > MOST_MODES:
                return
            yield self._error(
                path,
                f"has mode {mode:04o}, which {what}",
                f"Set it with: chmod {right:o} {shlex.quote(self._full(path))}",
                kind="mode",
            )

    def _place(self, path: str, status: os.stat_result) -> Iterator[Finding]:
        """Whether a file below `sessions/` is where documents are read; those that are go on the list."""
        folder, _, name = path.rpartition("/")
        if stat.S_ISLNK(status.st_mode):
            yield self._error(path, "is a symbolic link, and links are not followed", "Put the thing itself there.")
        elif stat.S_ISDIR(status.st_mode):
            if folder == store_tree.SESSIONS and not _MONTH.match(name):
                yield self._note(path, "is not named like a month (2026-11)", "Move its documents to month folders.")
            elif folder.count("/") == 1 and name.endswith(tuple(LAYOUTS)) and not name.startswith("."):
                yield self._error(path, IRREGULAR, "Move it out of the store.")
        elif not _DOCUMENT.match(name):
            return
        elif folder.count("/") != 1:
            yield self._error(
                path,
                "is not in a month folder, so it is not read",
                f"Move it to a folder such as {store_tree.SESSIONS}/2026-11.",
            )
        elif not name.endswith(tuple(LAYOUTS)):
            yield self._error(path, "is not read, because of its ending", "Rename it to end in .json or .yaml.")
        elif not stat.S_ISREG(status.st_mode):
            yield self._error(path, IRREGULAR, "Move it out of the store.")
        else:
            self.documents.append(path)

    # Documents

    def _document(self, path: str) -> Iterator[Finding]:
        try:
            raw, status, found = self._read(path)
        except FileNotFoundError:
            return  # deleted since it was listed
        except OSError as error:
            yield self._error(path, f"cannot be read: {error.strerror}", "Check its permissions and the disk.")
            return
        except DocumentBroken as error:
            problem = error.problem or str(error)
            column = f" (column {error.column})" if error.column else ""
            yield self._error(path, problem + column, "Mend it in an editor.", error.line)
            return
        except LocalstoreError as error:
            problem, _, advice = str(error).removeprefix(self._full(path)).strip().partition(" Nothing was changed. ")
            yield self._error(path, problem.rstrip("."), advice)
            return
        if isinstance(found, RecoveredDocument):
            torn_at = found.rest[0][0] if found.rest else len(raw)
            advice = f"The next write mends it and keeps the rest in {rescue_folder.FOLDER}."
            yield self._error(path, "was torn by a crash", advice, raw.count(b"\n", 0, torn_at) + 1, "torn")
            return
        self.rows[path] = row_of(found, path, status, None)
        if found.version != SCHEMA_VERSION:
            advice = f"Upgrade it with: localstore upgrade {shlex.quote(self.root)}"
            yield self._note(path, f"has schema version {found.version}, which is read and not written to", advice)
        elif not found.in_layout:
            yield self._note(
                path, "is valid, but not laid out as localstore writes it", "Nothing to do, the next write rewrites it."
            )
        for finding in unwritable(self._full(path), found):
            self._unwritable.add(path)
            yield finding
        yield from wrong_fields(self._full(path), found)
        yield from repeated_runs(self._full(path), found)

    def _read(self, path: str) -> tuple[bytes, os.stat_result, ParsedDocument | RecoveredDocument]:
        """A document; one that looks torn is read again under its lock, because somebody may be writing it."""
        try:
            found = self._look(path)
            if isinstance(found[2], ParsedDocument) and found[2].in_layout:
                return found
        except LocalstoreError:
            pass
        with ExitStack() as stack:
            self._wait_for_writer(path, stack)
            return self._look(path)

    def _look(self, path: str) -> tuple[bytes, os.stat_result, ParsedDocument | RecoveredDocument]:
        row = self._row(path)
        with DocumentFile(self._full(path)) as file:
            raw = file.read_all()
            found = parse_or_recover(raw, file.layout, recorded_state(row) if row else None, file.path)
            if isinstance(found, RecoveredDocument) and not found.rest:
                with contextlib.suppress(DocumentBroken):  # all is there, and everybody can read it
                    found = parse_document(raw, file.layout, file.path)
            return raw, file.status, found

    def _row(self, path: str) -> IndexRow | None:
        """What the manifest says of the document at `path`."""
        session_id = self.manifest.at(path)
        return None if session_id is None else self.manifest.get(session_id)

    def _wait_for_writer(self, path: str, stack: ExitStack) -> None:
        """Hold the session's lock, if there is one to hold: where no lock file is, nobody is writing."""
        with contextlib.suppress(OSError):  # a lock that cannot be had, or not in time
            self.manifest.refresh()
            session_id = self.manifest.at(path)
            if session_id is not None and self.locks.has_been_used(session_id):
                stack.enter_context(self.locks.session(session_id, _PATIENCE))
                self.manifest.refresh()

    def _duplicates(self) -> Iterator[Finding]:
        """The document that the manifest names keeps the id, else the one that is named after it, else the first."""
        holders: dict[str, list[str]] = {}
        for path, found in self.rows.items():
            holders.setdefault(found["session_id"], []).append(path)
        for session_id, paths in holders.items():
            row = self.manifest.get(session_id)
            named = row["path"] if row is not None else None
            keeper = min(paths, key=lambda path: (path != named, not self._is_named_after(path, session_id)))
            for path in paths:
                if path != keeper:
                    self.duplicates[path] = keeper
                    problem = f"has the same session_id as {self._full(keeper)}"
                    advice = "Delete one of them, or give one another session_id."
                    kind: Kind | None = None if path in self._unwritable else "duplicate"
                    yield self._error(path, problem, advice, kind=kind)

    def _names(self) -> Iterator[Finding]:
        for path, row in self.rows.items():
            if path not in self.duplicates and not self._is_named_after(path, row["session_id"]):
                expected = file_names.stem(row["session_id"]) + os.path.splitext(path)[1]
                advice = f"Rename it to {expected} to find it faster."
                yield self._note(path, "is not named after its session_id", advice)

    @staticmethod
    def _is_named_after(path: str, session_id: str) -> bool:
        return os.path.splitext(os.path.basename(path))[0] == file_names.stem(session_id)

    # The manifest

    def _manifest(self) -> Iterator[Finding]:
        name = "manifest.jsonl"
        try:
            if not stat.S_ISREG(os.lstat(self._full(name)).st_mode):  # a named pipe would be waited for
                yield self._error(name, "is not a regular file, and not used", "Move it away; it is made anew.")
                return
            lines = Path(self._full(name)).read_bytes().split(b"\n")
            self.manifest.refresh(thorough=True)
        except FileNotFoundError:
            if self.rows:
                yield self._note(name, "is missing", "Nothing to do, the next listing makes it anew.", kind="manifest")
            return
        except OSError as error:
            yield self._error(name, f"cannot be read: {error.strerror}", "Delete it; it is made anew.")
            return
        for number, line in enumerate(lines, 1):
            if not _is_usable(line) and (line or number < len(lines)):
                yield self._note(name, "is no line of a manifest, and skipped", _HEALS, number, "manifest")
        ids = {session_id for _, session_id in self.manifest.newest(None, None)}
        listed = {row["path"]: row for session_id in ids if (row := self.manifest.get(session_id))}
        for path in sorted(listed):
            if path not in self.rows and self._is_gone(path):
                yield self._note(path, "is gone, but the manifest still names it", _HEALS, kind="manifest")
        for path, row in self.rows.items():
            if path in listed:
                yield from self._compare(path, row, listed[path])
            elif row["session_id"] not in ids:  # a second document with the same id was named already
                yield self._note(path, "is not in the manifest yet", _HEALS, kind="manifest")

    def _compare(self, path: str, row: IndexRow, listed: IndexRow) -> Iterator[Finding]:
        """A document against its line in the manifest."""
        is_believed = listed["fingerprint"] == row["fingerprint"] and not listed.get("foreign")
        unseen = _DERIVED if not is_believed else [key for key in _DERIVED if key not in ("offsets", "unfinished")]
        keys = [key for key in {**row, **listed} if key not in unseen and row.get(key) != listed.get(key)]
        try:
            now = fingerprint(os.lstat(self._full(path)))
        except OSError:
            return
        if not keys or now != row["fingerprint"]:  # right, or changed while we looked
            return
        self.doubtful.append((path, row["session_id"]))
        problem = f"and the manifest disagree on {', '.join(sorted(keys))}"
        if listed["fingerprint"] == row["fingerprint"]:
            advice = "Delete manifest.jsonl; the next listing makes it anew."
            yield self._error(path, problem, advice, kind="manifest")
        else:
            yield self._note(path, problem, _HEALS, kind="manifest")


def _is_usable(line: bytes) -> bool:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return is_row(value) or (isinstance(value, dict) and ("generation" in value or value.get("deleted") is True))
