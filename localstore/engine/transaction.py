"""Change one document while its session's lock is held.

Appending an entry extends the file by the size of the entry. Most other changes write the whole document to a new file
that replaces the old one.
"""

import os
import re
import shlex
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from localstore.disk import durable_files, filesystem, rescue_folder
from localstore.disk.boot import boot_hash, boot_id
from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.disk.folder_watch import FolderWatch
from localstore.disk.store_identity import make_folders
from localstore.disk.write_marks import WriteMarks
from localstore.engine.plan import Append, InPlace, Rewrite, Unchanged, plan_end, plan_step
from localstore.errors import DocumentBroken, LocalstoreError, OlderFormat
from localstore.format.document import (
    LAYOUTS,
    LayoutMismatch,
    ParsedDocument,
    document_broken,
    ends_unfinished,
    newest_state,
    normalise,
    parse_document,
    run_id_and_state,
)
from localstore.format.parse_error import ParseError
from localstore.format.recovery import RecoveredDocument, parse_or_recover
from localstore.format.run_entry import keep_rating
from localstore.format.values import json_equal
from localstore.format.write_mark import WriteMark, mark_of
from localstore.index.row import (
    IndexRow,
    after_append,
    after_finish,
    after_new_head,
    after_write,
    carry_rewrite_flag,
    is_trusted,
    possible_power_cut,
    row_of,
)
from localstore.models.schema import SCHEMA_VERSION

_COMMENT = re.compile(rb"(?m)(?:^|[ \t])#(?! yaml-language-server:)")
"""Matches anything that may be a YAML comment, except the line that names the schema, which localstore writes."""

_LARGEST_GUESS = 128 * 1024
"""The largest number of bytes to read first when the end of a file is searched for a run id."""

_LARGE = 8 * 1024 * 1024
"""From this size in bytes on, the newest entries are read block by block: each of them may be very long."""

_PLAIN_ID = re.compile(r"[0-9A-Za-z_-]+\Z")
"""Matches an id that localstore writes to a document without escapes."""


Keep = Callable[[str], None]
"""Makes a durable backup of the file at a path relative to the root."""


class Recent(NamedTuple):
    """The position of a stored run. Its entry starts at `offset`, in bytes, in the document."""

    offset: int
    unfinished: bool


class ConcurrentChange(Exception):
    """Another program wrote to the file during a change. Read the file again and make what is still missing."""


