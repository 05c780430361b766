"""Merge the versions of a document that git gives to a merge driver, and repair documents with conflict markers."""

import os
import shlex
from dataclasses import dataclass
from typing import Any

from localstore.disk import file_names
from localstore.disk.document_file import DocumentFile
from localstore.engine.document_merge import MergedDocument, merge_documents, readable
from localstore.engine.merge import Difference, canonical, keyed
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import LAYOUTS, Layout, ParsedDocument
from localstore.format.merge_conflict import Sides, find_sides, sides_of_union
from localstore.format.values import json_equal

_LONGEST_SHOWN = 60
"""How many characters of a value are in a note."""


@dataclass(frozen=True, slots=True)
class GitMerge:
    """The result of a merge for git. `notes` are sentences for a person, who has to decide if `is_conflict` is true."""

    raw: bytes
    notes: tuple[str, ...]
    is_conflict: bool


def merge_for_git(base: bytes, ours: bytes, theirs: bytes, path: str) -> GitMerge:
    """Merge versions of the document at `path`, which is relative to the repository. `base` is empty if there is none.

    If `ours` and `theirs` are two sessions, which git took for one with a new file name, one of them is returned, and
    a note says how to get the other one. Raises LocalstoreError if one of them cannot be read, cannot be written again
    without a loss, or is of another schema version.
    """
    layout = LAYOUTS.get(os.path.splitext(path)[1])
    if layout is None:
        raise DocumentBroken(f"{path} is not named like a document.", path=path)
    mine = readable(ours, layout, path)
    other = readable(theirs, layout, path, mine)
    ids = [one.header["session_id"] for one in (mine, other)]
    if ids[0] != ids[1]:
        return _two_sessions(ids, (ours, theirs), path)
    before = _base(base, mine, path)
    merged = merge_documents(mine, other, before, path, marks_conflicts=True)
    notes = [
        f"{path}: both sides changed {one.what}. Keep what you want between its conflict markers."
        for one in merged.conflicts
    ]
    notes += [f"{path}: {_note(one)}" for one in merged.differences if one not in merged.conflicts]
    if merged.loses_comments:
        notes.append(
            f"{path}: comments of one side are not in it, because both sides changed the same run or the header."
        )
    return GitMerge(merged.raw, tuple(notes), bool(merged.conflicts))


def unite_sides(raw: bytes, layout: Layout, path: str) -> MergedDocument | None:
    """Return what the sides of the conflicts in a document are together, or those that `merge=union` has mixed.

    Return None if there is nothing to unite, or if a side cannot be read, or cannot be written again without a loss.
    """
    sides = find_sides(raw) or _sides_of_union(raw, layout)
    if sides is None:
        return None
    try:
        ours, theirs = readable(sides.ours, layout, path), readable(sides.theirs, layout, path)
        if ours.header["session_id"] != theirs.header["session_id"]:
            return None
        base = None if sides.base is None else _base(sides.base, ours, path)
        return merge_documents(ours, theirs, base, path)
    except LocalstoreError:
        return None


def _sides_of_union(raw: bytes, layout: Layout) -> Sides | None:
    opened = raw.find(layout.opening) + 1
    sides = sides_of_union(raw[:opened])
    if sides is None:
        return None
    return Sides(sides.ours + raw[opened:], sides.theirs + raw[opened:], None)


def unite_in_file(path: str) -> MergedDocument | None:
    """Return what `unite_sides` returns for the document at `path`, and None as well if it cannot be read."""
    try:
        with DocumentFile(path) as file:
            return unite_sides(file.read_all(), file.layout, path)
    except (OSError, LocalstoreError):
        return None


def _base(raw: bytes, ours: ParsedDocument, path: str) -> ParsedDocument | None:
    """Return the version that both sides come from, or None if there is none.

    If there are several, git merges them first. Where that left conflicts, what the sides have in common counts.
    """
    layout = ours.layout
    try:
        sides = find_sides(raw)
        base = readable(raw if sides is None else sides.ours, layout, path, ours)
        if sides is not None:
            other = keyed(readable(sides.theirs, layout, path, ours).entries)
            entries = zip(keyed(base.entries).items(), base.slices(), strict=True)
            common = [text for (key, entry), text in entries if key in other and json_equal(entry, other[key])]
            base = readable(layout.assemble(base.head, common), layout, path, ours)
    except LocalstoreError:
        return None
    return base if base.header["session_id"] == ours.header["session_id"] else None


def _two_sessions(ids: list[str], versions: tuple[bytes, bytes], path: str) -> GitMerge:
    """Return the version whose session has the name of the file, and say where the other one is."""
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    kept = int(file_names.stem(ids[1]) == stem and file_names.stem(ids[0]) != stem)
    session, other = ids[kept], ids[1 - kept]
    target = f"{folder}/{file_names.stem(other)}{suffix}".lstrip("/")
    command = f"git show {shlex.quote(f':{3 - kept}:{path}')} > {shlex.quote(target)}"
    note = (
        f"{path}: git took session {other!r} for session {session!r} with another file name, but they are two. The "
        f"file has {session!r}. In the top folder of the repository, get the other one with: {command}"
    )
    return GitMerge(versions[kept], (note,), is_conflict=True)


def _note(difference: Difference) -> str:
    """Return a sentence about something that both sides changed and that has no conflict markers."""
    what, taken = difference.what, difference.taken
    if difference.run_id is not None:
        stays = (difference.ours if taken == "ours" else difference.theirs) is not None
        return f"one side removed {what}, and the other one changed it. It {'stays' if stays else 'is removed'}."
    kept = difference.ours if taken == "ours" else difference.theirs
    return f"both sides changed {what}. It is now {_shown(kept)}, and was {_shown(difference.lost)} on the other side."


def _shown(value: Any) -> str:
    text = "absent" if value is None else canonical(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
