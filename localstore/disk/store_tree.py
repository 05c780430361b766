"""The folders of a store: make one, recognise one, name the documents in it."""

import contextlib
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Protocol

import orjson

from localstore.disk import file_names, filesystem
from localstore.errors import NewerFormat, OlderFormat, StoreNotFound
from localstore.format.document import LAYOUTS

MARKER = "localstore.json"
FORMAT = 1
SESSIONS = "sessions"
_SCHEMA = "session-1.schema.json"
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])(?=-)")
_IGNORE = b"*\n"
_HEAD = 1 << 20
"""So many bytes of a file, at both ends, are looked at to tell what it is."""
_SAYS_AN_ID = re.compile(rb"session_id\"?:\s*[\"']?")
_AGNO_KEYS = (b"memory", b"session_data", b"agent_data", b"team_data", b"workflow_data")


def open_store(path: Path, *, create: bool) -> Path:
    """The real path of the store at `path`, made when it is missing and `create` says so.

    Raises StoreNotFound, NewerFormat, OlderFormat, OSError.
    """
    root = Path(os.path.realpath(path))
    _refuse_link(str(root))
    if os.path.lexists(root / MARKER) and not os.path.isfile(root / MARKER):  # a named pipe would be waited for
        raise StoreNotFound(
            f"{root / MARKER} is not a regular file. Put one there that says the format.", path=str(root)
        )
    try:
        marker = (root / MARKER).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        _refuse_agno_folder(root)
        if not create:
            raise StoreNotFound(
                f"There is no store at {path}. Give the folder that holds {MARKER}, or make one by storing a session.",
                path=str(path),
            ) from None
        return _make(root)
    try:
        _check_marker(marker, root / MARKER)
    except StoreNotFound:
        _refuse_agno_folder(root)  # of a session with just this id
        raise
    return root


class Opened(Protocol):
    """What has the real path of a store: an open storage."""

    root: Path


def root_of(store: Opened | Path | str) -> Path:
    """The real path of a store, open or at this path. Raises what `open_store` raises."""
    return open_store(Path(store) if isinstance(store, (str, Path)) else store.root, create=False)


def full_path(root: str, path: str) -> str:
    """The path of the system for one below the root, as rows have them."""
    return os.path.join(root, *path.split("/"))


def _refuse_link(root: str) -> None:
    if os.path.islink(f"{root}/{SESSIONS}"):
        raise StoreNotFound(
            f"{root}/{SESSIONS} is a symbolic link, and links are not followed. Put the folder itself there, or give "
            "a link to the whole store.",
            path=root,
        )


