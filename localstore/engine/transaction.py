"""Change one document under its session's lock. Nothing else writes to documents.

Appending an entry extends the file and costs the entry. Most other changes rewrite the document and replace the file.
"""

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from localstore.disk import durable_files, filesystem, rescue_folder
from localstore.disk.boot import boot_id
from localstore.disk.document_file import DocumentFile
from localstore.engine.plan import Append, InPlace, Rewrite, Unchanged, plan_end, plan_step
from localstore.errors import DocumentBroken, OlderFormat
from localstore.format.document import (
    LAYOUTS,
    LayoutMismatch,
    ParsedDocument,
    document_broken,
    newest_state,
    normalise,
    parse_document,
    run_id_and_state,
)
from localstore.format.parse_error import ParseError
from localstore.format.recovery import RecoveredDocument, parse_or_recover
from localstore.format.run_entry import keep_rating
from localstore.format.values import json_equal
from localstore.index.row import (
    IndexRow,
    after_append,
    after_finish,
    after_write,
    carry_rewrite_flag,
    is_trusted,
    recorded_state,
    row_of,
)
from localstore.models.schema import SCHEMA_VERSION

_COMMENT = re.compile(rb"(?m)(?:^|[ \t])#(?! yaml-language-server:)")
"""What may be a comment in YAML; the one that names the schema is ours."""

_LARGE_LOOK = 128 * 1024

_PLAIN_ID = re.compile(r"[0-9A-Za-z_-]+\Z")
"""An id that stands in a document as it is, unless a person wrote it with escapes."""


Keep = Callable[[str], None]
"""Keeps the file at a path below the root as it is, durably."""


class Recent(NamedTuple):
    """A run near the end of the history, whose entry starts at `offset`."""

    offset: int
    unfinished: bool


class ConcurrentChange(Exception):
    """Another program wrote to the file at the same time. Read it again, and do what is still missing."""


