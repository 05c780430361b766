"""Select the sessions that `prune` moves to the trash. Documents that cannot be read are never among them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from localstore.errors import LocalstoreError
from localstore.maintenance.trash import Removal
from localstore.models.filter import Filter
from localstore.models.session_info import SessionInfo


@dataclass(frozen=True, slots=True)
class Pruned:
    """The sessions that a prune selected, most recently active first, and what became of them.

    `removal` is what was moved to the trash; None after a dry run.
    """

    sessions: tuple[SessionInfo, ...]
    removal: Removal | None

    @property
    def size(self) -> int:
        """The bytes of all documents that were selected."""
        return sum(info.size for info in self.sessions)

    @property
    def problems(self) -> dict[str, LocalstoreError | OSError]:
        """The errors of the sessions that could not be moved, by session id."""
        return {} if self.removal is None else self.removal.problems


def to_prune(
    listed: Callable[[Filter, int | None], list[SessionInfo]],
    where: Filter,
    *,
    older_than: timedelta | None,
    keep: int | None,
    larger_than: int | None,
) -> tuple[SessionInfo, ...]:
    """Return the sessions to prune, newest activity first.

    Args:
        listed: Returns the sessions that match a filter, newest activity first, at most so many.
        where: Only sessions that match this filter.
        older_than: Only sessions whose last activity is longer ago.
        keep: Not the N most recently active sessions of those that match the filter.
        larger_than: Only sessions whose document has more bytes.
    """
    if where.part_of is None and where.sub_sessions is None:  # a sub-session goes with its session, and not before
        where = replace(where, sub_sessions=False)
    kept = set() if keep is None else {info.session_id for info in listed(where, keep)}
    return tuple(
        info
        for info in listed(_until(where, older_than), None)
        if info.problem is None  # when it was last active is in doubt
        and info.session_id not in kept
        and (larger_than is None or info.size > larger_than)
    )


def _until(where: Filter, older_than: timedelta | None) -> Filter:
    """Return the filter, limited to sessions whose last activity is longer ago than this."""
    if older_than is None:
        return where
    try:
        earlier = replace(where, until=datetime.now(UTC) - older_than)
    except (OverflowError, ValueError):  # before the first day of the calendar
        earlier = replace(where, until=datetime(1, 1, 2, tzinfo=UTC))
    is_earlier = where.until_text is None or str(earlier.until_text) < where.until_text
    return earlier if is_earlier else where
