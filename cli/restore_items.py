"""Lists and restores items in the trash, the rescue folder and the backups of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import output
from .errors import Ambiguous, candidates
from .output import one_line
from .rewrite_result import sizes


@dataclass(frozen=True, slots=True)
class Restorable:
    """An item that can be restored.

    `when` is the time when it was removed, `why` says why or what it is, `size` is in bytes. `put_back` restores it and
    prints the result, as JSON if its argument is True.
    """

    kind: str
    name: str
    session_id: str | None
    when: str
    why: str
    size: int
    put_back: Callable[[bool], None]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "put_back"}


def _in_trash(root: str) -> Iterator[Restorable]:
    from localstore.maintenance.trash import put_back, trashed

    for one in trashed(root):

        def work(as_json: bool, name: str = one.name, session_id: str | None = one.session_id) -> None:
            path = put_back(root, name)
            if as_json:
                output.write_json([{"name": name, "session_id": session_id, "path": str(path)}])
            else:
                output.write(f"{one_line(f'{session_id or name} is back: {path}')}\n")

        yield Restorable("trash", one.name, one.session_id, one.trashed_at, one.document, one.size, work)


def _set_aside(root: str) -> Iterator[Restorable]:
    from localstore.maintenance.rescue import rescued

    from .rescue_files import put_back

    for one in rescued(root):

        def work(as_json: bool, one: Any = one) -> None:
            put_back(root, [one], create=False, dry_run=False, as_json=as_json)

        yield Restorable("rescue", one.name, one.session_id, one.set_aside_at, one.reason, one.size, work)


def _in_backups(root: str) -> Iterator[Restorable]:
    from localstore.disk import backup_folder

    for one in backup_folder.listing(root):

        def work(as_json: bool, name: str = one.name, path: str = one.path) -> None:
            from localstore.errors import Conflict

            from .rewrite_result import undo_and_print_result

            newest = backup_folder.newest(root).name
            if name != newest:
                raise Conflict(
                    f"Backup {name} is not the newest one. Nothing was changed. Put back {newest} first, or take the "
                    f"documents that you want from {path}.",
                    path=root,
                )
            undo_and_print_result(root, as_json=as_json)

        why = f"{one.action} of {sizes(one.documents)}"
        yield Restorable("backup", one.name, None, one.made_at, why, one.size, work)


SOURCES: tuple[Callable[[str], Iterator[Restorable]], ...] = (_in_trash, _set_aside, _in_backups)
"""Each source yields its items in the store at a path."""


def restorable(root: str) -> list[Restorable]:
    """Return all items that can be restored, newest first."""
    found = [one for source in SOURCES for one in source(root)]
    return sorted(found, key=lambda one: (one.when, one.name), reverse=True)


def find_restorable(found: list[Restorable], text: str) -> Restorable:
    """Return the item with this name, else the only one of this session, else the only one whose name begins with it.

    Raises Ambiguous.
    """
    for how, named in (
        ("are called", [one for one in found if text in (one.name, one_line(one.name))]),
        ("are of session", [one for one in found if one.session_id == text]),
        ("are of session", [one for one in found if one.session_id and one_line(one.session_id) == text]),
        ("have a name that begins with", [one for one in found if one_line(one.name).startswith(text)]),
    ):
        if len(named) == 1:
            return named[0]
        if named:
            lines = candidates(f"{one_line(one.name)}  ({one.kind}, {one.when})" for one in named)
            raise Ambiguous(f"{len(named)} things {how} '{text}'. Give the name of one:", lines)
    raise Ambiguous(f"Nothing to restore matches '{text}'. 'localstore restore' lists what there is.", [])
