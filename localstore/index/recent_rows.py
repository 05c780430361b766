"""The rows in memory: those of the lines at the end of the manifest, and those that are true in this process alone.

Most lines belong to sessions that the process never uses, or are soon superseded by later ones, so a line is parsed
only when its session is requested.
"""

from localstore.index.manifest_lines import DELETED, split_lines
from localstore.index.row import IndexRow

_PARSED: dict[str, None] = {}


class RecentRows:
    """Holds rows that take precedence over those in the index, and lines that were not parsed yet."""

    def __init__(self) -> None:
        self.changes = 0
        """How often a row was set or removed in memory."""
        self.forget_all()

    def forget_all(self) -> None:
        """Begin without rows and lines."""
        self.rows: dict[str, IndexRow] = {}
        """Rows that take precedence over those in the index; `DELETED` if there is no such session."""
        self.ends: dict[str, int] = {}
        """By session, an offset that is not before the end of its last line. A session that has a row and is not here
        has one that is true in this process alone."""
        self.paths: dict[str, str] = {}
        """The session id of each path in `rows`."""
        self.pending: dict[str, bytes | list[bytes] | IndexRow] = {}
        """By session, lines that have not been parsed yet, or the row that was parsed from them. The session with the
        newest line comes last."""
        self.unparsed = 0
        """About how many bytes of lines have not been parsed yet."""
        self.left: set[str] = set()
        """Folders in which rows left their paths."""
        self.asked: tuple[int, IndexRow] | None = None
        """The row that the index was last asked for, and `ManifestIndex.restarts` then. Lines read later are here."""

    def add_lines(self, data: bytes, end: int) -> None:
        """Add lines to parse later. `end` is the offset behind the last one."""
        self.unparsed += len(data)
        for line, session_id in split_lines(data):
            if session_id is None:
                continue
            earlier = self.pending.pop(session_id, None)  # to come last
            if isinstance(earlier, bytes):
                self.pending[session_id] = [earlier, line]
            elif isinstance(earlier, list):
                earlier.append(line)
                self.pending[session_id] = earlier
            else:
                self.pending[session_id] = line
            self.ends[session_id] = end

    def remove(self, session_id: str) -> None:
        """Note that there is no such session, whatever the index says."""
        self.forget(session_id)
        self.rows[session_id] = DELETED
        self.changes += 1

    def forget(self, session_id: str) -> None:
        """Forget the row of a session, so that the one in the index counts."""
        row = self.rows.pop(session_id, None)
        if row is not None and row is not DELETED:
            self.paths.pop(row["path"], None)

    def forget_before(self, offset: int) -> bool:
        """Forget the lines before `offset`, and the rows of sessions without later ones.

        Return whether some of these lines had not been parsed.
        """
        has_unparsed = False
        self.asked = None
        for session_id in [session_id for session_id, end in self.ends.items() if end <= offset]:
            del self.ends[session_id]
            has_unparsed |= not isinstance(self.pending.pop(session_id, _PARSED), dict)
            self.forget(session_id)
        if not self.pending:
            self.unparsed = 0
        return has_unparsed

    def hidden(self) -> list[str]:
        """Return the sessions that were removed in this process alone."""
        return [session_id for session_id, row in self.rows.items() if row is DELETED and session_id not in self.ends]

    def present(self) -> list[IndexRow]:
        """Return the rows of sessions that exist."""
        return [row for row in self.rows.values() if row is not DELETED]