class Transaction:
    """An open document whose session is locked.

    `row` describes the document as it is now; it is replaced, never changed in place. Whoever opens the document
    records the row if it `changed`. With `durable`, every change is on the disk when the call returns. A document of an
    older schema version is upgraded by the first change, after a call of `keep`; without `keep`, opening it raises
    OlderFormat.
    """

    def __init__(self, root: str, row: IndexRow, *, durable: bool, keep: Keep | None = None) -> None:
        self._root = root
        self._durable = durable
        self._keep = keep
        self._is_older = False
        self._parsed: ParsedDocument | None = None
        self._rewrite = False
        self._was_untrusted = False
        self.row: IndexRow = row
        self.changed = False
        """Whether `row` says something that the manifest does not know yet."""
        self._lost_comments: bytes | None = None
        self.file = DocumentFile(f"{root}/{row['path']}", write=True)
        try:
            self._settle()
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

    def _settle(self) -> None:
        """Prepare the document for changes: trust it, parse all of it, or repair what a crash left."""
        if is_trusted(self.row, self.file.status):
            self._rewrite = self.file.status.st_nlink > 1 or not self.row["entries"]
            return
        before = recorded_state(self.row)
        self._was_untrusted = True
        document = parse_or_recover(self.file.read_all(), self.file.layout, before, self.file.path)
        if isinstance(document, RecoveredDocument):
            for offset, data in document.rest:
                self._set_aside("torn by a crash", rescue_folder.piece(offset, data))
            self._replace(document.parsed.raw)
            return
        self._parsed = document
        self._is_older = document.version != SCHEMA_VERSION
        if self._is_older and self._keep is None:
            raise older(document, self.file.path, self._root)
        self.row = carry_rewrite_flag(row_of(self._parsed, self.row["path"], self.file.status, boot_id()), self.row)
        self.changed = True
        if not self._parsed.in_layout:
            self._normalise()
        self._rewrite = (
            bool(self.row.get("rewrite")) or self._rewrite or self.file.status.st_nlink > 1 or not self.row["entries"]
        )

    def _normalise(self) -> None:
        """Bring another layout into ours in memory; the next change writes it. Comments are kept in rescue then."""
        assert self._parsed is not None  # noqa: S101 (for the type checker)
        foreign = self._parsed.raw
        self._parsed = normalise(self._parsed, self.file.path)
        self._rewrite = True
        if self.file.layout.keeps_comments and _COMMENT.search(foreign):
            self._lost_comments = foreign

    def _set_aside(self, reason: str, content: dict[str, Any]) -> None:
        rescue_folder.set_aside(self._root, self.row["path"], self.row["session_id"], reason, content)

    # What it holds

    def header(self) -> dict[str, Any]:
        return self._parsed.header if self._parsed is not None else self.file.header()

    def whole(self) -> ParsedDocument:
        """Return the whole document, in our layout. Raises LayoutMismatch, ConcurrentChange."""
        if self._parsed is None:
            self._parsed = self.file.whole()
        if not self._parsed.in_layout:
            raise ConcurrentChange
        return self._parsed

    def state(self) -> dict[str, Any]:
        """Return the newest `session_state`. Raises LayoutMismatch."""
        if self._parsed is not None:
            state: Any = newest_state(self._parsed.entries).get("session_state")
        elif (offset := self.row.get("offsets", {}).get("session_state")) is not None:
            if (state := self.file.entry_at(offset).get("session_state")) is None:
                raise LayoutMismatch
        else:
            state = None
        return state if isinstance(state, dict) else {}

    def recent(self, count: int) -> dict[str, Recent]:
        """Return the runs among the last `count` entries by id, oldest first. Raises LayoutMismatch."""
        if not self.row["entries"]:
            return {}  # a list in the header may look like entries
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

    def cannot_have(self, run_id: str, count: int) -> bool:
        """Whether none of the last `count` entries can be this run, judged without parsing them."""
        if self._parsed is not None or not _PLAIN_ID.match(run_id):
            return False
        # One look will do when entries are of much the same size; looks that grow read the same again and again.
        guess = self.file.size * (count + 4) // max(1, self.row["entries"])
        tail, _ = self.file.tail_bytes(count, min(guess, _LARGE_LOOK))
        return run_id.encode() not in tail and self.file.layout.escape not in tail

    def entry(self, run: Recent) -> dict[str, Any]:
        """Return the entry of a run. Raises LayoutMismatch or ConcurrentChange if no entry starts there."""
        if self._parsed is None:
            return self.file.entry_at(run.offset)
        if run.offset not in self._parsed.starts:
            raise ConcurrentChange
        return self._parsed.entries[self._parsed.starts.index(run.offset)]

    # What can be done to it

    def sync(self) -> None:
        """Make earlier writes durable, if that is asked for. Rewrite the document if a sync of it failed."""
        if not self._durable:
            return
        if self.row.get("rewrite") or self._rewrite:
            self._replace(self.whole().raw)
        else:
            self._sync()
            if "boot" in self.row:
                self.row = after_write(self.row, self.file.status, None)
                self.changed = True

    def execute(self, plan: Append | InPlace | Rewrite | Unchanged) -> int | None:
        """Do what was planned. Return the offset of the entry that is new or changed at the end of the file; None if
        nothing was written or the whole document was. Raises OSError; the document is then as it was."""
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
                self._replace(self._rewritten(plan))
            case Unchanged():
                self.sync()
        return None

    def append(self, entries: list[dict[str, Any]]) -> None:
        """Add entries at the end.

        Several are written with the whole document: what is left of a torn write is kept entry by entry, so that some
        of them would stay without the others. Raises OSError; the document is then as it was.
        """
        self.execute(Append(entries[0]) if len(entries) == 1 else Rewrite(added=entries))

    def change(
        self, header: dict[str, Any], replaced: dict[int, dict[str, Any] | None], added: list[dict[str, Any]]
    ) -> None:
        """Write the whole document with another header, other entries at these offsets (None removes one), and more
        at the end. What is not named stays byte for byte."""
        self.execute(Rewrite(replaced, added, header))

    def finish(self, run: Recent, entry: dict[str, Any]) -> None:
        """Put the run, finished or grown, in the place of the unfinished one. A rating of it stays."""
        plan = self.plan_end(run, entry)
        self.execute(plan or Rewrite({run.offset: keep_rating(self.entry(run), entry)}))

    def plan_end(self, run: Recent, entry: dict[str, Any]) -> InPlace | Unchanged | None:
        """Plan the write of another form of a run if no more than the end of the file changes; else return None."""
        if self._rewrite or self.file.tail(1)[0][0] != run.offset:
            return None
        tail = filesystem.read_at(self.file.fd, self.file.size - run.offset, run.offset)
        return plan_end(self.file.layout, tail, run.offset, entry)

    def plan_step(self, step: dict[str, Any]) -> InPlace | None:
        """Plan a step more in the run at the end, which is unfinished and ends with its steps; None if more than the
        end of the file would change."""
        if self._rewrite or self._parsed is not None:
            return None
        return plan_step(self.file.layout, self.file.size, step)

    def _rewritten(self, plan: Rewrite) -> bytes:
        """The bytes of the document after a rewrite."""
        layout = self.file.layout
        parsed = self.whole()
        if not plan.replaced.keys() <= set(parsed.starts):
            raise ConcurrentChange
        pieces = []
        for start, old in zip(parsed.starts, parsed.slices(), strict=True):
            if start not in plan.replaced:
                pieces.append(old)
                continue
            entry, end = plan.replaced[start], layout.entry_end(old, 0)
            behind = b"" if entry is None or end < 0 else old[end:]  # a comment behind it stays
            self._check_replaced(parsed, start, old.removesuffix(behind))
            if entry is not None:
                pieces.append(layout.entry(entry) + behind)
        pieces += [layout.entry(entry) for entry in plan.added]
        is_same = plan.header is None or json_equal(plan.header, parsed.header)
        head = parsed.head if is_same else self._new_head(parsed, plan.header or {})
        return layout.assemble(head, pieces)

    def _new_head(self, parsed: ParsedDocument, header: dict[str, Any]) -> bytes:
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

    def _check_replaced(self, parsed: ParsedDocument, start: int, old: bytes) -> None:
        """Check that nothing is lost with the bytes of an entry that is replaced or removed. Raises DocumentBroken."""
        layout = self.file.layout
        self._check_lossless(old, parsed.raw.count(b"\n", 0, start))
        if layout.keeps_comments and b"#" in old and layout.entry(layout.parse_entry(old)) != old:
            self._lost_comments = parsed.raw

    def _check_lossless(self, raw: bytes, lines_before: int) -> None:
        """Raise DocumentBroken if a rewrite of these bytes would drop or round something."""
        try:
            self.file.layout.parse_strict(raw)
        except ParseError as error:
            line = None if error.line is None else error.line + lines_before
            raise document_broken(ParseError(error.problem, line, error.column), self.file.path) from None

    # How it is written

    def _extend(self, old: bytes, new: bytes, *, by_sectors: bool = False) -> None:
        size = self.file.size
        if filesystem.read_at(self.file.fd, len(old), size - len(old)) != old:
            raise ConcurrentChange
        filesystem.extend(self.file.fd, size, old, new, self._sync if by_sectors else None)
        if self._durable:
            self._sync()
        # By its name: an editor may have given the name to another file meanwhile.
        inode, expected = self.file.status.st_ino, size + len(new) - len(old)
        status = filesystem.status_or_none(self.file.path)
        if status is None or status.st_ino != inode or status.st_size != expected:
            raise ConcurrentChange
        self.file.status, self.file.size = status, status.st_size

    def _sync(self) -> None:
        try:
            filesystem.sync_file(self.file.fd, self.file.path)
            if self._was_untrusted:  # who made the file may not have made its name durable
                filesystem.sync_folder(os.path.dirname(self.file.path))
        except OSError:
            # The kernel may have dropped the pages: the tail of the file cannot be trusted until it is rewritten.
            self.row = {**self.row, "rewrite": True}
            self.changed = True
            raise

    def _written(self, row: IndexRow) -> None:
        self.row = after_write(row, self.file.status, None if self._durable else boot_id())
        self._parsed = None
        self.changed = True

    def _replace(self, raw: bytes) -> None:
        """Replace the file by one with these bytes, if they are a valid document."""
        parsed = parse_document(raw, self.file.layout, self.file.path)
        if self._lost_comments is not None:
            self._set_aside(rescue_folder.COMMENTS, rescue_folder.piece(0, self._lost_comments))
            self._lost_comments = None
        if not self.file.is_unchanged():
            raise ConcurrentChange
        if self._is_older and self._keep is not None:
            self._keep(self.row["path"])
            self._is_older = False
        self.file.close()  # Windows replaces no file that is open
        durable_files.write_file(self.file.path, [raw])
        self.file = DocumentFile(self.file.path, write=True)
        self.row = row_of(parsed, self.row["path"], self.file.status, None)
        self.changed = True
        self._parsed = None
        self._rewrite = not self.row["entries"]


