"""Count the runs of a document by day. Rows have months alone, so that their size does not grow with each day."""

from collections.abc import Iterable, Mapping
from typing import Any

from localstore.index.overview import Overview, new_overview, with_run
from localstore.index.row import IndexRow
from localstore.models.stats import Period, day_of, period_without_runs
from localstore.models.times import utc_time


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
