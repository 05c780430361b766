"""Add up usage by day in SQL, for the sessions whose rows show the day; see `daily_usage.known_day`."""

import sqlite3
from collections.abc import Collection

from localstore.index.row_queries import conditions_of_tally
from localstore.index.selection import Selection
from localstore.models.stats import Tally

_MOST_LEFT_OUT = 5000
"""How many sessions are left out at most. If there are more, nothing is added up."""
_KNOWN = """
    (substr(created, 1, 10) = substr(active_at, 1, 10) OR runs = 1 AND instr(row, CAST('"entries":1,' AS BLOB)))
    AND NOT instr(row, CAST('"parent":' AS BLOB))
"""
_STATEMENT = f"""
    WITH chosen AS MATERIALIZED (
        SELECT session_id, substr(active_at, 1, 7) AS active_month,
            CASE WHEN {_KNOWN} THEN substr(active_at, 1, 10) ELSE '' END AS day
        FROM session WHERE {{conditions}}),
    unknown AS MATERIALIZED (
        SELECT DISTINCT session_id FROM chosen JOIN usage USING (session_id) WHERE day = '' OR month != active_month)
    SELECT 'left out', session_id, 0, 0, 0, 0, 0, 0, 0 FROM unknown
    UNION ALL
    SELECT 'sessions', day, count(*), 0, 0, 0, 0, 0, 0 FROM chosen WHERE session_id NOT IN unknown GROUP BY day
    UNION ALL
    SELECT day, model, 0, sum(runs), sum(failures), sum(input), sum(output), sum(cached), sum(milliseconds)
    FROM chosen JOIN usage USING (session_id) WHERE session_id NOT IN unknown GROUP BY day, model
"""  # noqa: S608 (no input)


def tally_of_days(
    connection: sqlite3.Connection, where: Selection, without: Collection[str], latest: str
) -> Tally | None:
    """Add up the usage of the selected sessions by day, without some sessions.

    Sessions whose rows do not show the day are left out, and `left_out` names them. Return None if there are very many
    of them, or in the cases in which `row_queries.tally` returns None.
    """
    asked = conditions_of_tally(connection, where, without, latest)
    if asked is None:
        return None
    conditions, values = asked
    statement = _STATEMENT.format(conditions=" AND ".join(conditions) or "true")
    tally = Tally(0, 0, {}, {})
    left_out: list[str] = []
    try:
        for kind, value, sessions, *numbers in connection.execute(statement, values):
            if kind == "left out":
                left_out.append(value)
            elif kind == "sessions":
                tally.sessions_in[value,] = sessions
            else:
                tally.numbers[(kind,), value] = numbers
    except sqlite3.OperationalError as error:
        if "overflow" not in str(error):
            raise
        return None
    tally.sessions, tally.left_out = sum(tally.sessions_in.values()), tuple(left_out)
    return tally if len(left_out) <= _MOST_LEFT_OUT else None
