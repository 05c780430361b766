"""The information that a listing returns about each session."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from localstore.errors import NoFile
from localstore.models.excerpt import one_line, session_repr
from localstore.models.filter import Filter
from localstore.models.nearest import shown
from localstore.models.times import parse_time, time_text

SortKey = Literal["updated", "created", "runs", "tokens", "size", "name"]
"""What a listing may be sorted by."""
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)

_FIELDS = (
    "session_id",
    "kind",
    "entity_id",
    "user_id",
    "name",
    "title",
    "tags",
    "created_at",
    "updated_at",
    "runs",
    "failures",
    "status",
    "models",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "seconds",
    "ratings",
    "parent",
    "part_of",
    "size",
    "schema_version",
    "path",
    "problem",
)


class SessionInfo:
    """One session in a listing: its header fields, and facts about its document. Listing sessions reads no document.

    >>> row = {"session_id": "s1", "kind": "agent", "created_at": "2026-11-22T07:01:20.123Z", "runs": 2, "version": 1,
    ...     "updated_at": "2026-11-22T07:05:00.000Z", "fingerprint": (812, 0, 0, 0)}
    >>> session_info(row, "/store/sessions/2026-11/s1.json").size
    812
    """

    __slots__ = ("_active_at", "_path", "_row")

    def __init__(self, row: Mapping[str, Any], path: str, active_at: str) -> None:
        object.__setattr__(self, "_row", row)
        object.__setattr__(self, "_active_at", active_at)
        object.__setattr__(self, "_path", path)

    _row: Mapping[str, Any]
    _path: str
    _active_at: str

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to field {name!r}: a SessionInfo does not change")

    def __reduce__(self) -> tuple[Any, ...]:
        return SessionInfo, (self._row, self._path, self._active_at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SessionInfo) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((self.session_id, self._path, self._row["updated_at"]))

    def __repr__(self) -> str:
        return session_repr("SessionInfo", self.session_id, self.runs, self.user_id)

    @property
    def session_id(self) -> str:
        value: str = self._row["session_id"]
        return value

    @property
    def kind(self) -> str:
        """`agent`, `team` or `workflow`."""
        value: str = self._row["kind"]
        return value

    @property
    def entity_id(self) -> str | None:
        """The id of the agent, the team or the workflow."""
        return self._row.get("entity_id")

    @property
    def user_id(self) -> str | None:
        """The owner, or None if the session has none."""
        return self._row.get("user_id")

    @property
    def name(self) -> str | None:
        """The name that the session was given."""
        return self._row.get("name")

    @property
    def title(self) -> str | None:
        """The name or, without one, the first question; on one line, and at most 80 characters."""
        return one_line(self.name or "") or self._overview.get("question")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags."""
        return tuple(self._row.get("tags", ()))

    @property
    def created_at(self) -> datetime | None:
        """When the session began, in UTC; None if the document has text that is not a time."""
        return parse_time(self._row["created_at"])

    @property
    def updated_at(self) -> datetime | None:
        """When the newest entry of the history was made, in UTC; None if the document has text that is not a time.

        For a fork without entries of its own, it is the time of the fork.
        """
        return parse_time(self._row["updated_at"])

    @property
    def runs(self) -> int:
        """The number of runs."""
        value: int = self._row["runs"]
        return value

    @property
    def failures(self) -> int:
        """The number of runs with the status `error`."""
        return self._sum(1)

    @property
    def status(self) -> str | None:
        """The status of the last run; None without runs."""
        return self._overview.get("status")

    @property
    def models(self) -> tuple[str, ...]:
        """The models that answered, in alphabetical order."""
        return tuple(sorted({model for models in self._usage.values() for model in models if model}))

    @property
    def input_tokens(self) -> int:
        """The tokens that the models read in all finished runs."""
        return self._sum(2)

    @property
    def output_tokens(self) -> int:
        """The tokens that the models wrote in all finished runs."""
        return self._sum(3)

    @property
    def cached_tokens(self) -> int:
        """How many of the input tokens came from a server's cache."""
        return self._sum(4)

    @property
    def seconds(self) -> float:
        """How long all finished runs took together."""
        return self._sum(5) / 1000

    @property
    def ratings(self) -> dict[str, int]:
        """How many finished runs have each rating."""
        return dict(self._overview.get("ratings", {}))

    @property
    def parent(self) -> str | None:
        """The id of the session that this one was forked from."""
        return self._overview.get("parent")

    @property
    def part_of(self) -> str | None:
        """The id of the session to which this sub-session belongs; None if it is a session of its own."""
        return self._row.get("part_of")

    @property
    def size(self) -> int:
        """The size of the document in bytes."""
        return self._row["fingerprint"][0] if self._row["fingerprint"] else 0

    @property
    def schema_version(self) -> int:
        """The version of the document format."""
        value: int = self._row["version"]
        return value

    @property
    def path(self) -> Path:
        """The absolute path of the document. Raises NoFile if the session is in a database."""
        if not self._path:
            raise NoFile(
                f"Session {self.session_id!r} is in a database and has no file. 'localstore export' writes one.",
                session_id=self.session_id,
            )
        return Path(self._path)

    @property
    def has_file(self) -> bool:
        """Whether the session has a document in a folder; False if it is in a database."""
        return bool(self._path)

    @property
    def problem(self) -> str | None:
        """Why the document cannot be read; None if it can. With a problem, the other values are the last known ones."""
        return self._row.get("problem")

    @property
    def cursor(self) -> str:
        """The place of the session in a listing, for the argument `after` of the next one."""
        return cursor(self._active_at, self.session_id)

    def matches(self, where: Filter) -> bool:
        """Return whether the filter selects this session. Raises TypeError if `where` is no Filter."""
        if not isinstance(where, Filter):
            raise TypeError(f"where must be a Filter, not {shown(where)}. Use Filter(user=...).")
        return where.matches(self._row, self._active_at)

    @property
    def _overview(self) -> Mapping[str, Any]:
        overview: Mapping[str, Any] = self._row.get("overview", {})
        return overview

    @property
    def _usage(self) -> Mapping[str, Mapping[str, list[int]]]:
        usage: Mapping[str, Mapping[str, list[int]]] = self._overview.get("usage", {})
        return usage

    def _sum(self, column: int) -> int:
        return sum(numbers[column] for models in self._usage.values() for numbers in models.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict of JSON values, without those that are None and without empty tags.

        Times are text in the form used in documents. What is counted over the runs is left out where it is zero.
        """
        values = {name: getattr(self, name) for name in _FIELDS if name != "path" or self.has_file}
        return {
            name: _json_value(value)
            for name, value in values.items()
            if value not in (None, (), {}) and not (value == 0 and name in _COUNTS)
        }


_COUNTS = ("failures", "input_tokens", "output_tokens", "cached_tokens", "seconds")


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def in_order_of(infos: Iterable[SessionInfo], sort: SortKey) -> list[SessionInfo]:
    """Return the sessions with the newest or largest first, or by their titles from A to Z and those without one last.

    Those that are equal keep their order.
    """
    match sort:
        case "updated":
            return list(infos)
        case "name":
            return sorted(infos, key=lambda info: (info.title is None, (info.title or "").casefold()))
        case "created":
            return sorted(infos, key=lambda info: info.created_at or _LONG_AGO, reverse=True)
        case "runs":
            return sorted(infos, key=lambda info: info.runs, reverse=True)
        case "tokens":
            return sorted(infos, key=lambda info: info.input_tokens + info.output_tokens, reverse=True)
        case "size":
            return sorted(infos, key=lambda info: info.size, reverse=True)


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def cursor(active_at: str, session_id: str) -> str:
    """Return the cursor of a session: text that `position` reads."""
    return f"{active_at.replace('~', '~0').replace('|', '~1')}|{session_id}"


def position(cursor: str) -> tuple[str, str] | None:
    """Return the time and the session id in a cursor, or None if it is none.

    >>> position(cursor("2026-11-22T07:05:00.000Z", "trip|1"))
    ('2026-11-22T07:05:00.000Z', 'trip|1')
    """
    active_at, separator, session_id = cursor.partition("|")
    return (active_at.replace("~1", "|").replace("~0", "~"), session_id) if separator and session_id else None


def session_info(row: Mapping[str, Any], path: str, active_at: str = "") -> SessionInfo:
    """Return the listing entry for the document at `path`, made from its row in the manifest.

    `active_at` is the time by which the session is sorted in listings.
    """
    return SessionInfo(row, path, active_at)
