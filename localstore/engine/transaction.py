"""Change one document while its session's lock is held.

Appending an entry extends the file by the size of the entry. Most other changes write the whole document to a new file
that replaces the old one.
"""

import re
import shlex
from collections.abc import Container, Iterator, Sequence
from typing import Any

from localstore.disk import durable_files, filesystem, rescue_folder
from localstore.disk.boot import boot_id
from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.disk.write_marks import WriteMarks
from localstore.engine.open_document import LARGE, ConcurrentChange, Keep, OpenDocument, Recent
from localstore.engine.plan import Append, InPlace, Rewrite, Unchanged, plan_end, plan_step
from localstore.errors import DocumentBroken, LocalstoreError, OlderFormat
from localstore.format.document import ParsedDocument, document_broken, normalise, parse_document
from localstore.format.parse_error import ParseError
from localstore.format.recovery import RecoveredDocument, parse_or_recover
from localstore.format.run_entry import keep_rating
from localstore.format.values import json_equal
from localstore.format.write_mark import WriteMark
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


class Transaction(OpenDocument):
    """An open document whose session's lock is held by the caller.

    `row` describes the current state of the document; it is replaced, never modified. If `changed` is true, the caller
    that opened the document must record `row` in the manifest. `marks` are the marks in the session's lock file. If
    `durable` is true, every change is durable on disk before the method returns. The first change to a document in an
    older schema version upgrades it, after calling `keep` with its path. If `keep` is None, opening such a document
    raises OlderFormat.
    """

    def __init__(self, root: str, row: IndexRow, marks: WriteMarks, *, durable: bool, keep: Keep | None = None) -> None:
        super().__init__(root, row, marks, durable=durable, keep=keep)
        try:
            self._prepare()
        except BaseException as error:
            filesystem.set_filename(error, self.file.path)
            self.file.close()
            raise

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
        match plan:
            case Append(entries=entries) if not self._rewrite:
                return self._add(entries)
            case Append(entries=entries):
                self._replace(self._rewritten(Rewrite(added=entries)))
            case InPlace():
                self._extend(plan.old, plan.new, "by sectors")
                self._written(after_finish(self.row, plan.entry, plan.offset) if plan.entry is not None else self.row)
                return plan.offset
            case Rewrite():
                if not self._replace_head(plan):
                    self._replace(self._rewritten(plan))
            case Unchanged():
                self.sync()
        return None

    def append(self, entries: list[dict[str, Any]]) -> None:
        """Add one or more entries at the end: after a crash, all of them are there or none.

        Raises OSError if a write fails, which leaves the document as it was.
        """
        self.execute(Append(entries))

    def _add(self, entries: list[dict[str, Any]]) -> int:
        """Write entries and the closing to the end of the file, and return the offset of the first one."""
        layout, row = self.file.layout, self.row
        first = offset = self.file.size - len(layout.end) + len(layout.separator)
        pieces = [layout.entry(entry) for entry in entries]
        for entry, piece in zip(entries, pieces, strict=True):
            row = after_append(row, entry, offset)
            offset += len(piece) + len(layout.separator)
        new = layout.separator + layout.separator.join(pieces) + layout.end
        self._extend(layout.end, new, "together" if len(entries) > 1 else "any")
        self._written(row)
        return first

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
        if self._parsed is not None or self._rewrite or self.file.size <= LARGE:
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
        self._check_lossless(layout.assemble(parsed.head, []), parsed, 0)
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
                self._check_lossless(old, parsed, start)

    def _check_replaced(self, parsed: ParsedDocument, start: int, old: bytes) -> None:
        """Check the bytes `old` of an entry at `start` that is replaced or removed.

        Raises DocumentBroken if a rewrite would drop or round a value in them. If they may contain comments, the next
        write saves the whole document to the rescue folder.
        """
        layout = self.file.layout
        self._check_lossless(old, parsed, start)
        if layout.keeps_comments and b"#" in old and layout.entry(layout.parse_entry(old)) != old:
            self._lost_comments = parsed.raw

    def _check_lossless(self, raw: bytes, parsed: ParsedDocument, start: int) -> None:
        """Raise DocumentBroken if a rewrite of the bytes `raw`, which start at `start`, would drop or round a value."""
        try:
            self.file.layout.parse_strict(raw)
        except ParseError as error:
            line = None if error.line is None else error.line + parsed.raw.count(b"\n", 0, start)
            raise document_broken(ParseError(error.problem, line, error.column), self.file.path) from None


def older_format_error(parsed: ParsedDocument, path: str, root: str) -> OlderFormat:
    """Return the error to raise when a write targets a document in an older schema version."""
    return OlderFormat(
        f"{path} has schema version {parsed.version}, and this localstore writes version {SCHEMA_VERSION}. Nothing was "
        f"changed. Upgrade the store with: localstore upgrade {shlex.quote(root)}",
        path=path,
        session_id=parsed.header["session_id"],
    )