class Transaction:
    """An open document whose session's lock is held by the caller.

    `row` describes the current state of the document; it is replaced, never modified. If `changed` is true, the caller
    that opened the document must record `row` in the manifest. `marks` are the marks in the session's lock file. If
    `durable` is true, every change is durable on disk before the method returns. The first change to a document in an
    older schema version upgrades it, after calling `keep` with its path. If `keep` is None, opening such a document
    raises OlderFormat.
    """

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
        try:
            self._prepare()
        except BaseException as error:
            filesystem.set_filename(error, self.file.path)
            self.file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        filesystem.set_filename(error, self.file.path)
        self.file.close()

    def _prepare(self) -> None:
        """Prepare the document for changes.

        If the row is trusted, read nothing. Otherwise, parse the whole document; if a crash interrupted a write to it,
        move the incomplete bytes to the rescue folder and repair the document.
        """
        if is_trusted(self.row, self.file.status):  # an interrupted write has made the file longer
            self._rewrite = self.file.status.st_nlink > 1 or not self.row["entries"]
            return
        self._was_untrusted = True
        if self.row["session_id"] in self.marks.sessions():
            self._prepare_marked()
        else:
            self._read(())

    def _prepare_marked(self) -> None:
        """Prepare a document that was being written when a process was killed, and clear the mark of that write.

        The mark stays only if the disk refuses: it explains nothing that a person writes from now on.
        """
        session_id = self.row["session_id"]
        try:
            self._read(self.marks.of(session_id))
        except LocalstoreError:
            self.marks.clear(session_id)
            raise
        self.marks.clear(session_id)

    def _read(self, marks: Sequence[WriteMark]) -> None:
        """Parse the whole document, and repair it if a crash damaged it. `marks` are of writes that were killed."""
        raw = self.file.read_all()
        power_cut = possible_power_cut(self.row, self.file.status)
        try:
            document = parse_or_recover(raw, self.file.layout, self.file.path, marks, power_cut)
        except DocumentBroken:
            self.file.close()  # an open file counts as one that is being written
            with DocumentFile(self.file.path) as file:
                if file.was_being_saved() or fingerprint(file.status) != fingerprint(self.file.status):
                    raise ConcurrentChange from None  # it was half of what an editor is saving in place
            raise
        if isinstance(document, RecoveredDocument):
            for offset, data in document.rest:
                self._set_aside("torn by a crash", rescue_folder.piece(offset, data))
            self._replace(document.parsed.raw)
            return
        self._parsed = document
        self._is_older = document.version != SCHEMA_VERSION
        if self._is_older and self._keep is None:
            raise older_format_error(document, self.file.path, self._root)
        self.row = carry_rewrite_flag(row_of(self._parsed, self.row["path"], self.file.status, boot_id()), self.row)
        self.changed = True
        if not self._parsed.in_layout:
            self._normalise()
        self._rewrite = (
            bool(self.row.get("rewrite")) or self._rewrite or self.file.status.st_nlink > 1 or not self.row["entries"]
        )

    def _normalise(self) -> None:
        """Convert the parsed document to localstore's layout in memory. The next change writes it.

        If the document may have comments that are lost, that write saves the original bytes to the rescue folder.
        """
        assert self._parsed is not None  # noqa: S101 (for the type checker)
        foreign = self._parsed.raw
        self._parsed = normalise(self._parsed, self.file.path)
        self._rewrite = True
        if self.file.layout.keeps_comments and _COMMENT.search(foreign):
            self._lost_comments = foreign

    def _set_aside(self, reason: str, content: dict[str, Any]) -> None:
        rescue_folder.set_aside(self._root, self.row["path"], self.row["session_id"], reason, content)

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

    def newest(self, count: int) -> list[dict[str, Any]]:
        """Return the last `count` entries, oldest first; fewer if there are fewer. Raises LayoutMismatch."""
        if self._parsed is not None or not self.row["entries"]:
            return self.whole().entries[-count:]
        try:
            return [self.file.layout.parse_entry(piece) for _, piece in self.file.tail(count)]
        except ParseError:
            raise LayoutMismatch from None

    def recent(self, count: int) -> dict[str, Recent]:
        """Return the runs among the last `count` entries, by id, oldest first. Raises LayoutMismatch."""
        if not self.row["entries"]:
            return {}  # otherwise a list in the header could be mistaken for entries
        if self._parsed is None and self.file.size > _LARGE:
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
        if self.file.size > _LARGE:
            spans = self.file.tail_spans(count)
            begin = spans[0][0] if spans else 0
            texts = (run_id.encode(), self.file.layout.escape)
            return len(run_id) <= 64 and not any(self.file.contains(text, begin, self.file.size) for text in texts)
        # If the entries have similar sizes, this guess is enough. A guess that is too small reads the same bytes twice.
        guess = self.file.size * (count + 4) // max(1, self.row["entries"])
        tail, _ = self.file.tail_bytes(count, min(guess, _LARGEST_GUESS))
        return run_id.encode() not in tail and self.file.layout.escape not in tail

    def entry(self, run: Recent) -> dict[str, Any]:
        """Return the entry of `run`. Raises LayoutMismatch or ConcurrentChange if no entry starts there."""
        if self._parsed is None:
            return self.file.entry_at(run.offset)
        if run.offset not in self._parsed.starts:
            raise ConcurrentChange
        return self._parsed.entries[self._parsed.starts.index(run.offset)]

    # Changing

    def sync(self, *, name: bool = True, data: bool = True) -> None:
        """Make earlier writes to the document durable. Do nothing if the transaction is not durable.

        Rewrite the whole document if an earlier sync failed or a rewrite is due for another reason. `name` and `data`
        are false if the caller knows that the document's name or its bytes are durable.
        """
        if not self.durable:
            return
        if self.row.get("rewrite") or self._rewrite:
            self._replace(self.whole().raw)
        else:
            if data:
                self._sync(name=name)
            if "boot" in self.row:
                self.row = after_write(self.row, self.file.status, None)
                self.changed = True

    def execute(self, plan: Append | InPlace | Rewrite | Unchanged) -> int | None:
        """Carry out a plan.

        Return the offset, in bytes, of the entry that was added or changed at the end of the file. Return None if the
        whole document was written or nothing had to change. Raises OSError if a write fails, which leaves the document
        as it was, and ConcurrentChange or LayoutMismatch if the document is not as the plan expects it.
        """
        layout = self.file.layout
        match plan:
            case Append(entry=entry) if not self._rewrite:
                offset = self.file.size - len(layout.end) + len(layout.separator)
                self._extend(layout.end, layout.separator + layout.entry(entry) + layout.end)
                self._written(after_append(self.row, entry, offset))
                return offset
            case Append(entry=entry):
                self._replace(self._rewritten(Rewrite(added=[entry])))
            case InPlace():
                self._extend(plan.old, plan.new, by_sectors=True)
                self._written(after_finish(self.row, plan.entry, plan.offset) if plan.entry is not None else self.row)
                return plan.offset
            case Rewrite():
                if not self._replace_head(plan):
                    self._replace(self._rewritten(plan))
            case Unchanged():
                self.sync()
        return None

    def append(self, entries: list[dict[str, Any]]) -> None:
        """Add entries at the end.

        To add several entries, the whole document is written: if a crash interrupted an append of several entries,
        recovery would keep the complete ones and lose the others. Raises OSError if a write fails, which leaves the
        document as it was.
        """
        self.execute(Append(entries[0]) if len(entries) == 1 else Rewrite(added=entries))

    def change(
        self, header: dict[str, Any], replaced: dict[int, dict[str, Any] | None], added: list[dict[str, Any]]
    ) -> None:
        """Write the whole document with `header` as its header and the entries in `added` at the end.

        `replaced` maps the offset of an entry to its new value, or to None to remove the entry. All other entries keep
        their exact bytes.
        """
        self.execute(Rewrite(replaced, added, header))

    def replace_text(self, raw: bytes, *, has_comments: bool) -> None:
        """Replace the whole document by these bytes, in any layout, which must be a valid document of the session.

        `has_comments` is true if they have all comments of the document that are wanted.
        """
        if has_comments:
            self._lost_comments = None
        self._replace(raw)

    def finish(self, run: Recent, entry: dict[str, Any]) -> None:
        """Replace an unfinished run with `entry`, its finished or longer form. The run keeps its rating."""
        plan = self.plan_end(run, entry)
        self.execute(plan or Rewrite({run.offset: keep_rating(self.entry(run), entry)}))

    def plan_end(self, run: Recent, entry: dict[str, Any]) -> InPlace | Unchanged | None:
        """Plan replacing `run` with `entry`. Return None if more than the end of the file would have to change."""
        if self._rewrite or self.file.tail(1)[0][0] != run.offset:
            return None
        tail = filesystem.read_at(self.file.fd, self.file.size - run.offset, run.offset)
        return plan_end(self.file.layout, tail, run.offset, entry)

    def plan_step(self, step: dict[str, Any]) -> InPlace | None:
        """Plan adding a step to the last run. Return None if more than the end of the file would have to change.

        The run must be unfinished, and its steps must be its last value before the status.
        """
        if self._rewrite or self._parsed is not None:
            return None
        return plan_step(self.file.layout, self.file.size, step)

    def _rewritten(self, plan: Rewrite) -> bytes:
        """Return the bytes of the whole document after carrying out `plan`. Nothing is written."""
        layout = self.file.layout
        parsed = self.whole()
        if not plan.replaced.keys() | plan.inserted.keys() <= set(parsed.starts):
            raise ConcurrentChange
        pieces = []
        for start, old in zip(parsed.starts, parsed.slices(), strict=True):
            pieces += [layout.entry(entry) for entry in plan.inserted.get(start, [])]
            if start not in plan.replaced:
                pieces.append(old)
                continue
            entry, end = plan.replaced[start], layout.entry_end(old, 0)
            trailing = b"" if entry is None or end < 0 else old[end:]  # keep a comment after the entry
            self._check_replaced(parsed, start, old.removesuffix(trailing))
            if entry is not None:
                pieces.append(layout.entry(entry) + trailing)
        pieces += [layout.entry(entry) for entry in plan.added]
        is_same = plan.header is None or json_equal(plan.header, parsed.header)
        head = parsed.head if is_same else self._new_head(parsed, plan.header or {})
        return layout.assemble(head, pieces)

    def _replace_head(self, plan: Rewrite) -> bool:
        """Carry out a plan that changes only the header of a large document, and copy the bytes of its history.

        Return False, and write nothing, for any other plan, for an untrusted document, and if comments would be
        lost.
        """
        if plan.header is None or plan.replaced or plan.added or plan.inserted:
            return False
        if self._parsed is not None or self._rewrite or self.file.size <= _LARGE:
            return False
        layout, path, old = self.file.layout, self.file.path, self.file.head()
        before = ParsedDocument(layout, old, self.file.header(), [], [len(old)])
        head = self._new_head(before, plan.header)
        if self._lost_comments is not None:
            self._lost_comments = None
            return False
        parsed = parse_document(layout.assemble(head, []), layout, path)
        size, status = self.file.size, self.file.status

        def parts() -> Iterator[bytes]:
            yield head
            copied = len(old)
            with DocumentFile(path) as source:
                for block in source.blocks(copied):
                    copied += len(block)
                    yield block
            if copied != size:
                raise ConcurrentChange

        self.file.close()  # as in _replace
        try:
            written = durable_files.replace_file(path, parts(), status)
        except durable_files.FileChanged:
            raise ConcurrentChange from None
        self._open_replaced(written)
        fresh = row_of(parsed, self.row["path"], self.file.status, None)
        self.row = after_new_head(fresh, self.row, len(head) - len(old))
        self.changed = True
        return True

    def _new_head(self, parsed: ParsedDocument, header: dict[str, Any]) -> bytes:
        """Return the head of the document for a new header.

        Comments on lines of their own are kept. If there may be other comments, the next write saves the whole document
        to the rescue folder. Raises DocumentBroken if a rewrite would drop or round a value of the old header.
        """
        layout = self.file.layout
        self._check_lossless(layout.assemble(parsed.head, []), 0)
        head = layout.head(header)
        if not layout.keeps_comments:
            return head
        first, _, rest = head.partition(b"\n")
        lines = parsed.head.split(b"\n")
        comments = [line for line in lines if line.startswith(b"#") and line != first]
        others = b"\n".join(line for line in lines if not line.startswith(b"#"))
        if b"#" in others and others != layout.head(parsed.header).partition(b"\n")[2]:
            self._lost_comments = parsed.raw
        return b"\n".join([first, *comments, rest])

    def check_replaceable(self, offsets: Container[int]) -> None:
        """Raise DocumentBroken if replacing or removing the entries at these offsets would drop or round a value.

        Call it before the old entries are written anywhere else. Raises LayoutMismatch, ConcurrentChange.
        """
        parsed = self.whole()
        for start, old in zip(parsed.starts, parsed.slices(), strict=True):
            if start in offsets:
                self._check_lossless(old, parsed.raw.count(b"\n", 0, start))

    def _check_replaced(self, parsed: ParsedDocument, start: int, old: bytes) -> None:
        """Check the bytes `old` of an entry at `start` that is replaced or removed.

        Raises DocumentBroken if a rewrite would drop or round a value in them. If they may contain comments, the next
        write saves the whole document to the rescue folder.
        """
        layout = self.file.layout
        self._check_lossless(old, parsed.raw.count(b"\n", 0, start))
        if layout.keeps_comments and b"#" in old and layout.entry(layout.parse_entry(old)) != old:
            self._lost_comments = parsed.raw

    def _check_lossless(self, raw: bytes, lines_before: int) -> None:
        """Raise DocumentBroken if a rewrite of these bytes would drop or round a value.

        `lines_before` is the number of lines in the document before these bytes; it is added to the line in the error.
        """
        try:
            self.file.layout.parse_strict(raw)
        except ParseError as error:
            line = None if error.line is None else error.line + lines_before
            raise document_broken(ParseError(error.problem, line, error.column), self.file.path) from None

    # Writing bytes

    def _extend(self, old: bytes, new: bytes, *, by_sectors: bool = False) -> None:
        """Replace `old`, the last bytes of the file, with `new`.

        If `by_sectors` is true, a power cut cannot leave a mixture of both; see `filesystem.extend`. Raises
        ConcurrentChange if another program changed or replaced the file.
        """
        size = self.file.size
        if filesystem.read_at(self.file.fd, len(old), size - len(old)) != old:
            raise ConcurrentChange
        try:
            if not filesystem.is_one_step(size, old, new, by_sectors=by_sectors):
                self.marks.set(mark_of(self.row["session_id"], size, old, new, boot_hash()))
            filesystem.extend(self.file.fd, size, old, new, self._sync if by_sectors else None)
        except BaseException:
            if self._ends_as_before(size, old):
                self.marks.clear(self.row["session_id"])
            raise
        try:
            if self.durable:
                self._sync()
            self._look_at_path(size + len(new) - len(old))
        finally:
            self.marks.clear(self.row["session_id"])

    def _ends_as_before(self, size: int, old: bytes) -> bool:
        """Return whether the file was restored after a failed write. Return False in doubt."""
        try:
            end = filesystem.read_at(self.file.fd, len(old) + 1, size - len(old))
        except OSError:
            return False
        return end == old

    def _look_at_path(self, expected: int) -> None:
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
            self.file.look()  # the backup may be a hard link, which changes the ctime
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


