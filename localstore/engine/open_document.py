"""A document that is open under the lock of its session: read the entries at its end, and write bytes safely."""

import os
import re
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from localstore.disk import durable_files, file_end, filesystem, rescue_folder
from localstore.disk.boot import boot_hash, boot_id
from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.disk.folder_watch import FolderWatch
from localstore.disk.write_marks import WriteMarks
from localstore.format.document import (
    LayoutMismatch,
    ParsedDocument,
    ends_unfinished,
    newest_state,
    parse_document,
    run_id_and_state,
)
from localstore.format.parse_error import ParseError
from localstore.format.write_mark import mark_of
from localstore.index.row import IndexRow, after_write, row_of

_LARGEST_GUESS = 128 * 1024
"""The largest number of bytes to read first when the end of a file is searched for a run id."""

LARGE = 8 * 1024 * 1024
"""From this size in bytes on, the newest entries are read block by block: each of them may be very long."""

_ESCAPED_ID = re.compile(rb'_id"?: *"[^"\n]*\\')
"""An id that a person wrote with an escape."""
_PLAIN_ID = re.compile(r"[0-9A-Za-z_-]+\Z")
"""Matches an id that localstore writes to a document without escapes."""


Keep = Callable[[str], None]
"""Makes a durable backup of the file at a path relative to the root."""


class Recent(NamedTuple):
    """The position of a stored run. Its entry starts at `offset`, in bytes, in the document."""

    offset: int
    unfinished: bool


class ConcurrentChange(Exception):
    """Raised if another program wrote to the file during a change. Read the file again, and repeat the change."""


