"""The marks of writes in progress, stored in the lock files.

A writer that holds the lock of a session marks its write in that lock file before the first byte of the document
changes, and clears the mark afterwards. The next holder of the lock that finds a mark knows that a process was killed
during that write. Marks are never synced: after a restart of the machine they prove nothing.

A mark is a line of JSON. To clear it, its first byte becomes a newline; what is left of the line is not valid JSON.
"""

import contextlib

from localstore.disk import boot, filesystem
from localstore.format.write_mark import WriteMark, parse_mark

_BEGIN = 1
"""Where marks begin. Windows locks the first byte of the file, so that no other process can read it."""
_BLOCK = 4095


class WriteMarks:
    """The marks in one lock file, which is read when they are first needed. To change them, hold the lock.

    All methods but `known` and `clear` may raise OSError.
    """

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        self._marks: dict[int, WriteMark] = {}
        self._is_read = False

    def _read(self) -> None:
        """Read the marks of the file. Do nothing if they were read before."""
        if self._is_read:
            return
        try:
            data = filesystem.system.read(self._fd, _BLOCK, _BEGIN)
            if len(data) == _BLOCK:
                size = filesystem.system.status_of(self._fd).st_size
                data += filesystem.read_at(self._fd, size, _BEGIN + _BLOCK)
        except OSError as error:
            filesystem.set_filename(error, self._path)
            raise
        self._is_read = True
        at = _BEGIN
        for line in data.split(b"\n")[:-1]:
            mark = parse_mark(line) if line.startswith(b"{") else None
            if mark is not None:
                self._marks[at] = mark
            at += len(line) + 1

    def of(self, session_id: str) -> list[WriteMark]:
        """Return the marks of a session from this boot: a process was killed during each of these writes."""
        self._read()
        return [mark for mark in self._marks.values() if mark.session_id == session_id and self._is_current(mark)]

    def sessions(self) -> set[str]:
        """Return the ids of all sessions that have a mark, whatever its boot is."""
        self._read()
        return self.known()

    def known(self) -> set[str]:
        """Return the ids of the sessions that have a mark, if the marks were read before; else an empty set."""
        return {mark.session_id for mark in self._marks.values()} if self._marks else set()

    def _is_current(self, mark: WriteMark) -> bool:
        if mark.boot == boot.boot_hash():
            return True
        if boot.is_machine_wide():
            return False
        return not boot.is_older_than_boot(filesystem.system.status_of(self._fd).st_mtime_ns)

    def set(self, mark: WriteMark) -> None:
        """Add a mark after all others. Raises OSError, also after a part of it was written."""
        self._read()
        at = max((at + len(other.line()) for at, other in self._marks.items()), default=_BEGIN)
        self._marks[at] = mark
        try:
            filesystem.write_at(self._fd, mark.line(), at)
        except OSError as error:
            filesystem.set_filename(error, self._path)
            raise

    def clear(self, session_id: str) -> None:
        """Remove the marks of a session. One that cannot be removed stays: it describes a write that has ended."""
        for at in [at for at, mark in self._marks.items() if mark.session_id == session_id]:
            with contextlib.suppress(OSError):
                filesystem.write_at(self._fd, b"\n", at)
                del self._marks[at]
