"""Moves sessions to the trash: asks, moves them and prints what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localstore.models.figures import counted

from . import output
from .errors import message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localstore.disk.trash_folder import Trashed
    from localstore.errors import LocalstoreError
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage

_TOGETHER = 500
"""How many sessions are moved between two reports of the progress."""


def sessions_and_bytes(infos: Sequence[SessionInfo]) -> str:
    """Return how many sessions there are and how large they are, as `2 sessions (1,234 bytes)`."""
    return f"{counted(len(infos), 'session')} ({sum(info.size for info in infos):,} bytes)"


def remove_selected(storage: SessionStorage, infos: Sequence[SessionInfo], *, sure: bool, as_json: bool) -> None:
    """Move sessions that filters selected to the trash, if a person confirms it or `sure` is true.

    Raises UsageError if there is no terminal to ask on.
    """
    what = f"{sessions_and_bytes(infos)} to the trash"
    if infos and not sure and not output.is_confirmed(f"Move {what}?", yes_would=f"move {what}"):
        output.note("Nothing was moved.")
        return
    if not infos and not as_json:
        output.note("No sessions match. Nothing was moved.")
        return
    remove(storage, infos, as_json=as_json)


def remove(storage: SessionStorage, sessions: Sequence[SessionInfo] | Sequence[str], *, as_json: bool) -> None:
    """Move sessions to the trash and print the result on one line, or as JSON.

    If some cannot be moved, the others are. The errors are printed, and the last one is raised.
    """
    from .progress import progress

    moved: list[Trashed] = []
    errors: list[LocalstoreError | OSError] = []
    with progress("sessions") as report:
        for at in range(0, len(sessions), _TOGETHER):
            done = storage.trash(sessions[at : at + _TOGETHER])
            moved += done.moved
            errors += done.problems.values()
            report(min(at + _TOGETHER, len(sessions)), len(sessions))
    if as_json:
        output.write_json([item.as_dict() for item in moved])
    elif moved:
        asked = {one if isinstance(one, str) else one.session_id for one in sessions}
        output.write(f"{output.one_line(_summary(moved, asked))}\n")
    for error in errors[:-1]:
        output.note(message(error))
    if errors:
        raise errors[-1]


def _summary(moved: list[Trashed], asked: set[str]) -> str:
    """Return what was done. `asked` are the sessions that were to be moved; sub-sessions go with them."""
    chosen = [item for item in moved if item.session_id in asked]
    number = len({item.session_id for item in chosen})
    parts = len({item.session_id for item in moved}) - number
    too = f", with {counted(parts, 'sub-session')}" if parts else ""
    if len(chosen) == 1:
        name = chosen[0].name
        return f"{chosen[0].session_id} is in the trash{too}. Restore it with: localstore restore {name}"
    are = "is" if number == 1 else "are"
    return f"{counted(number, 'session')} {are} in the trash{too}. 'localstore restore' lists what is there."
