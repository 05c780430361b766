"""An open document: read its head, its tail or all of it. Reading takes no lock and never changes a byte."""

import os
import stat
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from localstore.disk import filesystem
from localstore.disk.loading import is_ready_for, load_yaml
from localstore.errors import DocumentBroken
from localstore.format.document import (
    LAYOUTS,
    Layout,
    LayoutMismatch,
    ParsedDocument,
    header_of,
    parse_document,
    parse_for_reading,
    split_entries,
)
from localstore.format.json_layout import JsonLayout
from localstore.format.parse_error import ParseError

_READING_ATTEMPTS = 3

_PATIENCE = 1.0
"""How many seconds a reader waits for a program that is saving the document in place."""
_PAUSE = 0.002

IRREGULAR = "is not a regular file"
"""The problem reported for a folder, named pipe or socket that is named like a document."""

ELSEWHERE = "is not on this machine, because a sync tool keeps its content elsewhere"
"""The problem reported for a document that iCloud or OneDrive has evicted. Reading it would wait for the network."""
FETCH = "Open the file in the file manager, or tell the sync tool to keep it on this machine."
"""What to do about such a document."""
_DATALESS = 0x40000000
"""macOS: SF_DATALESS in `st_flags`."""
_RECALLED = 0x00400000 | 0x00040000
"""Windows: FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS and _ON_OPEN."""

_BLOCK = 16 * 1024
_LARGE_BLOCK = 1 << 20
_HEAD = 256
"""How many bytes of an entry have its type and the id of a run."""
_OVERLAP = 64
"""How many bytes two blocks share, so that no mark is cut in two."""