def older_format_error(parsed: ParsedDocument, path: str, root: str) -> OlderFormat:
    """Return the error to raise when a write targets a document in an older schema version."""
    return OlderFormat(
        f"{path} has schema version {parsed.version}, and this localstore writes version {SCHEMA_VERSION}. Nothing was "
        f"changed. Upgrade the store with: localstore upgrade {shlex.quote(root)}",
        path=path,
        session_id=parsed.header["session_id"],
    )


def create_document(
    root: str,
    path: str,
    header: dict[str, Any],
    entries: list[dict[str, Any]],
    raw: bytes | None = None,
    *,
    durable: bool = True,
    sync: bool = True,
    watch: FolderWatch | None = None,
) -> IndexRow:
    """Write a new document and return its row. `path` is relative to `root`. `watch` is a watch of its folder.

    `raw` has the bytes of the document; without it, they are made of `header` and `entries`.

    If `sync` is true, its bytes are durable before it gets its name. If `durable` is true, so is its name.

    Raises DocumentBroken if a file already has this path or if its folder is a symbolic link. Raises OSError if the
    write fails.
    """
    target = Path(root, path)
    if filesystem.exists(str(target)):
        raise _in_the_way(target, header["session_id"])
    if os.path.islink(target.parent):
        raise DocumentBroken(
            f"{target.parent} is a symbolic link, and links are not followed. Put the folder itself there.",
            path=str(target),
            session_id=header["session_id"],
        )
    layout = LAYOUTS[target.suffix]
    if raw is None:
        raw = layout.assemble(layout.head(header), [layout.entry(entry) for entry in entries])
    parsed = parse_document(raw, layout, target)
    make_folders(root, target.parent)
    try:
        written = durable_files.create_file(target, [raw], settle=durable, sync=sync, watch=watch)
    except FileExistsError:
        raise _in_the_way(target, header["session_id"]) from None
    status = filesystem.system.status(str(target))
    if not durable_files.is_same(written, status):
        status = written  # somebody saved the file in the meantime: with this row, it is read again
    return row_of(parsed, path, status, None if durable else boot_id())


def _in_the_way(path: Path, session_id: str) -> DocumentBroken:
    return DocumentBroken(
        f"{path} is in the way: the document of the new session {session_id!r} needs this name. Rename or remove it.",
        path=str(path),
        session_id=session_id,
    )
