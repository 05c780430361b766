"""Find the files of a store that look like documents but are not read, and say why."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from localstore.disk import filesystem
from localstore.disk.conflict_copies import document_in_icloud, writing_tool
from localstore.disk.store_identity import MARKER
from localstore.format.document import LAYOUTS

_SESSIONS = "sessions"
_SUFFIXES = tuple(LAYOUTS)
_LOOKS_LIKE_A_DOCUMENT = re.compile(r"(?!\.).*\.(?:json|yaml|yml)\Z", re.IGNORECASE | re.DOTALL)
_OWN_FILES = (MARKER, "manifest.jsonl", "agno.json")
_HEAD = 1 << 16
"""How many bytes at both ends of a file in the top folder are read: other programs may have files there."""
_MONTH_FOLDER = f"{_SESSIONS}/2026-11"


class Reason(NamedTuple):
    """Why a file is not read. `problem` continues the path; `advice` is a sentence that says what to do."""

    problem: str
    advice: str


LINK = Reason("is a symbolic link, and links are not followed", "Put the file or folder itself there.")
_PLACE = Reason("is not in a month folder, so it is not read", f"Move it to a folder such as {_MONTH_FOLDER}.")
_ENDING = Reason("is not read, because of its ending", "Rename it to end in .json or .yaml.")
_NAME = Reason("is not read, because its name is not valid UTF-8", "Rename it.")


def is_unfinished(path: str) -> bool:
    """Return whether a file is one that a sync tool is still writing, or stands in for one that is elsewhere."""
    return _unfinished(path.rpartition("/")[2]) is not None


def _unfinished(name: str) -> Reason | None:
    if (document := document_in_icloud(name)) is not None:
        return Reason(
            f"stands in for {document}, whose content is in iCloud and not on this machine",
            "Open the file in the Finder, or get it with: brctl download",
        )
    tool = writing_tool(name)
    if tool is None:
        return None
    return Reason(
        f"is a temporary file of {tool}", "Wait until that program is done. localstore leaves the file alone."
    )


def looks_like_document(name: str) -> bool:
    """Return whether a person may take a file of this name for a document: any spelling of the endings counts."""
    return _LOOKS_LIKE_A_DOCUMENT.match(name) is not None


def reason_for(path: str, *, is_link: bool = False) -> Reason | None:
    """Return why a file is not read, judged by its path below the store, or None if it is read or no document.

    A link in `sessions/` may be a folder of documents, so it counts whatever its name.
    """
    folder, _, name = path.rpartition("/")
    if not is_link and folder.startswith(_SESSIONS) and (reason := _unfinished(name)) is not None:
        return reason
    if is_link and not name.startswith(".") and (folder == _SESSIONS or looks_like_document(name)):
        return LINK
    if not looks_like_document(name):
        return None
    if folder.count("/") != 1 or not folder.startswith(f"{_SESSIONS}/"):
        return _PLACE
    if not name.endswith(_SUFFIXES):
        return _ENDING
    return None if is_text(name) else _NAME


def is_text(name: str) -> bool:
    """Return whether a file name is valid UTF-8. Other names cannot be recorded in the manifest."""
    return name.isascii() or name.encode(errors="ignore").decode() == name


def is_visible(name: str) -> bool:
    """Return whether a name is not hidden, nor that of a lock file of an office program, and is valid UTF-8."""
    return not name.startswith((".", "~$")) and is_text(name)


def may_be_document(name: str) -> bool:
    """Return whether the documents of a store have names like this one."""
    return name.endswith(_SUFFIXES) and is_visible(name)


def in_month_folder(root: str, folder: str, entries: Iterable["os.DirEntry[str]"]) -> dict[str, Reason]:
    """Return the ignored files among the entries of a month folder that are not documents, and in folders below it.

    Only one level of folders is listed. Paths are relative to the root.
    """
    ignored: dict[str, Reason] = {}
    for entry in entries:
        path = f"{folder}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith("."):
                ignored.update(_among(path, _entries(f"{root}/{path}")))
        else:
            ignored.update(_among(folder, [entry]))
    return ignored


def above_month_folders(root: str) -> dict[str, Reason]:
    """Return the ignored files in `sessions/` and in the top folder of a store. Paths are relative to the root.

    The top folder may belong to a project with other files, so a file there only counts if it names a `session_id`.
    """
    ignored = dict(_among(_SESSIONS, _entries(f"{root}/{_SESSIONS}")))
    for entry in _entries(root):
        if entry.name not in _OWN_FILES and looks_like_document(entry.name):
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False) and _names_a_session(entry.path):
                    ignored[entry.name] = _PLACE
    return ignored


def _among(folder: str, entries: Iterable["os.DirEntry[str]"]) -> Iterator[tuple[str, Reason]]:
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            path = f"{folder}/{entry.name}"
            reason = reason_for(path, is_link=entry.is_symlink())
            if reason is not None:
                yield path, reason


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    """Return the entries of a folder, sorted by name, or an empty list if it cannot be listed."""
    try:
        return sorted(filesystem.system.entries(folder), key=lambda entry: entry.name)
    except OSError:
        return []


def _names_a_session(path: str) -> bool:
    with filesystem.open_file(path) as fd:
        size = filesystem.system.status_of(fd).st_size
        ends = filesystem.read_at(fd, _HEAD, 0)
        if size > _HEAD:
            ends += filesystem.read_at(fd, _HEAD, max(_HEAD, size - _HEAD))
    return b"session_id" in ends
