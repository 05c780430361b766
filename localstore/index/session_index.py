"""Which sessions a store has: the manifest held against the tree.

The manifest answers; the folders correct it. A folder whose time changed is looked through by name, so that files
which were added, moved or removed by hand, or by a tool that synchronises folders, are noticed without opening others.
"""

import contextlib
import os
import time
from collections.abc import Iterable

from localstore.disk import filesystem, store_tree
from localstore.disk.boot import boot_id
from localstore.disk.document_file import IRREGULAR, DocumentFile, fingerprint
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format import recovery
from localstore.format.document import LAYOUTS, Layout, ParsedDocument, parse_document
from localstore.format.parse_error import ParseError
from localstore.index.manifest import Manifest
from localstore.index.row import (
    COARSE_TICK,
    IndexRow,
    carry_rewrite_flag,
    is_coarse,
    matches_file,
    recorded_state,
    row_of,
    utc_time,
)

_FINE_TICK = 50_000_000
"""How long, in ns, a folder's time may stand still while names in it change, where times are no whole seconds."""
_SWEEP_SHARE = 100
"""A sweep over all rows comes again when at least so many times as long as it took has gone by, and a second."""
_YOUNG = 2_000_000_000
"""For so long, in ns, a sweep leaves a changed file to whoever changed it."""
_BATCH = 1000
_LOOKS = 3
"""How often a listing is made anew because documents were changed by hand; more only if that happens meanwhile."""