def older(parsed: ParsedDocument, path: str, root: str) -> OlderFormat:
    """The error for writing to a document of an older version."""
    return OlderFormat(
        f"{path} has schema version {parsed.version}, and this localstore writes version {SCHEMA_VERSION}. Nothing was "
        f"changed. Upgrade the store with: localstore upgrade {shlex.quote(root)}",
        path=path,
        session_id=parsed.header["session_id"],
    )


def create_document(root: str, path: str, header: dict[str, Any], entries: list[dict[str, Any]]) -> IndexRow:
    """Write a new document, durably, and return its row. Raises DocumentBroken when the path is taken, OSError."""
    target = Path(root, path)
    if filesystem.exists(str(target)):
        raise DocumentBroken(
            f"{target} is in the way of a new session and holds none of that id. Rename or remove it.",
            path=str(target),
            session_id=header["session_id"],
        )
    if os.path.islink(target.parent):
        raise DocumentBroken(
            f"{target.parent} is a symbolic link, and links are not followed. Put the folder itself there.",
            path=str(target),
            session_id=header["session_id"],
        )
    layout = LAYOUTS[target.suffix]
    raw = layout.assemble(layout.head(header), [layout.entry(entry) for entry in entries])
    parsed = parse_document(raw, layout, target)
    filesystem.make_folders(target.parent)
    durable_files.write_file(target, [raw])
    return row_of(parsed, path, filesystem.system.status(str(target)), None)
