"""The line that says what came into a store from another store or program."""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol

from localstore.models.figures import counted


class Transferred(Protocol):
    """The result of an import or a copy."""

    @property
    def dry_run(self) -> bool: ...
    @property
    def added(self) -> Sized: ...
    @property
    def extended(self) -> Sized: ...
    @property
    def unchanged(self) -> int: ...
    @property
    def runs(self) -> int: ...


def transfer_summary(result: Transferred, done: str, would: str, *, items: int = 0) -> str:
    """Return the line. It begins with the word `done` or, for a dry run, with `would`.

    `items` is the number of items of other frameworks among what came.
    """
    parts = [counted(len(result.added), "new session")]
    if len(result.extended):
        parts.append(f"what is new in {counted(len(result.extended), 'session')}")
    there = f" {counted(result.unchanged, 'session')} had nothing new." if result.unchanged else ""
    verb = would if result.dry_run else done
    what = [counted(result.runs, "run")] if result.runs or not items else []
    what += [counted(items, "item")] if items else []
    return f"{verb} {' and '.join(parts)} ({', '.join(what)}).{there}"
