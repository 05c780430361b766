"""Lists and restores items in the trash, the rescue folder and the backups of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import output
from .errors import Ambiguous, candidates
from .output import one_line
from .rewrite_result import sizes

if TYPE_CHECKING:
    from localstore.disk.rescue_folder import Rescued


@dataclass(frozen=True, slots=True)
class Restorable:
    """An item that can be restored.

    `when` is the time at which it was removed. `why` is the reason, or a description of the item. `size` is in bytes.
    `put_back` restores the item and prints the result, as JSON if its argument is true.
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

    for item in trashed(root):

        def work(as_json: bool, name: str = item.name, session_id: str | None = item.session_id) -> None:
            path = put_back(root, name)
            if as_json:
                output.write_json([{"name": name, "session_id": session_id, "path": str(path)}])
            else:
                output.write(f"{one_line(f'{session_id or name} is back: {path}')}\n")

        yield Restorable("trash", item.name, item.session_id, item.trashed_at, item.document, item.size, work)


def _set_aside(root: str) -> Iterator[Restorable]:
    from localstore.maintenance.rescue import rescued

    from .rescue_files import put_back

    for file in rescued(root):

        def work(as_json: bool, file: Rescued = file) -> None:
            put_back(root, [file], create=False, dry_run=False, as_json=as_json)

        yield Restorable("rescue", file.name, file.session_id, file.set_aside_at, file.reason, file.size, work)


def _in_backups(root: str) -> Iterator[Restorable]:
    from localstore.disk import backup_folder

    for backup in backup_folder.listing(root):

        def work(as_json: bool, name: str = backup.name, path: str = backup.path) -> None:
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

        why = f"{backup.action} of {sizes(backup.documents)}"
        yield Restorable("backup", backup.name, None, backup.made_at, why, backup.size, work)


SOURCES: tuple[Callable[[str], Iterator[Restorable]], ...] = (_in_trash, _set_aside, _in_backups)
"""Functions that yield the restorable items of one kind in the store at a path."""


def restorable(root: str) -> list[Restorable]:
    """Return all items that can be restored, newest first."""
    items = [item for source in SOURCES for item in source(root)]
    return sorted(items, key=lambda item: item.when, reverse=True)  # items of one moment keep the order of their source


def find_restorable(items: list[Restorable], text: str) -> Restorable:
    """Return the item with this name, otherwise the only one of this session, otherwise by the beginning of its name.

    Raises Ambiguous if no item matches or several do.
    """
    for how, matches in (
        ("are named", [item for item in items if text in (item.name, one_line(item.name))]),
        ("belong to session", [item for item in items if item.session_id == text]),
        ("belong to session", [item for item in items if item.session_id and one_line(item.session_id) == text]),
        ("have a name that begins with", [item for item in items if one_line(item.name).startswith(text)]),
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            lines = candidates(f"{one_line(item.name)}  ({item.kind}, {item.when})" for item in matches)
            raise Ambiguous(f"{len(matches)} items {how} '{text}'. Give the name of one:", lines)
    raise Ambiguous(f"Nothing to restore matches '{text}'. 'localstore restore' lists the items.", [])
