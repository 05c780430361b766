"""A filter: which sessions to list, count or export."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast

from localstore.models.excerpt import given_repr
from localstore.models.nearest import not_one_of, shown
from localstore.models.schema import KINDS, RATINGS, Kind, Rating, RunStatus
from localstore.models.times import is_time_text, parse_age, time_text

ARCHIVED = "archived"
"""The tag of sessions that `localstore ls` leaves out."""
STATUSES: tuple[RunStatus, ...] = ("unfinished", "completed", "error", "cancelled")
_DAYS = {"today": 0, "yesterday": 1}


@dataclass(frozen=True, slots=True)
class Filter:
    """The sessions to select: those that match every field that is given. An empty filter matches all.

    >>> Filter(user="alice", tag="travel").matches({"user_id": "alice", "tags": ["travel", "2026"]})
    True

    A time is a `datetime` with a time zone, a `date`, or text: `2026-11-01`, `2026-11-01T10:00`, `7d` (also `m`, `h`
    and `w`: so many minutes, hours, days or weeks ago), `today` or `yesterday`. Text without a time zone means local
    time. It is read once, when the filter is made.

    Args:
        user: The `user_id` of the session.
        entity: The id of the agent, team or workflow.
        kind: "agent", "team" or "workflow".
        name: Text that occurs in the session's name, in upper or lower case.
        tag: A tag, or several tags, all of which the session must have.
        model: A model that answered in one of its runs, as the server names it.
        status: The status of its last run: "unfinished", "completed", "error" or "cancelled".
        rating: "good" or "bad": one of its finished runs has this rating.
        since: The newest entry is not older than this time. A day begins at midnight.
        until: The newest entry is older than this time. A day is included to its end.
        archived: True for sessions with the tag "archived", False for those without it.
        part_of: The id of a session, or several ids: only the sub-sessions of one of them.
        sub_sessions: True for sub-sessions, False for sessions that are not part of another one.

    Raises TypeError or ValueError for an argument that cannot match any session, such as a `since` that is not before
    `until`, and for an empty `name` or `model`.
    """

    user: str | None = None
    entity: str | None = None
    kind: Kind | None = None
    name: str | None = None
    tag: str | tuple[str, ...] | None = None
    model: str | None = None
    status: RunStatus | None = None
    rating: Rating | None = None
    since: datetime | date | str | None = None
    until: datetime | date | str | None = None
    archived: bool | None = None
    part_of: str | tuple[str, ...] | None = None
    sub_sessions: bool | None = None
    since_text: str | None = field(init=False, compare=False, default=None)
    """`since` in the form used in documents, in UTC."""
    until_text: str | None = field(init=False, compare=False, default=None)
    """`until` in the form used in documents, in UTC. This moment is not included."""

    def __post_init__(self) -> None:
        for name in ("user", "entity", "name", "model"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} must be text or None, not {shown(value)}")
            _check_characters(name, value or "")
        for name in ("name", "model"):
            if getattr(self, name) == "":
                raise ValueError(f"{name} is empty. Leave it out to select all sessions.")
        for name in ("tag", "part_of"):
            value = getattr(self, name)
            texts = (value,) if isinstance(value, str) else value
            if texts is not None:
                if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
                    raise TypeError(f"{name} must be text, a tuple of texts, or None, not {shown(value)}")
                object.__setattr__(self, name, tuple(texts) or None)
                _check_characters(name, "".join(texts))
        for name, value, words in (
            ("kind", self.kind, KINDS),
            ("status", self.status, STATUSES),
            ("rating", self.rating, RATINGS),
        ):
            if value is not None and value not in words:
                raise ValueError(f"{name} {not_one_of(value, words)}")
        for name in ("archived", "sub_sessions"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"{name} must be True, False or None, not {shown(value)}")
        if self.since is not None:
            object.__setattr__(self, "since_text", _time_text("since", self.since, is_end=False))
        if self.until is not None:
            object.__setattr__(self, "until_text", _time_text("until", self.until, is_end=True))
        if self.since_text is not None and self.until_text is not None and self.since_text >= self.until_text:
            raise ValueError(
                f"since is {shown(self.since)}, which is not before until ({shown(self.until)}). No session can match."
            )

    def narrowed(self, user: str | None, entity: str | None, kind: str | None) -> "Filter | None":
        """Return the filter with these fields too, where they are not None. Return None if no session can match."""
        pairs = ((self.user, user), (self.entity, entity), (self.kind, kind))
        if any(None not in pair and pair[0] != pair[1] for pair in pairs):
            return None
        if user is None and entity is None and kind is None:
            return self
        return replace(
            self,
            user=self.user if user is None else user,
            entity=self.entity if entity is None else entity,
            kind=self.kind if kind is None else cast("Kind", kind),
        )

    @property
    def counts_runs(self) -> bool:
        """Whether the filter needs what is counted over the runs of a session."""
        return self.model is not None or self.status is not None or self.rating is not None

    def __repr__(self) -> str:
        return given_repr("Filter", {item.name: getattr(self, item.name) for item in fields(self) if item.init})

    def __bool__(self) -> bool:
        """Return whether the filter leaves any session out."""
        return self != Filter()

    def matches(self, row: Mapping[str, Any], active_at: str | None = None) -> bool:
        """Return whether the session that a row of the manifest describes is selected.

        `active_at` is the time of its last activity, where that is not the time of its newest entry. If it is no time,
        the session matches no time.
        """
        return (
            self.matches_header(row)
            and self._matches_time(row, active_at)
            and (not self.counts_runs or self._matches_runs(row.get("overview", {})))
        )

    def matches_header(self, row: Mapping[str, Any]) -> bool:
        """Return whether the fields match that need neither the time nor the runs of the session."""
        return (
            (self.user is None or row.get("user_id") == self.user)
            and (self.entity is None or row.get("entity_id") == self.entity)
            and (self.kind is None or row["kind"] == self.kind)
            and (self.name is None or self.name.casefold() in (row.get("name") or "").casefold())
            and (not self.tag or set(self.tag) <= set(row.get("tags", ())))
            and (self.archived is None or self.archived == (ARCHIVED in row.get("tags", ())))
            and (self.part_of is None or row.get("part_of") in self.part_of)
            and (self.sub_sessions is None or self.sub_sessions == ("part_of" in row))
        )

    def _matches_time(self, row: Mapping[str, Any], active_at: str | None) -> bool:
        if self.since_text is None and self.until_text is None:
            return True
        updated_at = row["updated_at"] if active_at is None else active_at
        return (
            is_time_text(updated_at)
            and (self.since_text is None or updated_at >= self.since_text)
            and (self.until_text is None or updated_at < self.until_text)
        )

    def _matches_runs(self, overview: Mapping[str, Any]) -> bool:
        return (
            (self.status is None or overview.get("status") == self.status)
            and (self.rating is None or self.rating in overview.get("ratings", {}))
            and (self.model is None or any(self.model in models for models in overview.get("usage", {}).values()))
        )


def _check_characters(name: str, text: str) -> None:
    """Raise ValueError if no document can have this text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds a lone surrogate, which is not valid Unicode. Remove or replace it.") from None


def _time_text(name: str, value: object, *, is_end: bool) -> str:
    """Return a time of a filter in the form used in documents. A day means its midnight, or its end if `is_end`."""
    if isinstance(value, datetime):
        try:
            return time_text(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    if not isinstance(value, (str, date)):
        raise TypeError(f"{name} must be a datetime, text or None, not {shown(value)}")
    try:
        return time_text(_moment(value, is_end=is_end))
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{name} is not a time: {shown(value)}. Use 2026-11-01, 2026-11-01T10:00, 7d, 12h or yesterday."
        ) from None


def _moment(value: str | date, *, is_end: bool) -> datetime:
    if isinstance(value, str) and (age := parse_age(value)) is not None:
        return datetime.now(UTC) - age
    day = _day(value)
    if day is None:
        return datetime.fromisoformat(str(value)).astimezone()
    return datetime.combine(day + timedelta(int(is_end)), time()).astimezone()


def _day(value: str | date) -> date | None:
    if isinstance(value, date):
        return value
    if value in _DAYS:
        return datetime.now().astimezone().date() - timedelta(_DAYS[value])
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


LISTED = Filter(archived=False, sub_sessions=False)
"""The sessions that people choose from: without those that are archived, and those that are a part of another one."""
