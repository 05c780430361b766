"""Lists and finds what `localstore restore` can restore: documents in the trash, rescue files, or backups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from localstore.models.figures import counted

from .errors import Ambiguous, candidates
from .output import one_line

if TYPE_CHECKING:
    from localstore.disk.backup_folder import BackupInfo
    from localstore.disk.rescue_folder import Rescued
    from localstore.disk.trash_folder import Trashed
    from localstore.storage.contract import SessionStorage

Kind = Literal["trash", "rescue", "backup"]
KINDS: tuple[Kind, ...] = ("trash", "rescue", "backup")
PLACES: dict[Kind, str] = {"trash": "the trash", "rescue": "the rescue folder", "backup": "the backups"}
"""Where the items of each kind are."""


@dataclass(frozen=True, slots=True)
class Restorable:
    """An item that can be restored.

    `when` is the time at which it was removed. `why` is the reason, or a description of the item. `size` is in bytes.
    `source` is the item as the library describes it.
    """

    kind: Kind
    name: str
    session_id: str | None
    when: str
    why: str
    size: int
    source: Trashed | Rescued | BackupInfo

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "source"}


def restorable(storage: SessionStorage, kind: Kind) -> list[Restorable]:
    """Return all items of this kind, newest first. A database has no backups."""
    from localstore.databases.database_storage import DatabaseStorage
    from localstore.storage.storage import Storage

    if kind == "trash":
        items = _in_trash(storage)
    elif kind == "rescue" and isinstance(storage, DatabaseStorage):
        items = _rescued(storage.taken_out())
    elif not isinstance(storage, Storage):
        return []
    elif kind == "rescue":
        from localstore.maintenance.rescue import rescued

        items = _rescued(rescued(storage))
    else:
        items = _in_backups(str(storage.root))
    return sorted(items, key=lambda item: item.when, reverse=True)


def _in_trash(storage: SessionStorage) -> Iterator[Restorable]:
    for item in storage.trashed():
        yield Restorable("trash", item.name, item.session_id, item.trashed_at, item.document, item.size, item)


def _rescued(files: list[Rescued]) -> Iterator[Restorable]:
    for file in files:
        yield Restorable("rescue", file.name, file.session_id, file.set_aside_at, file.reason, file.size, file)


def _in_backups(root: str) -> Iterator[Restorable]:
    from localstore.disk import backup_folder

    for backup in backup_folder.listing(root):
        why = f"{backup.action} of {counted(backup.documents, 'document')}"
        yield Restorable("backup", backup.name, None, backup.made_at, why, backup.size, backup)


def find_restorable(storage: SessionStorage, kind: Kind, items: list[Restorable], text: str) -> Restorable:
    """Return the item with this name, otherwise the only one of this session, otherwise by the beginning of its name.

    A backup is found by its whole name only. Raises Ambiguous if no item matches or several do; the message says so if
    an item of another kind matches.
    """
    from localstore.storage.storage import Storage

    if kind == "backup":
        items = [item for item in items if item.name == text]
    found = list(_matches(items, text))
    for how, matches in found:
        if len(matches) == 1:
            return matches[0]
        lines = candidates(
            f"{one_line(item.name)}  ({', '.join(filter(None, (item.when, item.why)))})" for item in matches
        )
        raise Ambiguous(f"{len(matches)} items {how} '{text}'. Give the name of one:", lines)
    if not isinstance(storage, Storage):
        for item in restorable(storage, "rescue" if kind == "trash" else "trash"):
            if item.name == text:  # the place is the same one, and names are unique in it
                return item
    for other in KINDS:
        if other != kind and any(_matches(restorable(storage, other), text)):
            raise Ambiguous(
                f"'{text}' is not in {PLACES[kind]}, but in {PLACES[other]}. Restore it with: "
                f"localstore restore --kind {other} {text}",
                [],
            )
    command = "localstore restore" if kind == "trash" else f"localstore restore --kind {kind}"
    raise Ambiguous(f"Nothing in {PLACES[kind]} matches '{text}'. '{command}' lists what is there.", [])


def _matches(items: list[Restorable], text: str) -> Iterator[tuple[str, list[Restorable]]]:
    """Yield the items that match, beginning with the best way to match, and how they do."""
    for how, matches in (
        ("are named", [item for item in items if text in (item.name, one_line(item.name))]),
        ("belong to session", [item for item in items if item.session_id == text]),
        ("belong to session", [item for item in items if item.session_id and one_line(item.session_id) == text]),
        ("have a name that begins with", [item for item in items if one_line(item.name).startswith(text)]),
    ):
        if matches:
            yield how, matches
