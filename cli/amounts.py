"""Option values with a unit: ages such as `30d`, and sizes such as `10MB`."""

from __future__ import annotations

import re
from datetime import timedelta

import click

from localstore.models.times import parse_age

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(?:([kmgt]i?)?b?)", re.IGNORECASE)
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def age(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    """Return an age such as `30d` as a time span, or None if it is not given. A click callback."""
    span = None if value is None else parse_age(value)
    if value is not None and span is None:
        raise click.BadParameter("Give a number with m, h, d or w, such as 30d")
    return span


def size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Return a size such as `10MB` in bytes, or None if it is not given. A click callback."""
    match = None if value is None else _SIZE.fullmatch(value)
    if value is not None and match is None:
        raise click.BadParameter("Give a number of bytes, or one with a unit, such as 500kB, 10MB or 1GiB")
    return None if match is None else int(float(match[1]) * _BYTES[(match[2] or "").lower()])
