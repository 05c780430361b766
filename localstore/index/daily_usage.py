"""Count the runs of a document by day. Rows count by month, so that they do not grow with each day."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from localstore.index.overview import Overview, new_overview, with_run
from localstore.index.row import IndexRow
from localstore.models.stats import (
    GroupKey,
    Period,
    Tally,
    day_of,
    period_without_runs,
    tally_of,
    tally_of_periods,
    usage_of,
)
from localstore.models.times import utc_time


def known_day(row: IndexRow) -> str:
    """Return the day on which all runs of a session were made, or "" if its row does not show that it is one day.

    The runs of a session that began and was last active on one day are taken to be of this day.
    """
    overview, last = row.get("overview"), day_of(row["updated_at"])
    if overview is None or "parent" in overview or any(month != last[:7] for month in usage_of(row)):
        return ""
    return last if row["entries"] == row["runs"] == 1 or day_of(row["created_at"]) == last else ""


def tally_of_rows(rows: Iterable[IndexRow], by: Sequence[GroupKey]) -> Tally:
    """Add up the numbers of rows in groups of `by`. In groups by day, sessions without a known day are left out."""
    if "day" not in by:
        return tally_of(rows, by)
    known: list[tuple[IndexRow, list[Period]]] = []
    left_out: list[str] = []
    for row in rows:
        if day := known_day(row):
            known.append((row, [(month, day, models) for month, models in usage_of(row).items()]))
        else:
            left_out.append(row["session_id"])
    return replace(tally_of_periods(known, by), left_out=tuple(left_out))


def usage_by_day(row: IndexRow, entries: Iterable[Mapping[str, Any]]) -> list[Period]:
    """Return what the runs of a session use by month and day. Each run counts as it does in `row`.

    `entries` are those of the session's document.
    """
    nothing = new_overview({})
    days: dict[str, Overview] = {}
    for entry in entries:
        if entry["type"] == "run":
            created_at = utc_time(entry["created_at"])
            day = day_of(created_at)
            days[day] = with_run(days.get(day, nothing), entry, created_at, replaces_unfinished=False)
    periods: list[Period] = [
        (month, day, models) for day, overview in days.items() for month, models in overview["usage"].items()
    ]
    return periods or [period_without_runs(row)]
