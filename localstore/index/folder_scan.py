"""List the month folders, read the documents that were added to them, and hide the rows of those that were removed.

A folder is listed again when its modification time changes. This detects files that a person or a sync tool added,
moved or removed, without opening any other file. What a scan found is stored in the index, for other processes.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localstore.disk import file_names, filesystem, ignored_files, store_tree
from localstore.disk.conflict_copies import document_in_icloud
from localstore.disk.folder_watch import FolderWatch, stamp
from localstore.disk.ignored_files import Reason
from localstore.format.document import LAYOUTS
from localstore.index.document_row import Unreadable
from localstore.index.manifest import Manifest
from localstore.index.manifest_lines import FolderNote
from localstore.index.row import COARSE_TICK, IndexRow, is_coarse
from localstore.index.row_batches import RowBatches
from localstore.index.row_reader import RowReader
from localstore.index.selection import ExceptionKind, Found

_FINE_TICK = 50_000_000
"""How long, in ns, a folder's time may stay the same while names in it change, unless times are whole seconds."""


@dataclass(slots=True)
class _Scan:
    """What one scan finds, until it is kept."""

    began: int
    """When the scan began, in ns."""
    added: set[str] = field(default_factory=set)
    """The documents to read: those without a row, and exceptions that changed."""
    hidden: list[str] = field(default_factory=list)
    """The sessions whose rows were hidden, because their files are gone."""
    times: dict[str, int] = field(default_factory=dict)
    """The modification times of the folders that were listed; -1 if they must be listed again."""
    ignored: dict[str, dict[str, Reason]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


class FolderScan:
    """Keeps the rows in step with the names in the folders."""

    def __init__(self, root: str, manifest: Manifest, reader: RowReader, batches: RowBatches) -> None:
        self._root = root
        self._manifest = manifest
        self._reader = reader
        self._batches = batches
        self._scanned: dict[str, int] = {}
        """The modification time of each folder when it was listed, in ns."""
        self.restarts = 0
        """The `restarts` of the manifest at the last scan."""
        self._scan_resets = 0
        """The `scan_resets` of the manifest when the index was last asked for scans."""
        self.unreadable_folders: dict[str, str] = {}
        """Folders that the last scan could not list: path to problem. Each scan sets a new mapping."""
        self._ignored: dict[str, dict[str, Reason]] = {}
        """Files that look like documents but are not read, by month folder and path."""
        self._stored: Found | None = None
        """What the index knows about the folders, as far as this process read or stored it."""

    def scan(self, *, for_lookup: bool = False, for_writing: bool = False) -> None:
        """List the folders that changed, read their new documents, and hide the rows of removed ones.

        Args:
            for_lookup: Keep what is found in a small store in memory: loading SQLite would cost more.
            for_writing: Give a folder that has just changed another time, so that it need not be listed again after
                each document that is made in it.
        """
        self._manifest.refresh(thorough=True)
        folders = store_tree.folders(self._root)
        uses_index = self._update_scanned(folders, for_lookup=for_lookup)
        scanned = self._scanned
        scan = _Scan(time.time_ns())
        scan.added = self._reader.changed_exceptions()
        self._hide_rows_of_removed(folders, scan)
        for folder, changed in folders.items():
            if scanned.get(folder) != changed or not filesystem.system.may_list(f"{self._root}/{folder}"):
                self._list(folder, changed, scan, for_writing=for_writing)
        self._batches.adopt_new(scan.added)
        self._use_duplicates_of_hidden(scan)
        self.unreadable_folders = scan.unreadable
        with self._manifest.mutex:  # last: another thread that finds a folder scanned relies on its rows
            for outdated in (scanned, self._ignored):
                for folder in outdated.keys() - folders.keys():
                    del outdated[folder]
            scanned.update(scan.times)
            self._ignored.update(scan.ignored)
        if uses_index and self.restarts == self._manifest.restarts:  # otherwise rows that were known may be lost
            self._save()

    def _update_scanned(self, folders: Mapping[str, int], *, for_lookup: bool) -> bool:
        """Bring the times of scanned folders up to date, and return whether what is found goes into the index.

        `folders` are all month folders with their current times. Folders that lost a row are listed again.
        """
        manifest = self._manifest
        left = manifest.take_left()
        if self.restarts != manifest.restarts:
            self.forget_scans()
            self.restarts = manifest.restarts
        if self._scan_resets != manifest.scan_resets:
            self.forget_scans()
            self._scan_resets = manifest.scan_resets
        uses_index = not (for_lookup and manifest.is_small())
        if uses_index and any(self._scanned.get(folder) != changed for folder, changed in folders.items()):
            self._load(folders)  # another process may have scanned them
        for folder in left:
            self._scanned.pop(folder, None)
        return uses_index

    def _hide_rows_of_removed(self, folders: Mapping[str, int], scan: "_Scan") -> None:
        """Hide the rows in folders that do not exist any more."""
        with self._manifest.mutex:
            for folder in self._manifest.folders():
                if folder not in folders:
                    self._hide(self._manifest.paths_in(folder).values(), scan)

    def _list(self, folder: str, changed: int, scan: "_Scan", *, for_writing: bool) -> None:
        """List a folder, whose time is `changed`: hide the rows without a file, and note the files without a row."""
        tick = COARSE_TICK if is_coarse(changed) else _FINE_TICK
        if scan.began - changed <= tick:  # other changes at this moment would not be seen
            changed = (stamp(f"{self._root}/{folder}") if for_writing else None) or -1
        try:
            listing = store_tree.list_folder(self._root, folder)
        except OSError as error:  # keep the rows of a folder that cannot be listed
            scan.unreadable[folder] = str(error)
            return
        found = set(listing.documents)
        scan.ignored[folder] = ignored_files.in_month_folder(self._root, folder, listing.others)
        with self._manifest.mutex:
            known = self._manifest.paths_in(folder)
            self._hide([session_id for path, session_id in known.items() if path not in found], scan)
            scan.added |= found - known.keys()
        scan.times[folder] = changed

    def _hide(self, session_ids: Iterable[str], scan: "_Scan") -> None:
        """Hide the rows of sessions whose files are gone. The caller must hold the manifest's mutex."""
        for session_id in list(session_ids):
            scan.hidden.append(session_id)
            self._manifest.hide(session_id)

    def _use_duplicates_of_hidden(self, scan: "_Scan") -> None:
        """Read another document of each session that has lost its row, if it has one."""
        with self._manifest.mutex:  # the documents of copies may have got another id
            hidden = [*scan.hidden, *(session_id for _, session_id in self._reader.duplicates.values())]
        for session_id in hidden:
            if self._manifest.get(session_id) is None:
                self.next_duplicate(session_id)

    def is_outdated(self) -> bool:
        """Return whether rows of this process were discarded, or left the paths of files, since the last scan."""
        if self.restarts != self._manifest.restarts:
            return True
        with self._manifest.mutex:
            return bool(self._manifest.folders_left())

    def forget_scans(self) -> None:
        """Make the next scan list every folder again."""
        self._scanned = {}  # a new mapping, because a scan in another thread may still add to the old one

    def _load(self, times: Mapping[str, int]) -> None:
        """Take over what the last scans of any process found, if the index has it.

        `times` are the current times of the folders that the caller asks about.
        """
        found = self._manifest.scans.found_in_folders(times)
        self._scan_resets = self._manifest.scan_resets
        self._stored = found
        if not found.folders:
            return
        with self._manifest.mutex:
            self._scanned = dict(found.folders)
            # What a comparison of rows found unreadable since that scan is kept: the next one looks at it again.
            self._reader.duplicates, self._ignored = {}, {}
            for path, (kind, detail) in found.exceptions.items():
                if kind == "unreadable":
                    self._reader.unreadable[path] = Unreadable(*detail)
                elif kind == "broken":
                    if self._manifest.get(detail["session_id"]) is None and self._manifest.session_at(path) is None:
                        self._manifest.put(detail)
                    else:  # the row may be that of a path that the document has left
                        self._scanned.pop(_month_folder(path), None)
                elif kind == "duplicate":
                    self._reader.duplicates[path] = (detail[0], detail[1])
                else:
                    self._ignored.setdefault(_month_folder(path), {})[path] = Reason(*detail)

    def _save(self) -> None:
        """Store what the scan found, if it is not what the index has."""
        with self._manifest.mutex:
            exceptions: dict[str, tuple[ExceptionKind, Any]] = {
                path: ("ignored", reason) for files in self._ignored.values() for path, reason in files.items()
            }
            exceptions.update((row["path"], ("broken", row)) for row in self._manifest.broken_rows())
            exceptions.update((path, ("duplicate", detail)) for path, detail in self._reader.duplicates.items())
            exceptions.update((path, ("unreadable", detail)) for path, detail in self._reader.unreadable.items())
            without = self._manifest.unwritten_folders() | self._manifest.folders_left()
            folders = {folder: changed for folder, changed in self._scanned.items() if folder not in without}
            found = Found(folders, exceptions)
        if found != self._stored or self._manifest.has_hidden():
            self._manifest.scans.set_found(found)
            self._stored = found

    def own_change(self, path: str, watch: FolderWatch | None) -> FolderNote | None:
        """Return a note for the manifest if this process alone changed a document's folder since its scan, else None.

        With it, nobody needs to scan the folder again. `watch` was made before the change. Once the manifest has the
        rows that belong to the change, call `keep_scan`.
        """
        folder = path.rpartition("/")[0]
        if watch is None or watch.before is None or watch.after is None:
            return None
        if self._stored is None and not self._manifest.is_small():
            self._load({folder: watch.before})
        if self._scanned.get(folder) != watch.before:
            return None
        return FolderNote(folder, watch.before, watch.after)

    def keep_scan(self, note: FolderNote | None) -> None:
        """Keep the result of the scan of a folder that a recorded note is about."""
        if note is not None and self._scanned.get(note.folder) == note.before:
            self._scanned[note.folder] = note.after
            if self._stored is not None:
                self._stored.folders[note.folder] = note.after  # as the note does

    def duplicates_of(self, session_id: str) -> list[str]:
        """Return the files that hold this session although its document is another file, as far as they are known."""
        if self._stored is None and not self._manifest.is_small():
            self._load({})
        if not self._reader.duplicates and not self._reader.unreadable:
            return []
        found = [path for path, duplicate in self._reader.duplicate_files().items() if duplicate == session_id]
        with self._manifest.mutex:  # another process may have recorded one of them as the document
            return [path for path in found if self._manifest.session_at(path) != session_id]

    def next_duplicate(self, session_id: str) -> IndexRow | None:
        """Return the row of another document with this id after the first was removed, or None if there is none."""
        for path in self.duplicates_of(session_id):
            self._reader.adopt(path)
        return self._manifest.get(session_id)

    def placeholders_of(self, session_id: str) -> list[tuple[str, Reason]]:
        """Return the paths of the placeholders of documents that are named after this session, and what they are."""
        with self._manifest.mutex:
            ignored = [item for files in self._ignored.values() for item in files.items()]
        names = {f"{file_names.stem(session_id)}{suffix}" for suffix in LAYOUTS} if ignored else ()
        return [(path, reason) for path, reason in ignored if document_in_icloud(path.rpartition("/")[2]) in names]

    def ignored_files(self) -> dict[str, Reason]:
        """Return the files that look like documents but are not read, and why. Paths are relative to the root.

        In the month folders, they are those of the last scan. The folders above are listed now.
        """
        ignored = ignored_files.above_month_folders(self._root)
        with self._manifest.mutex:
            for files in self._ignored.values():
                ignored.update(files)
        return dict(sorted(ignored.items()))


def _month_folder(path: str) -> str:
    """Return the month folder of a path."""
    return "/".join(path.split("/")[:2])