class OpenDocument:
    """Reads an open document, and writes bytes to it. The base of `Transaction`."""

    def __init__(self, root: str, row: IndexRow, marks: WriteMarks, *, durable: bool, keep: Keep | None = None) -> None:
        self._root = root
        self.marks = marks
        self.durable = durable
        self._keep = keep
        self._is_older = False
        self._parsed: ParsedDocument | None = None
        self._rewrite = False
        self._was_untrusted = False
        self.row: IndexRow = row
        self.changed = False
        """True if `row` differs from the row in the manifest."""
        self._lost_comments: bytes | None = None
        self.file = DocumentFile(f"{root}/{row['path']}", write=True)
        self.watch: FolderWatch | None = None
        """A watch of the document's folder, if the file was replaced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        filesystem.set_filename(error, self.file.path)
        self.file.close()

    # Reading

    def header(self) -> dict[str, Any]:
        """Return the header of the document. Raises LayoutMismatch."""
        return self._parsed.header if self._parsed is not None else self.file.header()

    def whole(self) -> ParsedDocument:
        """Return the whole document, in localstore's layout. Raises LayoutMismatch, ConcurrentChange."""
        if self._parsed is None:
            before = self.file.status
            self._parsed = self.file.whole()
            if fingerprint(self.file.status) != fingerprint(before):
                raise ConcurrentChange  # what was decided so far comes from other bytes
        if not self._parsed.in_layout:
            raise ConcurrentChange
        return self._parsed

    def text(self) -> bytes:
        """Return all bytes of the file as they are, in any layout. Raises ConcurrentChange."""
        before = self.file.status
        raw = self.file.read_all()
        if fingerprint(self.file.status) != fingerprint(before):
            raise ConcurrentChange
        return raw

    def state(self) -> dict[str, Any]:
        """Return the newest `session_state`, or an empty dict if there is none. Raises LayoutMismatch."""
        if self._parsed is not None:
            state: Any = newest_state(self._parsed.entries).get("session_state")
        elif (offset := self.row.get("offsets", {}).get("session_state")) is not None:
            if (state := self.file.entry_at(offset).get("session_state")) is None:
                raise LayoutMismatch
        else:
            state = None
        return state if isinstance(state, dict) else {}

    def newest(self, count: int, words: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Return the last `count` entries, oldest first; fewer if there are fewer. Raises LayoutMismatch.

        With `words`, ids of letters, digits, `_`, `/` and `-`, the result is empty if no entry has one of them.
        """
        if self._parsed is not None or not self.row["entries"]:
            return self.whole().entries[-count:]
        if words:
            end = self._end_with(count)
            has_escape = b"\\" in end and _ESCAPED_ID.search(end) is not None
            if not has_escape and not any(word.encode() in end for word in words):
                return []
        try:
            return [self.file.layout.parse_entry(piece) for _, piece in self.file.tail(count)]
        except ParseError:
            raise LayoutMismatch from None

    def recent(self, count: int) -> dict[str, Recent]:
        """Return the runs among the last `count` entries, by id, oldest first. Raises LayoutMismatch."""
        if not self.row["entries"]:
            return {}  # otherwise a list in the header could be mistaken for entries
        if self._parsed is None and self.file.size > LARGE:
            return self._recent_in_blocks(count)
        if self._parsed is not None:
            pieces = list(zip(self._parsed.starts, self._parsed.slices(), strict=True))[-count:]
        else:
            pieces = self.file.tail(count)
        runs = {}
        for offset, piece in pieces:
            try:
                run_id, unfinished = run_id_and_state(self.file.layout, piece)
            except ParseError:
                raise LayoutMismatch from None
            if run_id is not None:
                runs[run_id] = Recent(offset, unfinished)
        return runs

    def _recent_in_blocks(self, count: int) -> dict[str, Recent]:
        """Return the same as `recent` for a large document. Only entries that may be written by hand are parsed."""
        layout, runs = self.file.layout, {}
        for start, end in self.file.tail_spans(count):
            head = filesystem.read_at(self.file.fd, min(end - start, 4096), start)
            run_id = layout.run_id(head)
            unfinished = ends_unfinished(
                layout, filesystem.read_at(self.file.fd, min(end - start, 64), max(start, end - 64))
            )
            if run_id is None or (not unfinished and self.file.contains(b"unfinished", start, end)):
                piece = filesystem.read_at(self.file.fd, end - start, start)
                try:
                    run_id, unfinished = run_id_and_state(layout, piece)
                except ParseError:
                    raise LayoutMismatch from None
            if run_id is not None:
                runs[run_id] = Recent(start, unfinished)
        return runs

    def cannot_have(self, run_id: str, count: int) -> bool:
        """Return whether none of the last `count` entries can be this run, by searching their bytes for its id.

        Return False in doubt: if the id or the entries may contain escapes, or if the document is already parsed.
        """
        if self._parsed is not None or not _PLAIN_ID.match(run_id):
            return False
        if self.file.size > LARGE:
            spans = self.file.tail_spans(count)
            begin = spans[0][0] if spans else 0
            texts = (run_id.encode(), self.file.layout.escape)
            return len(run_id) <= 64 and not any(self.file.contains(text, begin, self.file.size) for text in texts)
        end = self._end_with(count)
        return run_id.encode() not in end and self.file.layout.escape not in end

    def _end_with(self, count: int) -> bytes:
        """Return the end of the file with at least the last `count` entries, or all of it if there are fewer."""
        # If the entries have similar sizes, this guess is enough. A guess that is too small reads the same bytes twice.
        guess = self.file.size * (count + 4) // max(1, self.row["entries"])
        return self.file.tail_bytes(min(count, self.row["entries"]), min(guess, _LARGEST_GUESS))

    def entry(self, run: Recent) -> dict[str, Any]:
        """Return the entry of `run`. Raises LayoutMismatch or ConcurrentChange if no entry starts there."""
        if self._parsed is None:
            return self.file.entry_at(run.offset)
        if run.offset not in self._parsed.starts:
            raise ConcurrentChange
        return self._parsed.entries[self._parsed.starts.index(run.offset)]

    # Writing bytes

    def _extend(self, old: bytes, new: bytes, order: file_end.Order) -> None:
        """Replace `old`, the last bytes of the file, with `new`; see `file_end.extend`.

        Raises ConcurrentChange if another program changed or replaced the file.
        """
        size = self.file.size
        if filesystem.read_at(self.file.fd, len(old), size - len(old)) != old:
            raise ConcurrentChange
        try:
            if order == "together" and "boot" in self.row:
                self._sync()  # what was added before must not be torn while this is not
            if not file_end.is_one_step(size, old, new, order):
                self.marks.set(mark_of(self.row["session_id"], size, old, new, boot_hash()))
            file_end.extend(self.file.fd, size, old, new, order, self._sync)
        except BaseException:
            if self._ends_as_before(size, old):
                self.marks.clear(self.row["session_id"])
            raise
        try:
            if self.durable:
                self._sync()
            self._check_path(size + len(new) - len(old))
        finally:
            self.marks.clear(self.row["session_id"])

    def _ends_as_before(self, size: int, old: bytes) -> bool:
        """Return whether the file was restored after a failed write. Return False in doubt."""
        try:
            end = filesystem.read_at(self.file.fd, len(old) + 1, size - len(old))
        except OSError:
            return False
        return end == old

    def _check_path(self, expected: int) -> None:
        """Read the status of the file with this path. Raises ConcurrentChange if it is not ours, with `expected` bytes.

        An editor may have replaced the file since it was opened: then the write went to a file that has no name.
        """
        inode = self.file.status.st_ino
        status = filesystem.status_or_none(self.file.path)
        if status is None or status.st_ino != inode or status.st_size != expected:
            raise ConcurrentChange
        self.file.status, self.file.size = status, status.st_size

    def _sync(self, *, name: bool = True) -> None:
        """Make the bytes of the file durable, and its name unless it is known to be or `name` is false.

        If that fails, mark the row so that the next write is a rewrite.
        """
        try:
            filesystem.sync_file(self.file.fd, self.file.path)
            # The program that created the file may not have made its name durable.
            if self._was_untrusted or (name and self.durable and "boot" in self.row):
                filesystem.sync_folder(os.path.dirname(self.file.path))
        except OSError:
            # The kernel may have dropped unwritten pages, so the end of the file is unreliable until a rewrite.
            self.row = {**self.row, "rewrite": True}
            self.changed = True
            raise

    def _written(self, row: IndexRow) -> None:
        """Set the row after a write to the end of the file."""
        self.row = after_write(row, self.file.status, None if self.durable else boot_id())
        self._parsed = None
        self.changed = True

    def _replace(self, raw: bytes) -> None:
        """Replace the file with one that has the bytes `raw`, after checking that they are a valid document.

        Raises ConcurrentChange if another program wrote to the file since it was read; what it wrote is then in place.
        """
        old = self._parsed
        known = dict(zip(old.slices(), old.entries, strict=True)) if old is not None and old.starts else {}
        parsed = parse_document(raw, self.file.layout, self.file.path, known)
        if self._lost_comments is not None:
            self._set_aside(rescue_folder.COMMENTS, rescue_folder.piece(0, self._lost_comments))
            self._lost_comments = None
        if self._is_older and self._keep is not None:
            before = self.file.status
            self._keep(self.row["path"])
            self._is_older = False
            self.file.refresh_status()  # the backup may be a hard link, which changes the ctime
            if not durable_files.is_same(before, self.file.status):
                raise ConcurrentChange
        self.file.close()  # Windows cannot replace an open file, and an open one counts as one being written
        try:
            written = durable_files.replace_file(self.file.path, [raw], self.file.status, watch=self._watch_folder())
        except durable_files.FileChanged:
            raise ConcurrentChange from None
        self._open_replaced(written)
        self.row = row_of(parsed, self.row["path"], self.file.status, None)
        self.changed = True
        self._parsed = None
        self._rewrite = not self.row["entries"]

    def _watch_folder(self) -> FolderWatch:
        if self.watch is None:
            self.watch = FolderWatch(os.path.dirname(self.file.path))
        return self.watch

    def _open_replaced(self, written: os.stat_result) -> None:
        """Open the new file, of status `written`. Raises ConcurrentChange if it was saved or removed since."""
        try:
            self.file = DocumentFile(self.file.path, write=True)
        except FileNotFoundError:
            raise ConcurrentChange from None
        if not durable_files.is_same(written, self.file.status):
            raise ConcurrentChange

    def _set_aside(self, reason: str, content: dict[str, Any]) -> None:
        rescue_folder.set_aside(self._root, self.row["path"], self.row["session_id"], reason, content)