def _check_marker(marker: bytes, path: Path) -> None:
    try:
        version = orjson.loads(marker)["format"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        version = None
    if type(version) is not int or version < 1:
        raise StoreNotFound(
            f'{path} does not say which format this store has. Put {{"format": {FORMAT}}} into it.', path=str(path)
        )
    if version > FORMAT:
        raise NewerFormat(
            f"{path} says format {version}; this localstore knows up to {FORMAT}. "
            "Nothing was changed. Update localstore.",
            path=str(path),
        )


def _make(root: Path) -> Path:
    prepare(root)
    write_marker(root)
    return root


def prepare(root: Path) -> None:
    """Make all that a store has but its marker: nobody takes the folder for a store yet."""
    for folder in (root / SESSIONS, root / "schemas", root / ".localstore" / "locks"):
        filesystem.make_folders(folder)
    filesystem.write_file(root / ".localstore" / ".gitignore", [_IGNORE])  # of this machine alone
    filesystem.write_file(root / "schemas" / _SCHEMA, [_schema()])


def write_marker(root: Path) -> None:
    """Say that a folder is a store."""
    marker = {"localstore": "store", "format": FORMAT}
    filesystem.write_file(root / MARKER, [orjson.dumps(marker, option=orjson.OPT_INDENT_2), b"\n"])


def _schema() -> bytes:
    return resources.files("localstore.models").joinpath(_SCHEMA).read_bytes()


def is_store(root: Path) -> bool:
    """Whether a folder says that it is a store, of this format or of a newer one."""
    try:
        _check_marker((root / MARKER).read_bytes(), root / MARKER)
    except NewerFormat:
        return True
    except (OSError, StoreNotFound):
        return False
    return True


def remove_marker(root: Path) -> bool:
    """Take away what makes a folder a store, and the manifest, unless there is a document; whether that was so. What
    holds anything else stays. Nobody may work on the store."""
    folder = str(root)
    if any(True for _ in all_documents(folder)):
        return False
    for month in folders(folder):
        filesystem.remove_temporaries(f"{folder}/{month}")
        filesystem.remove_folder_if_empty(f"{folder}/{month}")
    filesystem.remove_folder_if_empty(f"{folder}/{SESSIONS}")
    if is_store(root):  # else a session of agno may have this name
        filesystem.remove_file(root / MARKER)
    for path, content in (("manifest.jsonl", None), (f"schemas/{_SCHEMA}", _schema())):
        full = root / path
        if os.path.isfile(full) and (content is None or full.read_bytes() == content):
            filesystem.remove_file(full)
    if os.path.isdir(f"{folder}/schemas"):
        filesystem.remove_temporaries(f"{folder}/schemas", (_SCHEMA,))
        filesystem.remove_folder_if_empty(f"{folder}/schemas")
    filesystem.remove_temporaries(folder, (MARKER, "manifest.jsonl"))
    return True


def remove_local_files(root: Path) -> None:
    """Remove what is of this machine alone, when none of it is worth keeping. Nobody may work on the store."""
    private = root / ".localstore"
    if not private.is_dir() or private.is_symlink():
        return
    filesystem.remove_temporaries(str(private), (".gitignore",))
    for name in ("backups", "rescue", "trash"):
        filesystem.remove_folder_if_empty(str(private / name))
    if {entry.name for entry in filesystem.system.entries(str(private))} <= {"locks", ".gitignore"}:
        if (private / "locks").is_dir():
            for entry in filesystem.system.entries(str(private / "locks")):
                if entry.name.endswith(".lock"):
                    filesystem.system.unlink(entry.path)
            filesystem.remove_folder_if_empty(str(private / "locks"))
        if (private / ".gitignore").is_file():
            filesystem.remove_file(private / ".gitignore")
        filesystem.remove_folder_if_empty(str(private))


def flat_files(root: str) -> Iterator["os.DirEntry[str]"]:
    """What stands in a folder itself and is named like a document, sorted: sessions of agno 1.x stand there."""
    try:
        found = filesystem.system.entries(root)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in sorted(found, key=lambda entry: entry.name):
        if entry.name.endswith(tuple(LAYOUTS)) and _is_visible(entry.name):
            yield entry


def is_agno_session(path: str) -> bool:
    """Whether a flat file is a session of agno 1.x, by a look at its head and its end: it says the id that its name
    says, and has a key of theirs. Raises OSError."""
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
    """How a text may stand in JSON or YAML: as it is, or with escapes."""
    in_yaml = text.replace("\\", "\\\\").replace('"', '\\"')
    for char in {char for char in text if not char.isascii()}:
        code = ord(char)
        escape = f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
        in_yaml = in_yaml.replace(char, escape)
    forms = {text, text.replace("'", "''"), in_yaml}
    in_json = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return {form.encode(errors="surrogateescape") for form in forms | in_json}


def find_agno_session(root: str) -> str | None:
    """The name of a flat session file, as agno 1.x writes them, in a folder that is no store; None without any."""
    for entry in flat_files(root):
        if entry.is_file(follow_symlinks=False) and is_agno_session(entry.path):
            return entry.name
    return None


def _refuse_agno_folder(root: Path) -> None:
    """Raise OlderFormat for a folder of agno 1.x."""
    name = find_agno_session(str(root))
    if name is not None:
        raise OlderFormat(
            f"{root} holds session files of agno 1.x, such as {name}. Nothing was changed. Turn it into a store with: "
            f"localstore upgrade {shlex.quote(str(root))}",
            path=str(root),
        )


def folders(root: str) -> dict[str, int]:
    """The folders below `sessions/` that may hold documents, and their mtime_ns. Links are not followed.

    Raises StoreNotFound when `sessions/` has become a link, OSError.
    """
    _refuse_link(root)
    found = {}
    try:
        for entry in filesystem.system.entries(f"{root}/{SESSIONS}"):
            if _is_visible(entry.name) and entry.is_dir(follow_symlinks=False):
                # On Windows the mtime of the listing itself may be old.
                with contextlib.suppress(FileNotFoundError):  # removed since
                    found[f"{SESSIONS}/{entry.name}"] = filesystem.system.status(entry.path).st_mtime_ns
    except FileNotFoundError:
        pass
    return found


def has_folder(root: str, folder: str) -> bool:
    """Whether a folder for documents is there, and no link may lead out of the store on the way to it."""
    try:
        return all(stat.S_ISDIR(filesystem.system.status(f"{root}/{name}").st_mode) for name in (SESSIONS, folder))
    except FileNotFoundError:
        return False


def make_durable(root: str, folder: str) -> None:
    """Make a folder for documents, and the names of all folders above it durable, whoever made them. Raises OSError."""
    path = Path(root, folder)
    filesystem.make_folders(path)
    for above in (path.parent, Path(root), Path(root).parent):
        with contextlib.suppress(PermissionError):  # what is above the store may be closed to us
            filesystem.sync_folder(str(above))


def documents(root: str, folder: str) -> Iterator[str]:
    """The paths, relative to the root, of the files in a folder that may be documents."""
    suffixes = tuple(LAYOUTS)
    try:
        for entry in filesystem.system.entries(f"{root}/{folder}"):
            if entry.name.endswith(suffixes) and _is_visible(entry.name):
                yield f"{folder}/{entry.name}"
    except FileNotFoundError:
        return


def all_documents(root: str) -> Iterator[str]:
    """The paths, relative to the root, of all files that may be documents."""
    for folder in folders(root):
        yield from documents(root, folder)


def _is_visible(name: str) -> bool:
    """Not hidden, and a text: a name that is not UTF-8 fits into no manifest."""
    return not name.startswith(".") and (name.isascii() or name.encode(errors="ignore").decode() == name)


def paths_named_after(root: str, session_id: str) -> Iterator[str]:
    """The files, in any folder and of any format, that have the name of this session."""
    stem = file_names.stem(session_id)
    for folder in folders(root):
        for suffix in LAYOUTS:
            if filesystem.exists(f"{root}/{folder}/{stem}{suffix}"):
                yield f"{folder}/{stem}{suffix}"


def new_path(session_id: str, created_at: str, suffix: str) -> str:
    """Where a new document goes: the month of its creation, and the file name of its id."""
    match = _MONTH.match(created_at)
    month = match[0] if match else datetime.now(UTC).strftime("%Y-%m")
    return f"{SESSIONS}/{month}/{file_names.stem(session_id)}{suffix}"