class SessionIndex:
    """The sessions of one store, found by id or listed."""

    def __init__(self, root: str, manifest: Manifest) -> None:
        self._root = root
        self._manifest = manifest
        self._scanned: dict[str, int] = {}
        self._restarts = self._swept = 0
        self._sweep_due = 0.0
        self._duplicates: dict[str, tuple[list[int], str]] = {}
        """Files that hold a session whose document is another file: path to fingerprint and session id."""
        self._unreadable: dict[str, tuple[list[int], str]] = {}
        """Files in which no session can be read: path to fingerprint and problem."""
        self.unreadable_folders: dict[str, str] = {}
        """Folders that the last scan could not list: path to problem. Each scan sets a new mapping."""

    def unreadable_files(self) -> dict[str, str]:
        """Return the files in which no session can be read, and why. Paths are relative to the root."""
        with self._manifest.mutex:
            return {path: problem for path, (_, problem) in self._unreadable.items()}

    def duplicate_files(self) -> list[str]:
        """Return the files that hold a session whose document is another file. Paths are relative to the root."""
        with self._manifest.mutex:
            return sorted(self._duplicates)

    def problem_of(self, path: str) -> str | None:
        """Return why no session can be read in this file, or None if it is not known as unreadable."""
        _, problem = self._unreadable.get(path, ([], None))
        return problem

    def find(self, session_id: str) -> IndexRow | None:
        """The row of a session, looked for under its file name when the manifest does not know it."""
        self._manifest.refresh()
        row = self._manifest.get(session_id)
        if row is not None and store_tree.holds_folder(self._root, row["path"].rpartition("/")[0]):
            return row
        for path in store_tree.candidates(self._root, session_id):
            found = self.adopt(path)
            if found is not None and found["session_id"] == session_id:
                return self._manifest.get(session_id)
        return None

    def find_anywhere(self, session_id: str) -> IndexRow | None:
        """Like `find`; a file of another name is found as well."""
        row = self.find(session_id)
        if row is None:
            self.scan()
            row = self._manifest.get(session_id)
        return row

    def moved(self, row: IndexRow) -> IndexRow | None:
        """The row of a session whose file is no longer where `row` says."""
        with self._manifest.mutex:
            current = self._manifest.get(row["session_id"])
            if current is not None and current["path"] == row["path"]:
                self._manifest.hide(row["session_id"])
        self.look_anew()
        return self.find_anywhere(row["session_id"])

    def look_anew(self) -> None:
        """Trust no earlier look at the folders."""
        self._scanned = {}  # a new one: a scan that another thread is making says nothing about this one

    def next_duplicate(self, session_id: str) -> IndexRow | None:
        """Another document with this id, now that the first one is gone."""
        with self._manifest.mutex:
            paths = [path for path, (_, duplicate) in self._duplicates.items() if duplicate == session_id]
        for path in paths:
            row = self.adopt(path)
            if row is not None and row["session_id"] == session_id:
                return row
        return None

    def scan(self) -> None:
        """Take the names in changed folders into account."""
        manifest = self._manifest
        manifest.refresh(thorough=True)
        if self._restarts != manifest.restarts:
            self.look_anew()
            self._restarts = manifest.restarts
        now = time.time_ns()
        scanned = self._scanned
        folders = store_tree.folders(self._root)
        unreadable: dict[str, str] = {}
        times: dict[str, int] = {}
        added = self._changed_exceptions()
        hidden: list[str] = []
        with manifest.mutex:
            for folder in manifest.folders():
                if folder not in folders:
                    hidden += manifest.paths_in(folder).values()
                    self._hide(manifest.paths_in(folder).values())
        for folder, changed in folders.items():
            if scanned.get(folder) == changed:
                continue
            try:
                found = set(store_tree.documents(self._root, folder))
            except OSError as error:  # nobody can tell what is in it: what was known of it still is
                unreadable[folder] = str(error)
                continue
            with manifest.mutex:
                known = manifest.paths_in(folder)
                gone = [session_id for path, session_id in known.items() if path not in found]
                self._hide(gone)
                hidden += gone
                added |= found - known.keys()
            tick = COARSE_TICK if is_coarse(changed) else _FINE_TICK
            times[folder] = changed if now - changed > tick else -1
        self._adopt_all(added)
        for session_id in hidden:
            if manifest.get(session_id) is None:
                self.next_duplicate(session_id)
        self.unreadable_folders = unreadable
        with manifest.mutex:  # last: whoever finds a folder scanned relies on the rows of its documents
            for folder in scanned.keys() - folders.keys():
                del scanned[folder]
            scanned.update(times)

    def _sweep(self) -> None:
        """Hold every row against its file: always when the rows are new to this process, because a manifest that is
        late or from elsewhere, or an edit by hand, may have put a session in the wrong order or under another user.
        Later at most so often that it costs a hundredth of the time."""
        now = time.monotonic()
        restarts = self._manifest.restarts
        is_first = self._swept != restarts
        if not is_first and now < self._sweep_due:
            return
        with self._manifest.mutex:
            rows = self._manifest.all()
        # What others write just now they tell themselves: later sweeps leave it to the one after.
        young = 0 if is_first else _YOUNG
        changed = self._changed(rows, young)
        if changed:
            self._manifest.refresh()
            again = [row for old in changed if (row := self._manifest.get(old["session_id"])) is not None]
            self._adopt_all(row["path"] for row in self._changed(again, young))
        self._swept = restarts  # last: other threads that list until then make a sweep of their own
        end = time.monotonic()
        self._sweep_due = end + max(1.0, _SWEEP_SHARE * (end - now))

    def _changed(self, rows: Iterable[IndexRow], young: int) -> list[IndexRow]:
        """The rows whose files are there, are not as the rows say, and older than `young` ns."""
        changed = []
        now = time.time_ns()
        for row in rows:
            with contextlib.suppress(OSError):  # named when it is listed
                status = filesystem.status_if_there(f"{self._root}/{row['path']}")
                if status is None or matches_file(row, status) or 0 <= now - status.st_mtime_ns < young:
                    continue
                changed.append(row)
        return changed

    def _hide(self, session_ids: Iterable[str]) -> None:
        for session_id in list(session_ids):
            self._manifest.hide(session_id)

    def note_own(self, folder: str, before: int | None) -> None:
        """One of us made or removed a name in a folder whose time was `before`: no reason to look through it."""
        if before is not None and self._scanned.get(folder) == before:
            now = folder_time(self._root, folder)
            if now is not None:
                self._scanned[folder] = now

    def adopt(self, path: str) -> IndexRow | None:
        """Read a document that the manifest does not know, or knows otherwise, and take it in."""
        row = self._read(path)
        if row is not None and not self._is_duplicate(row):
            self._take(row)
        return row

    def _take(self, row: IndexRow) -> None:
        if self._manifest.get(row["session_id"]) is row:
            return
        if "problem" not in row:
            self._manifest.record([row])
        else:
            with self._manifest.mutex:
                self._manifest.put(row)

    def _adopt_all(self, paths: Iterable[str]) -> None:
        rows = []
        for path in sorted(paths):
            row = self._read(path)
            if row is None or self._is_duplicate(row):
                continue
            with self._manifest.mutex:
                self._manifest.put(row)
            if "problem" not in row:
                rows.append(row)
            if len(rows) >= _BATCH:
                self._manifest.record(rows)
                rows = []
        if rows:
            self._manifest.record(rows)

    def _is_duplicate(self, row: IndexRow) -> bool:
        """Whether another document already has this id. The first one keeps it; `check` names both."""
        with self._manifest.mutex:
            known = self._manifest.get(row["session_id"])
        if known is None or known["path"] == row["path"] or not self._holds(known["path"], row["session_id"]):
            self._forget_exception(self._duplicates, row["path"])
            return False
        with self._manifest.mutex:
            self._duplicates[row["path"]] = row["fingerprint"], row["session_id"]
        return True

    def _changed_exceptions(self) -> set[str]:
        """Return the unreadable and duplicate files that changed since they were read; forget those that are gone.

        A changed one stays what it was until it has been read: other threads must not take it for missing.
        """
        changed = set()
        for exceptions in (self._unreadable, self._duplicates):
            with self._manifest.mutex:
                fingerprints = [(path, before) for path, (before, _) in exceptions.items()]
            for path, before in fingerprints:
                try:
                    status = filesystem.status_if_there(f"{self._root}/{path}")
                except OSError:
                    continue
                if status is None:
                    self._forget_exception(exceptions, path)
                elif fingerprint(status) != before:
                    changed.add(path)
        return changed

    def _forget_exception(self, exceptions: dict[str, tuple[list[int], str]], path: str) -> None:
        if path in exceptions:
            with self._manifest.mutex:
                exceptions.pop(path, None)

    def _set_unreadable(self, path: str, as_read: list[int], problem: str) -> None:
        with self._manifest.mutex:
            self._unreadable[path] = as_read, problem
            self._duplicates.pop(path, None)

    def _holds(self, path: str, session_id: str) -> bool:
        """Whether the file at `path` is there and not known to be another session's by now."""
        row = self._known(path)
        try:
            status = filesystem.status_if_there(f"{self._root}/{path}")
        except OSError:
            return True  # nobody can tell: it keeps its id
        if status is None or (row is not None and row["fingerprint"] == fingerprint(status)):
            return status is not None
        there = self._read(path)
        return there is None or there["session_id"] == session_id

    def _read(self, path: str) -> IndexRow | None:
        """The row for the document at `path`. One that is broken but tells its id has a row with its `problem`."""
        row = self._read_row(path)
        if row is not None:
            self._forget_exception(self._unreadable, path)
        return row

    def _read_row(self, path: str) -> IndexRow | None:
        try:
            with DocumentFile(f"{self._root}/{path}") as file:
                raw = file.read_all()
                status, layout = file.status, file.layout
        except FileNotFoundError:
            return None
        except (OSError, DocumentBroken) as error:
            known = self._known(path)
            # What was known of a file that is there still is; what is no file is no session.
            if known is not None and getattr(error, "problem", "") != IRREGULAR:
                return {**known, "problem": str(error)}
            self._set_unreadable(path, [], str(error))
            return None
        as_read, _ = self._unreadable.get(path, (None, ""))
        if as_read == fingerprint(status):
            return None
        try:
            before = self._known(path)
            parsed = recovery.parse_or_recover(raw, layout, before and recorded_state(before), f"{self._root}/{path}")
            if isinstance(parsed, recovery.RecoveredDocument):
                if before is not None:
                    return before  # somebody is writing, or was cut off: the next write mends it, a reader sees past it
                parsed = _as_it_stands(raw, layout, parsed, f"{self._root}/{path}")
            row = carry_rewrite_flag(row_of(parsed, path, status, boot_id()), before)
        except LocalstoreError as error:
            return self._read_head(path, raw, status, error)
        return row

    def _known(self, path: str) -> IndexRow | None:
        """What the manifest says of the document at `path`."""
        with self._manifest.mutex:
            session_id = self._manifest.session_at(path)
            return None if session_id is None else self._manifest.get(session_id)

    def _read_head(self, path: str, raw: bytes, status: os.stat_result, error: LocalstoreError) -> IndexRow | None:
        known = self._known(path)
        layout = LAYOUTS[path[path.rindex(".") :]]
        opened = raw.find(layout.opening)
        try:
            header = layout.parse_head(raw[: opened + len(layout.opening)]) if opened >= 0 else layout.parse(raw)
        except ParseError:
            header = None
        if isinstance(header, dict) and isinstance(header.get("session_id"), str) and header["session_id"]:
            row: IndexRow = {
                "session_id": header["session_id"],
                "path": path,
                "kind": str(header.get("kind", "")),
                "created_at": str(header.get("created_at", "")),
                "updated_at": utc_time(str(header.get("created_at", ""))),
                "version": header["schema_version"] if type(header.get("schema_version")) is int else 0,
                "entries": 0,
                "runs": 0,
                "fingerprint": [],
            }
            user_id = header.get("user_id")
            if isinstance(user_id, str):
                row["user_id"] = user_id
            if known is not None and known["session_id"] == row["session_id"]:
                row = {**known}
        elif known is not None:
            row = {**known}
        else:
            self._set_unreadable(path, fingerprint(status), str(error))
            return None
        row["problem"] = str(error)
        return row

    def all(self, *, thorough: bool) -> list[IndexRow]:
        """Every session, in no order; each held against its file when `thorough`, else as the manifest has it."""
        self.scan()
        if thorough:
            self._sweep()
        with self._manifest.mutex:
            return self._manifest.all()

    def rows(self, user_id: str | None, entity_id: str | None, kind: str | None, limit: int | None) -> list[IndexRow]:
        """The sessions that fit, newest activity first. Only these rows are held against their files."""
        for _ in range(_LOOKS):
            found, moved = self._rows(user_id, entity_id, kind, limit)
            if not moved:
                return found
        # Others write all the time: the rows are at least in the order of what they say.
        return sorted(found, key=lambda row: (row["updated_at"], row["session_id"]), reverse=True)

    def _rows(
        self, user_id: str | None, entity_id: str | None, kind: str | None, limit: int | None
    ) -> tuple[list[IndexRow], bool]:
        """The rows, and whether some of them turned out to belong elsewhere in the order, or to another session."""
        self.scan()
        self._sweep()
        found: list[IndexRow] = []
        moved = False
        with self._manifest.mutex:
            newest = self._manifest.by_activity(user_id, entity_id).copy()
        for updated_at, session_id in reversed(newest):
            if len(found) == limit:
                break
            row = self._manifest.get(session_id)
            if row is None or not _fits(row, user_id, entity_id, kind):
                continue
            current = self.current(row)
            if current is None:
                continue
            moved = moved or current["updated_at"] != updated_at  # others' lines may have come in meanwhile
            if current["session_id"] != session_id:  # documents took each other's names
                self.look_anew()
                moved = True
            elif _fits(current, user_id, entity_id, kind):
                found.append(current)
        return found, moved

    def current(self, row: IndexRow) -> IndexRow | None:
        """The row as its file is now; None when the file is gone."""
        try:
            status = filesystem.status_if_there(f"{self._root}/{row['path']}")
        except OSError as error:
            return {**row, "problem": str(error)}
        if status is None:
            return None
        if matches_file(row, status):
            return row
        self._manifest.refresh()  # reading a line costs less than reading the document
        told = self._manifest.get(row["session_id"])
        if told is not None and told["path"] == row["path"] and matches_file(told, status):
            return told
        fresh = self._read(row["path"])
        if fresh is None or self._is_duplicate(fresh):
            return None
        self._take(fresh)
        return fresh


def _as_it_stands(raw: bytes, layout: Layout, recovered: recovery.RecoveredDocument, path: str) -> ParsedDocument:
    """Return the document, if no more than the end marker of YAML is missing. Raises DocumentBroken if a write was cut
    off."""
    if not recovered.rest:
        with contextlib.suppress(DocumentBroken):
            parsed = parse_document(raw, layout, path)
            if parsed.entries == recovered.parsed.entries:
                return parsed
    raise DocumentBroken(
        f"{path} was cut off in the middle of a write. The next write mends it, and so does "
        "'localstore check --repair'."
    )


def folder_time(root: str, folder: str) -> int | None:
    """The mtime_ns of a folder of the store; None when there is none."""
    try:
        return filesystem.system.status(f"{root}/{folder}").st_mtime_ns
    except OSError:
        return None


def _fits(row: IndexRow, user_id: str | None, entity_id: str | None, kind: str | None) -> bool:
    return (
        (user_id is None or row.get("user_id") == user_id)
        and (entity_id is None or row.get("entity_id") == entity_id)
        and (kind is None or row["kind"] == kind)
    )
