"""Recognise the session files of agno 1.x, which has one folder for all of them, named after the sessions."""

import json
import os
import re
import stat
from collections.abc import Iterator

from localstore.disk import filesystem
from localstore.disk.ignored_files import may_be_document

_HEAD = 1 << 20
"""How many bytes at both ends of a file are read to recognise it."""
_SAYS_AN_ID = re.compile(rb"session_id\"?:\s*[\"']?")
_AGNO_KEYS = (b"memory", b"session_data", b"agent_data", b"team_data", b"workflow_data")


def flat_files(root: str) -> Iterator["os.DirEntry[str]"]:
    """Yield the entries of a folder that are named like documents, sorted. agno 1.x stores its sessions this way."""
    try:
        found = filesystem.system.entries(root)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in sorted(found, key=lambda entry: entry.name):
        if may_be_document(entry.name):
            yield entry


def is_agno_session(path: str) -> bool:
    """Return whether a file is a session of agno 1.x: its session id is its file name, and it has one of agno's keys.

    Only its beginning and its end are read. Raises OSError.
    """
    with filesystem.open_file(path) as fd:
        status = filesystem.system.status_of(fd)
        if not stat.S_ISREG(status.st_mode):
            return False
        seen = filesystem.read_at(fd, _HEAD, 0)
        if status.st_size > _HEAD:  # YAML has its keys in alphabetical order
            seen += filesystem.read_at(fd, _HEAD, max(_HEAD, status.st_size - _HEAD))
    stem = os.path.splitext(os.path.basename(path))[0]
    forms = tuple(_forms(stem))
    names_it = any(seen.startswith(forms, found.end()) for found in _SAYS_AN_ID.finditer(seen))
    return names_it and any(key in seen for key in _AGNO_KEYS)


def _forms(text: str) -> set[bytes]:
    """Return the forms that a text may have in JSON or YAML: as it is, or with escapes."""
    in_yaml = text.replace("\\", "\\\\").replace('"', '\\"')
    for char in {char for char in text if not char.isascii()}:
        code = ord(char)
        escape = f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
        in_yaml = in_yaml.replace(char, escape)
    forms = {text, text.replace("'", "''"), in_yaml}
    in_json = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return {form.encode(errors="surrogateescape") for form in forms | in_json}


def find_agno_session(root: str) -> str | None:
    """Return the name of the first session file of agno 1.x in a folder. Return None if it has none."""
    for entry in flat_files(root):
        if entry.is_file(follow_symlinks=False) and is_agno_session(entry.path):
            return entry.name
    return None
