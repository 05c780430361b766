"""Recognise the file names of sync tools and file managers: conflict copies, temporary files and placeholders.

A name is only a hint: a file is a copy if it has the `session_id` of another document. The name tells which tool made
it and, if its content cannot be read, of which document.
"""

import re
from typing import NamedTuple

from localstore.format.document import LAYOUTS

_DOCUMENT = rf"(?P<document>.+(?:{'|'.join(map(re.escape, LAYOUTS))}))"
_SUFFIXES = tuple(LAYOUTS)
_COPY_SIGNS = re.compile(r"[^a-z0-9._~-]|[._-](?:sync-)?conflict-|[A-Z]")
"""Matches a part of each name of a copy, and of hardly any name that localstore makes."""
_CONFLICT = r"(?:[ck]onfli[ck]t|conflit|конфликт|競合|冲突|衝突|충돌)"
_COPY_WORD = r"(?:copy|copie|copia|cópia|kopie|kopi|kopia)"
_ORDINAL = r"(?:another |\d+(?:st|nd|rd|th) )?"
_COPY_OF = rf"{_COPY_WORD} (?:\(\d{{1,3}}\) )?(?:of|von|de|di|van|af|av) "
_COPIES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (tool, re.compile(rf"{before}(?P<original>.+?){after}\Z", re.IGNORECASE if ignores_case else 0))
    for tool, before, after, ignores_case in (
        ("Syncthing", "", r"\.sync-conflict-\d{8}-\d{6}(?:-[A-Z2-7]{7})?", False),
        ("ownCloud", "", r"_conflict-(?:.+-)?\d{8}-\d{6}", False),
        ("Nextcloud or ownCloud", "", rf" \(.*{_CONFLICT}.* \d{{4}}-\d\d-\d\d \d{{6}}\)", True),
        ("pCloud", "", r" [(\[]conflicted(?: \d+)?[)\]]", True),
        ("Dropbox", "", rf" \(.*{_CONFLICT}.*\)", True),
        ("Windows or another file manager", "", rf" - {_COPY_WORD}(?: \(\d{{1,3}}\))?", True),
        ("macOS or another file manager", "", rf" \(?{_ORDINAL}{_COPY_WORD}(?: \d{{1,3}})?\)?", True),
        ("Google Drive or a file manager", _COPY_OF, "", True),
        ("Google Drive or a browser", "", r" ?\(\d{1,3}\)", False),
        ("Google Drive", "", r" \(\d{4}-\d\d-\d\d.*\)", False),
        ("iCloud", "", r" \d{1,3}", False),
        ("OneDrive", "", r"-(?=[A-Z])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*", False),
    )
)
"""Tools, and what they add to the name of a document. The first pattern that fits counts."""
_TEMPORARY_FILES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (tool, re.compile(rf"{pattern}\Z"))
    for tool, pattern in (
        ("Syncthing", rf"(?:\.syncthing\.|~syncthing~){_DOCUMENT}\.tmp"),
        ("Nextcloud or ownCloud", rf"\.{_DOCUMENT}\.~[0-9a-f]+"),
        ("Resilio Sync", rf"\.?{_DOCUMENT}\.!sync"),
        ("Unison", rf"\.unison\.{_DOCUMENT}\..*\.unison\.tmp"),
        ("rclone or a browser", rf"{_DOCUMENT}(?:\.[0-9a-z]{{8}})?\.partial"),
        ("a browser or a download", rf"{_DOCUMENT}\.(?:part|crdownload|filepart|download)"),
        ("rsync", rf"\.{_DOCUMENT}\.(?!icloud)[A-Za-z0-9]{{6}}"),
        ("an office program that has it open", rf"(?:~\$|\.~lock\.){_DOCUMENT}#?"),
        ("NFS, where a removed file is still open", r"\.nfs[0-9a-f]{16,}"),
    )
)
_ICLOUD_PLACEHOLDER = re.compile(rf"\.{_DOCUMENT}\.icloud\Z")


class CopyName(NamedTuple):
    """What the name of a copy says: which tool made it, and the name of the document that was copied."""

    tool: str
    original: str


def copy_name(name: str) -> CopyName | None:
    """Return what the file name of a copy says, or None if a document may have this name.

    >>> copy_name("trip (conflicted copy 2026-01-02).json")
    CopyName(tool='Dropbox', original='trip.json')
    """
    stem, dot, suffix = name.rpartition(".")
    if not name.endswith(_SUFFIXES) or not _COPY_SIGNS.search(stem):
        return None
    for tool, pattern in _COPIES:
        if match := pattern.match(stem):
            return CopyName(tool, f"{match['original']}{dot}{suffix}")
    return None


def writing_tool(name: str) -> str | None:
    """Return the tool whose temporary file has this name, or None. It is still writing the file.

    >>> writing_tool(".syncthing.trip.json.tmp")
    'Syncthing'
    """
    return next((tool for tool, pattern in _TEMPORARY_FILES if pattern.match(name)), None)


def document_in_icloud(name: str) -> str | None:
    """Return the name of the document for which iCloud has left a placeholder of this name, or None.

    >>> document_in_icloud(".trip.json.icloud")
    'trip.json'
    """
    match = _ICLOUD_PLACEHOLDER.match(name)
    return match["document"] if match else None
