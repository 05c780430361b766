"""Counts what the dashboard shows, and remembers it: in a large store that takes seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from localstore.errors import LocalstoreError
from localstore.models.filter import Filter
from localstore.models.stats import stats_of
from localstore.storage.plain_session import read_plain
from localstore.storage.storage import Storage
from localstore.viewer.filters import Query

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.models.stats import Counts, Prices, Stats
    from localstore.storage.contract import SessionStorage

_BY_DAY = 2000
"""In how many sessions days are counted if every document must be read for that."""
_DAYS = 62
"""Counts over a longer time are by month."""
_TIMED = 500
"""The durations of runs come from so many of the newest sessions."""
_TIMED_RUNS = 50
"""At most so many of each of them."""
_QUICK = 0.05
"""What took less seconds is counted again whenever it is asked for."""
_SHARE = 20
"""What took longer is counted again after so many times as long."""
_MOST_REMEMBERED = 64
_MOST_DOCUMENTS = 1000
"""Of how many sessions the durations are remembered: each run takes some hundred bytes."""


@dataclass(frozen=True, slots=True)
class Timed:
    """The duration of a run, and what it belongs to."""

    day: str
    model: str
    user: str
    entity: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What the dashboard shows."""

    unit: str
    """`day` or `month`."""
    times: Stats
    models: Stats
    users: Stats
    entities: Stats
    durations: tuple[Timed, ...]
    has_prices: bool
    counted_at: float
    """When it was counted, in seconds since 1970."""
    is_counting: bool = False
    """Whether it is being counted again, so that there are newer figures soon."""

    @property
    def total(self) -> Counts:
        """The counts of all sessions that match."""
        return self.times.total


class Remembered:
    """Remembers the results of what takes long, and counts them again in the background when they get old."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Hashable, tuple[Any, float, float]] = {}
        """The result, when it was there, and how long it took."""
        self._under_way: set[Hashable] = set()

    def get(self, key: Hashable, count: Callable[[], Any]) -> tuple[Any, bool]:
        """Return the result of `count`, or the last one if it takes long, and whether a newer one is being counted."""
        now = time.monotonic()
        with self._lock:
            known = self._known.get(key)
            if known is not None and known[2] >= _QUICK:
                if now - known[1] > _SHARE * known[2] and key not in self._under_way:
                    self._under_way.add(key)
                    threading.Thread(target=self._again, args=(key, count), daemon=True).start()
                return known[0], key in self._under_way
        return self._counted(key, count), False

    def _counted(self, key: Hashable, count: Callable[[], Any]) -> Any:
        began = time.monotonic()
        result = count()
        ended = time.monotonic()
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = result, ended, ended - began
            while len(self._known) > _MOST_REMEMBERED:
                del self._known[next(iter(self._known))]
        return result

    def _again(self, key: Hashable, count: Callable[[], Any]) -> None:
        try:
            self._counted(key, count)
        except (LocalstoreError, OSError):
            with self._lock:
                self._known.pop(key, None)  # whoever asks next is told
        finally:
            with self._lock:
                self._under_way.discard(key)


class Counting:
    """Counts the sessions of a storage."""

    def __init__(self, storage: SessionStorage, prices: Prices | None) -> None:
        self._storage = storage
        self._prices = prices
        self._remembered = Remembered()
        self._timed: dict[str, tuple[str, tuple[Timed, ...]]] = {}
        """What is known of the runs of a session, with the cursor of the session then."""

    def number(self, where: Filter) -> int:
        """Return how many sessions match."""
        number: int
        number, _ = self._remembered.get(("number", where), lambda: self._storage.count(where))
        return number

    def figures(self, query: Query, by: str = "") -> Figures:
        """Return the figures of the sessions that match. `by` is "day" to count days in however many sessions."""
        key = ("figures", tuple(query.pairs), by)
        figures: Figures
        figures, is_counting = self._remembered.get(key, lambda: self._figures(query.where, by))
        return replace(figures, is_counting=is_counting)

    def _figures(self, where: Filter, by: str) -> Figures:
        stats = self._storage.stats
        times = None if by == "month" else self._days(where, is_asked_for=by == "day")
        unit = "day" if times is not None and (by == "day" or _days_in(times) <= _DAYS) else "month"
        if unit == "month" or times is None:
            times = stats(where, by=("month",), prices=self._prices)
        models, users, entities = (
            stats(where, by=(group,), prices=self._prices) for group in ("model", "user", "entity")
        )
        return Figures(
            unit, times, models, users, entities, self._durations(where), self._prices is not None, time.time()
        )

    def _days(self, where: Filter, *, is_asked_for: bool) -> Stats | None:
        """Return the counts by day; None if too many documents would have to be read and nobody asked for it."""
        if isinstance(self._storage, Storage) and (tally := self._storage._engine.tally_of_days(where)) is not None:
            return stats_of(tally, ("day",), self._prices)
        if is_asked_for or self._storage.count(where) <= _BY_DAY:
            return self._storage.stats(where, by=("day",), prices=self._prices)
        return None

    def _durations(self, where: Filter) -> tuple[Timed, ...]:
        found: list[Timed] = []
        for info in self._storage.list_sessions(where=where, limit=_TIMED):
            mark, timed = self._timed.get(info.session_id, ("", ()))
            if mark != (new := f"{info.cursor} {info.size} {info.runs}"):
                timed = self._timed_runs(info)
                if len(self._timed) > _MOST_DOCUMENTS:
                    self._timed.clear()
                self._timed[info.session_id] = new, timed
            found += timed
        return tuple(found)

    def _timed_runs(self, info: SessionInfo) -> tuple[Timed, ...]:
        try:
            stored = read_plain(self._storage, info.session_id, last_runs=_TIMED_RUNS)
        except LocalstoreError:
            return ()
        user, entity = info.user_id or "", info.entity_id or ""
        return tuple(
            Timed(str(run["created_at"])[:10], run.get("model") or "", user, entity, seconds)
            for run in ([] if stored is None else stored.history)
            if run["type"] == "run" and (seconds := (run.get("metrics") or {}).get("duration_seconds")) is not None
        )


def count_figures(storage: SessionStorage, where: Filter) -> Figures:
    """Count once what the dashboard shows of the sessions that match."""
    return Counting(storage, None)._figures(where, "")


def _days_in(stats: Stats) -> int:
    days = [counts.day for counts in stats.groups if counts.day]
    return (date.fromisoformat(max(days)) - date.fromisoformat(min(days))).days + 1 if days else 0