class DocumentFile:
    """Open one document for reading or writing, in a `with` statement. Raises FileNotFoundError if there is none.

    The suffix of the path determines the layout, unless another one is given.
    """

    __slots__ = ("_is_writable", "fd", "layout", "path", "size", "status")

    def __init__(self, path: str, *, write: bool = False, layout: Layout | None = None) -> None:
        self.path = path
        self._is_writable = write
        self.layout = layout or LAYOUTS[path[-5:]]
        if not is_ready_for(self.layout.suffix):
            load_yaml()
        try:
            self.fd = filesystem.system.open(path, os.O_RDWR if write else os.O_RDONLY)
        except OSError as error:
            if error.errno in filesystem.LINK:
                raise DocumentBroken(
                    f"{path} is a symbolic link, and links are not followed. Put the document itself there.",
                    path=path,
                ) from None
            if error.errno in filesystem.NO_FILE:
                raise _irregular(path) from None
            raise
        try:
            self.refresh_status()
            if not stat.S_ISREG(self.status.st_mode):
                raise _irregular(path)
            if is_elsewhere(self.status):
                raise DocumentBroken(
                    f"{path} {ELSEWHERE}. Nothing was changed. {FETCH}",
                    path=path,
                    problem=ELSEWHERE,
                )
        except BaseException as error:
            filesystem.set_filename(error, path)
            self.close()
            raise

    def refresh_status(self) -> None:
        """Read the current status of the file."""
        self.status = filesystem.system.status_of(self.fd)
        self.size = self.status.st_size

    def close(self) -> None:
        fd, self.fd = self.fd, -1  # never close it twice: the number may belong to another file by then
        if fd >= 0:
            try:
                filesystem.system.close(fd)
            except OSError as error:
                filesystem.set_filename(error, self.path)
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        filesystem.set_filename(error, self.path)
        self.close()

    def is_unchanged(self) -> bool:
        """Return whether the file is unchanged since its status was last read."""
        return fingerprint(filesystem.system.status_of(self.fd)) == fingerprint(self.status)

    def read_all(self) -> bytes:
        """Update the status and return all bytes of the file.

        If an editor writes the file in place meanwhile, it is read again, a few times: half of a saved document would
        look like a broken one.
        """
        for _ in range(_READING_ATTEMPTS):
            self.refresh_status()
            raw = filesystem.read_at(self.fd, self.size, 0)
            if self.is_unchanged() and (raw.endswith(self.layout.closing) or not self.was_being_saved()):
                break
        return raw

    def was_being_saved(self) -> bool:
        """Wait while a program has the file open for writing, at most one second. Return whether one has closed it.

        Return False if the file is open for writing here, and where the system cannot tell.
        """
        if self._is_writable or not filesystem.system.is_being_written(self.fd):
            return False
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            time.sleep(_PAUSE)
            if not filesystem.system.is_being_written(self.fd):
                return True
        return False  # for example, a process that was forked in the middle of a write

    def parse(self) -> ParsedDocument:
        """Parse the whole document in any layout. Raises DocumentBroken, NewerFormat, OlderFormat."""
        return parse_document(self.read_all(), self.layout, self.path)

    # For documents that are trusted to be in localstore's layout. All of these raise LayoutMismatch if one is not.

    def whole(self) -> ParsedDocument:
        """Parse the whole document. Raises LayoutMismatch, NewerFormat, OlderFormat."""
        try:
            parsed = self.parse()
        except DocumentBroken:
            raise LayoutMismatch from None  # a power cut may have kept the times of a file, and not all of its bytes
        if not parsed.in_layout:
            raise LayoutMismatch
        return parsed

    def to_read(self) -> ParsedDocument:
        """Parse the whole document for a read, without offsets if possible. Raises NewerFormat, OlderFormat."""
        parsed = parse_for_reading(self.read_all(), self.layout) if isinstance(self.layout, JsonLayout) else None
        return parsed or self.whole()

    def header(self) -> dict[str, Any]:
        """Read and return the header alone."""
        return header_of(self._parsed(self.layout.parse_head, self.head()))

    def head(self) -> bytes:
        """Read and return the bytes up to and including the line that opens the history."""
        size = _BLOCK
        while True:
            data = filesystem.read_at(self.fd, min(size, self.size), 0)
            opened = data.find(self.layout.opening)
            if opened >= 0:
                break
            if size >= self.size:
                raise LayoutMismatch
            size *= 4
        return data[: opened + len(self.layout.opening)]

    def blocks(self, begin: int) -> Iterator[bytes]:
        """Yield the bytes from an offset to the end of the file in blocks of 1 MiB."""
        for at in range(begin, self.size, _LARGE_BLOCK):
            yield filesystem.read_at(self.fd, min(self.size - at, _LARGE_BLOCK), at)

    def tail(self, count: int) -> list[tuple[int, bytes]]:
        """Return the offsets and bytes of the last `count` entries, oldest first; fewer if the document has fewer."""
        size = _BLOCK
        while True:
            data = self._end(size)
            opened = data.find(self.layout.opening)
            starts = [start for start in self.layout.last_entry_starts(data, count) if start > opened]
            if len(starts) == count or opened >= 0 or len(data) == self.size:
                break
            size *= 4
        begin = self.size - len(data)
        pieces = split_entries(self.layout, data, starts, len(data))
        return [(begin + start, piece) for start, piece in zip(starts, pieces, strict=True)]

    def tail_bytes(self, count: int, guess: int) -> bytes:
        """Return the end of the file with at least the last `count` entries, of which the document has as many.

        `guess` is the number of bytes to read first.
        """
        size = max(guess, _BLOCK)
        while True:
            data = self._end(size)
            if len(self.layout.last_entry_starts(data, count)) == count or len(data) == self.size:
                return data
            size *= 4

    def _end(self, size: int) -> bytes:
        """Return the last `size` bytes of the file, or all."""
        data = filesystem.read_at(self.fd, min(size, self.size), max(0, self.size - size))
        if not data.endswith(self.layout.closing):
            raise LayoutMismatch
        return data

    def tail_spans(self, count: int) -> list[tuple[int, int]]:
        """Return the start and the end of each of the last `count` entries, oldest first, without keeping their bytes.

        Use it for large documents: it reads the end of the file in blocks of 1 MiB, as often as needed.
        """
        if filesystem.read_at(self.fd, len(self.layout.closing), self.size - len(self.layout.closing)) != (
            self.layout.closing
        ):
            raise LayoutMismatch
        starts: list[int] = []
        position = self.size
        is_opened = False
        while position > 0 and len(starts) < count and not is_opened:
            begin = max(0, position - _LARGE_BLOCK)
            data = filesystem.read_at(self.fd, min(self.size, position + _OVERLAP) - begin, begin)
            opened = data.find(self.layout.opening)
            is_opened = opened >= 0
            found = self.layout.entry_starts(data, opened + len(self.layout.opening) if is_opened else 0)
            starts = [begin + start for start in found if begin + start <= position] + starts
            position = begin
        starts = starts[-count:]
        separator = self.layout.separator
        for start in starts[1:]:
            if filesystem.read_at(self.fd, len(separator), start - len(separator)) != separator:
                raise LayoutMismatch
        ends = [start - len(separator) for start in starts[1:]] + [self.size - len(self.layout.end)]
        return list(zip(starts, ends, strict=False))

    def contains(self, text: bytes, begin: int, end: int) -> bool:
        """Return whether `text`, of at most 64 bytes, is between two offsets. Reads one block after the other."""
        for at in range(begin, end, _LARGE_BLOCK):
            if text in filesystem.read_at(self.fd, min(end - at, _LARGE_BLOCK + _OVERLAP), at):
                return True
        return False

    def last_entries(self, count: int, of: str, entries: int) -> list[tuple[int, dict[str, Any]]]:
        """Return the offset and value of each entry from the last `count` entries of the type `of` on, oldest first.

        `entries` is the number of entries in the document. `count` is at least 1.
        """
        want = count
        while True:
            found = []
            missing = count
            for offset, piece in reversed(self.tail(want)):
                entry = self._parsed(self.layout.parse_entry, piece)
                found.append((offset, entry))
                missing -= entry.get("type") == of
                if not missing:
                    break
            if not missing or len(found) >= entries:
                return found[::-1]
            if len(found) < want:
                raise LayoutMismatch
            want *= 4

    def some_entries(self, count: int, of: str, entries: int, most: int) -> list[tuple[int, dict[str, Any]]]:
        """Return the same as `last_entries`, up to the next entry of the type after the first `most` ones.

        Use it for large documents: what is not returned is not parsed, and its bytes are not kept.
        """
        want = count
        while True:
            spans = self.tail_spans(want)
            counted = [at for at, (start, end) in enumerate(spans) if self._type_between(start, end) == of]
            if len(counted) >= count or len(spans) >= entries:
                break
            if len(spans) < want:
                raise LayoutMismatch
            want *= 4
        before = max(0, len(counted) - count)
        first = counted[before] if count <= len(counted) else 0
        last = counted[before + most] if before + most < len(counted) else len(spans)
        return [(start, self._entry_between(start, end)) for start, end in spans[first:last]]

    def _type_between(self, start: int, end: int) -> Any:
        """Return the type of an entry. Only one that may be written by hand, or is no run, is parsed."""
        if self.layout.run_id(filesystem.read_at(self.fd, min(end - start, _HEAD), start)) is not None:
            return "run"
        return self._entry_between(start, end).get("type")

    def _entry_between(self, start: int, end: int) -> dict[str, Any]:
        return self._parsed(self.layout.parse_entry, filesystem.read_at(self.fd, end - start, start))

    def entry_at(self, offset: int) -> dict[str, Any]:
        """Return the entry that starts at `offset`."""
        if not 0 < offset < self.size:
            raise LayoutMismatch
        size = _BLOCK
        while True:
            data = filesystem.read_at(self.fd, min(size, self.size - offset), offset)
            following = self.layout.entry_starts(data, 1)
            if following:
                return self._parsed(self.layout.parse_entry, data[: following[0] - len(self.layout.separator)])
            if size >= self.size - offset:
                if not data.endswith(self.layout.closing):
                    raise LayoutMismatch
                return self._parsed(self.layout.parse_entry, data.removesuffix(self.layout.end))
            size *= 4

    @staticmethod
    def _parsed(parse: Any, data: bytes) -> dict[str, Any]:
        try:
            value = parse(data)
        except ParseError:
            raise LayoutMismatch from None
        if not isinstance(value, dict):
            raise LayoutMismatch
        return value


def fingerprint(status: os.stat_result) -> list[int]:
    """Return size, mtime_ns, ctime_ns and inode. They change when the file is written, replaced or moved."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def is_elsewhere(status: os.stat_result) -> bool:
    """Return whether the content of a file is not on this machine."""
    flags, attributes = getattr(status, "st_flags", 0), getattr(status, "st_file_attributes", 0)
    return bool(flags & _DATALESS or attributes & _RECALLED)


def _irregular(path: str) -> DocumentBroken:
    return DocumentBroken(f"{path} {IRREGULAR}. Move it out of the store.", path=path, problem=IRREGULAR)
