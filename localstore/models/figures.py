"""Writes numbers with their words, and large numbers and long times in a few characters."""

from __future__ import annotations

_WHOLE = 10_000
"""Smaller numbers are written in full."""
_UNITS = "kMBT"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its word. `many` is the plural if it is not `one` with an s.

    >>> counted(1, "session"), counted(1234, "session"), counted(2, "copy", "copies")
    ('1 session', '1,234 sessions', '2 copies')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def short_count(number: int) -> str:
    """Return a number with three digits and a unit if it is large.

    >>> short_count(9999), short_count(78_033), short_count(22_686_201)
    ('9,999', '78.0k', '22.7M')
    """
    if number < _WHOLE:
        return f"{number:,}"
    scaled, unit = _in_thousands(number)
    decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:,.{decimals}f}{unit}"


def amount(number: float) -> str:
    """Return a number in at most four digits and a unit, for charts and for tables that have little room.

    >>> amount(950), amount(12_345), amount(7_800_000)
    ('950', '12.3k', '7.8M')
    """
    if number < 1000:
        return f"{number:,.0f}"
    scaled, unit = _in_thousands(number)
    return f"{scaled:.1f}{unit}" if scaled < 99.95 else f"{scaled:,.0f}{unit}"


def _in_thousands(number: float) -> tuple[float, str]:
    """Return a number of at least 1000 as less than 1000 of a unit, with the unit."""
    power = 1
    while power < len(_UNITS) and number >= 999.5 * 1000**power:
        power += 1
    return number / 1000**power, _UNITS[power - 1]


def short_time(seconds: float) -> str:
    """Return a time span in the unit that suits it.

    >>> short_time(3.75), short_time(250), short_time(100_226)
    ('3.8 s', '4.2 min', '27.8 h')
    """
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 99.95 else f"{minutes / 60:,.1f} h"


def count_with_share(number: int, total: int) -> str:
    """Return a number and how much of a total it is.

    >>> count_with_share(14, 174), count_with_share(1, 500), count_with_share(0, 5)
    ('14 (8%)', '1 (<1%)', '0')
    """
    if not number or not total:
        return f"{number:,}"
    share = 100 * number / total
    return f"{number:,} ({'<1' if share < 1 else f'{share:.0f}'}%)"
