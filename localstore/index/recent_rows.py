"""The rows in memory: those of the lines at the end of the manifest, and those that are true in this process alone.

Most lines belong to sessions that the process never uses, or are soon superseded by later ones, so a line is parsed
only when its session is requested. Before that, only its path is looked at: a line may move a session to another path,
or give its path to another session.
"""

from typing import NamedTuple

from localstore.index.manifest_lines import DELETED, last_usable, path_in, split_lines
from localstore.index.row import IndexRow

_PARSED: dict[str, None] = {}


class KnownPaths(NamedTuple):
    """What the index says of some sessions and paths."""

    of_sessions: dict[str, str]
    """By session, its path."""
    sessions: dict[str, str]
    """By path, the session whose row has it."""


NO_PATHS = KnownPaths({}, {})


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
        self.unmoved: dict[str, str] = {}
        """The path of each session in `pending` whose lines are known to leave its path as it is."""
        self.left: set[str] = set()
        """Folders in which rows left their paths."""
        self.asked: tuple[int, IndexRow] | None = None
        """The row that the index was last asked for, and `ManifestIndex.restarts` then. Lines read later are here."""

    def add_lines(self, data: bytes, end: int) -> None:
        """Add lines to parse later. `end` is the offset behind the last one."""
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
            self.unmoved.pop(session_id, None)

    def find_unmoved(self) -> dict[str, str] | None:
        """Add to `unmoved` the sessions whose pending lines have the path of their row in memory.

        Return the paths in the lines of sessions without such a row: the index knows whether they are the same as
        before. Return None if a line changes a path, or may change one.
        """
        unknown: dict[str, str] = {}
        for session_id, lines in self.pending.items():
            if isinstance(lines, dict) or session_id in self.unmoved:
                continue
            path = path_in(lines)
            if path is None:
                return None
            row = self.rows.get(session_id)
            if row is None:
                unknown[session_id] = path
            elif row is DELETED or row["path"] != path:
                return None
            else:
                self.unmoved[session_id] = path
        return unknown

    def parse_unmoved(self, session_id: str) -> bool:
        """Parse the lines of a session in `unmoved`. Return False, and change nothing, if all lines must be parsed."""
        lines, path = self.pending[session_id], self.unmoved[session_id]
        row = None if isinstance(lines, dict) else last_usable(session_id, lines)
        if row is None or row is DELETED or row["path"] != path or self.paths.get(path, session_id) != session_id:
            return False
        del self.unmoved[session_id]
        self.paths[path] = session_id
        self.rows[session_id] = row
        self.pending[session_id] = row  # keep its place: older lines may give this path to another session
        return True

    def may_have(self, session_id: str, text: bytes) -> bool:
        """Return whether a text occurs in the lines of a session that were not parsed."""
        lines = self.pending[session_id]
        if isinstance(lines, list):
            return any(text in line for line in lines)
        return not isinstance(lines, dict) and text in lines

    def unparsed(self) -> int:
        """Return about how many bytes of lines have not been parsed yet."""
        return sum(len(lines[-1] if isinstance(lines, list) else lines) for lines in self.pending.values())

    def set(self, row: IndexRow, paths: KnownPaths) -> None:
        """Set a row. `paths` are those of the index."""
        session_id, path = row["session_id"], row["path"]
        old_path = self._path_of(session_id, paths)
        if old_path != path or session_id not in self.rows:
            replaced = self.paths.get(path)
            if replaced is None:
                replaced = paths.sessions.get(path)
                if replaced in self.rows:
                    replaced = None  # its row in memory has another path, or it was deleted
            if old_path is not None and old_path != path:
                self.left.add(old_path.rpartition("/")[0])
            if replaced is not None and replaced != session_id:  # the file was given another id
                self.remove(replaced)
            if old_path is not None and session_id in self.rows:
                self.paths.pop(old_path, None)
            self.paths[path] = session_id
        self.rows[session_id] = row
        self.changes += 1

    def set_again(self, row: IndexRow, old: IndexRow) -> bool:
        """Replace the row `old` of a session. Return False, and change nothing, if the new row has another path."""
        session_id, path = row["session_id"], row["path"]
        if path != old["path"] or self.paths.get(path, session_id) != session_id:
            return False
        self.paths[path] = session_id
        self.rows[session_id] = row
        self.changes += 1
        return True

    def _path_of(self, session_id: str, paths: KnownPaths) -> str | None:
        row = self.rows.get(session_id)
        if row is None:
            return paths.of_sessions.get(session_id)
        return None if row is DELETED else row["path"]

    def drop(self, session_id: str, paths: KnownPaths) -> None:
        """Remove a row, and note the folder that it leaves. `paths` are those of the index."""
        path = self._path_of(session_id, paths)
        if path is not None:
            self.left.add(path.rpartition("/")[0])
        self.remove(session_id)

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
            self.unmoved.pop(session_id, None)
            self.forget(session_id)
        return has_unparsed

    def hidden(self) -> list[str]:
        """Return the sessions that were removed in this process alone."""
        return [session_id for session_id, row in self.rows.items() if row is DELETED and session_id not in self.ends]

    def present(self) -> list[IndexRow]:
        """Return the rows of sessions that exist."""
        return [row for row in self.rows.values() if row is not DELETED]
