"""Follow a session while others write to it: what was added, how unfinished runs grow, and what became of the file."""

from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, Literal

from localstore.disk import filesystem
from localstore.disk.document_file import fingerprint
from localstore.errors import LocalstoreError, LockTimeout, SessionNotFound
from localstore.storage.arguments import check_id
from localstore.storage.contract import SessionStorage
from localstore.storage.plain_session import read_plain
from localstore.storage.session_row import info_of
from localstore.storage.storage import Storage

ChangeKind = Literal["added", "changed", "removed", "gone", "back", "moved", "unreadable"]

_MOST_WATCHED = 32
"""How many of the last runs are looked at for a change. An older one that is still unfinished was abandoned."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened to a session.

    `kind` is "added" for a new entry, "changed" for a run that was unfinished and grew or ended, "removed" for a run
    that is no longer there, "gone" if the session was deleted, "back" if it exists again, "moved" if its document has
    another path, and "unreadable" if its document cannot be read now.
    """

    kind: ChangeKind
    entry: dict[str, Any] | None = None
    """The entry that was added, or the run as it is now, as plain values."""
    number: int | None = None
    """The number of the run in the session, counted from 1; None if the change is not about a run."""
    text: str = ""
    """The new path of a document that was moved, or why it cannot be read."""


class Follower:
    """Finds out what happens to a session, each time that it is asked.

    >>> follower = Follower(storage, "trip")
    >>> storage.append("trip", Run(run_id="r9"))
    >>> [(change.kind, change.entry["run_id"]) for change in follower.poll()]
    [('added', 'r9')]

    `session` is the session as it was read at first, and `runs` is how many runs it had then.
    """

    def __init__(self, storage: SessionStorage, session_id: str, *, last_runs: int | None = 1) -> None:
        """Read a session, with its last runs, to follow it from then on.

        Args:
            storage: The storage.
            session_id: The session.
            last_runs: How many of the last runs to read at first, at least 1; None reads all.

        Raises ValueError for an invalid argument, SessionNotFound, and DocumentBroken if it cannot be read.
        """
        check_id(session_id)
        if last_runs is not None and (type(last_runs) is not int or last_runs < 1):
            raise ValueError(f"last_runs must be None or a whole number from 1 on, not {last_runs!r}")
        self._storage = storage
        self.session_id = session_id
        self._path = self._read_path = self._current_path()
        self._mark = self._current_mark()
        stored_runs = self._stored_runs()
        session = read_plain(storage, session_id, last_runs=last_runs)
        if session is None or stored_runs is None:
            raise SessionNotFound(f"Session {session_id!r} was deleted just now.", session_id=session_id)
        self.session = session
        runs = [entry for entry in session.history if entry["type"] == "run"]
        self.runs = len(runs) if last_runs is None else max(stored_runs, len(runs))
        self._before = self.runs - len(runs)
        """How many runs were there before the first known one."""
        self._numbers = {run["run_id"]: number for number, run in enumerate(runs, self._before + 1)}
        """The number of each known run by its id, in the order of the history."""
        self._open = {run["run_id"]: run for run in runs if _is_unfinished(run)}
        """The unfinished ones among the known runs."""
        self._others = _others_at_end(session.history)
        """How many entries after the last known run are known."""
        self._problem: Literal["gone", "unreadable"] | None = None

    def poll(self) -> list[Change]:
        """Return what has happened since the last call, in the order of the history. It is empty if nothing has.

        If the file has not changed, the cost is that of reading its status. Otherwise, the last run is read and those
        that are new; and the runs before it back to one that is unfinished, but at most the last 32.

        Raises OSError if the operating system refuses.
        """
        mark = self._current_mark()
        if mark is not None and mark == self._mark:
            return []
        try:
            self._path = self._current_path()
            mark = self._current_mark()
            history = self._read_tail()
        except SessionNotFound:
            return self._failed("gone", "")
        except LocalstoreError as error:
            self._mark = None if isinstance(error, LockTimeout) else mark
            return self._failed("unreadable", str(error))
        except FileNotFoundError:
            return []  # it was replaced or removed just now: the next call finds out
        problem, self._problem, self._mark = self._problem, None, mark
        changes = [Change("back")] if problem else []
        changes += [Change("moved", text=self._path)] if self._path != self._read_path else []
        self._read_path = self._path
        return changes + self._differences(history)

    def _current_path(self) -> str:
        """Return the path of the document; "" if the session is in a database. Raises SessionNotFound."""
        if isinstance(self._storage, Storage):
            return str(self._storage.path(self.session_id))
        if not self._storage.revision(self.session_id):
            raise SessionNotFound(f"There is no session {self.session_id!r}.", session_id=self.session_id)
        return ""

    def _current_mark(self) -> list[int] | str | None:
        """Return what changes whenever the session does, or None if it is not there."""
        if not isinstance(self._storage, Storage):
            return self._storage.revision(self.session_id) or None
        status = filesystem.status_or_none(self._path)
        return None if status is None else fingerprint(status)

    def _stored_runs(self) -> int | None:
        """Return how many runs the session has, or None if it does not exist."""
        if isinstance(self._storage, Storage):
            row = self._storage._engine.locate(self.session_id)
            return None if row is None else row["runs"]
        info = info_of(self._storage, self.session_id)
        return None if info is None else info.runs

    def _failed(self, problem: Literal["gone", "unreadable"], text: str) -> list[Change]:
        """Return the problem as a change, unless it was returned before."""
        is_known, self._problem = self._problem == problem, problem
        return [] if is_known else [Change(problem, text=text)]

    def _read_tail(self) -> list[dict[str, Any]]:
        """Return the end of the history: from a known run on, or all of it if there is none."""
        count = 1
        for number, run_id in enumerate(islice(reversed(self._numbers), _MOST_WATCHED), 1):
            count = number if run_id in self._open else count
        while True:
            session = read_plain(self._storage, self.session_id, last_runs=count)
            if session is None:
                raise SessionNotFound(f"There is no session {self.session_id!r}.", session_id=self.session_id)
            runs = [entry["run_id"] for entry in session.history if entry["type"] == "run"]
            if len(runs) < count or any(run_id in self._numbers for run_id in runs):
                return session.history
            count *= 2

    def _differences(self, history: list[dict[str, Any]]) -> list[Change]:
        """Return how the end of the history differs from what is known, and remember it."""
        ids = {at: entry["run_id"] for at, entry in enumerate(history) if entry["type"] == "run"}
        known = [at for at, run_id in ids.items() if run_id in self._numbers]
        changes = self._forget_removed(ids[known[0]] if known else None, {*ids.values()})
        first, number = (known[0], self._numbers[ids[known[0]]] - 1) if known else (0, 0)
        if not known:  # this is the whole history
            known, self._before = [*ids][: self._before], 0
        last, known_at = known[-1] if known else -1, {*known}
        others = len(history) if changes else self._others  # known entries may follow another run now
        for at, entry in enumerate(history[first:], first):
            if entry["type"] == "run":
                run_id, number = entry["run_id"], number + 1
                is_new = at not in known_at
                if is_new or (run_id in self._open and entry != self._open[run_id]):
                    changes.append(Change("added" if is_new else "changed", entry, number))
                self._numbers[run_id] = number
                if _is_unfinished(entry):
                    self._open[run_id] = entry
                else:
                    self._open.pop(run_id, None)
            elif at > last:
                others -= 1
                if others < 0:
                    changes.append(Change("added", entry))
        self._others = _others_at_end(history)
        return changes

    def _forget_removed(self, first: str | None, ids: set[str]) -> list[Change]:
        """Forget the known runs after the run `first` that are not among `ids`, and return them as changes.

        If `first` is None, these are all known runs.
        """
        after = takewhile(lambda run_id: run_id != first, reversed(self._numbers))
        removed = [run_id for run_id in after if run_id not in ids][::-1]
        for run_id in removed:
            self._open.pop(run_id, None)
        return [Change("removed", number=self._numbers.pop(run_id)) for run_id in removed]


def _is_unfinished(run: dict[str, Any]) -> bool:
    return run.get("status") == "unfinished"


def _others_at_end(history: list[dict[str, Any]]) -> int:
    """Return how many entries follow the last run."""
    return next((at for at, entry in enumerate(reversed(history)) if entry["type"] == "run"), len(history))
