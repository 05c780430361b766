"""The folders of a store: create a store, recognise one, and list the documents in it."""

import contextlib
import errno
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson

from localstore.disk import durable_files, file_names, filesystem, store_place, temporary_files
from localstore.disk.agno_files import find_agno_session, is_agno_session
from localstore.disk.ignore_files import GIT_IGNORE, GIT_RULES
from localstore.disk.ignored_files import is_visible, may_be_document
from localstore.disk.store_identity import MARKER, make_folders
from localstore.errors import DocumentBroken, NewerFormat, OlderFormat, StoreNotFound
from localstore.format.document import LAYOUTS

FORMAT = 1
SEARCH_FILE = ".localstore/search.sqlite"
"""The search index. Everything in it is derived from the documents."""
OLD_MANIFEST = "manifest.jsonl"
"""Where earlier releases had the manifest."""
MANIFEST = ".localstore/manifest.jsonl"
INDEX_FILE = ".localstore/index.sqlite"
SESSIONS = "sessions"
_OWN_MARKER = {"localstore": "store", "format": FORMAT}
"""The content of the marker, but for the id of the store. Stores of earlier releases have none."""
_SCHEMA = "session-1.schema.json"
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])(?=-)")
_IGNORE = b"*\n"
_MOST_SHOWN, _LONGEST_SHOWN = 5, 40
"""How many keys of a foreign marker an error shows, and how many characters of each."""


def open_store(path: Path, *, create: bool) -> Path:
    """Return the real path of the store at `path`. With `create`, a missing store is created.

    Raises StoreNotFound, NewerFormat, OlderFormat, OSError.
    """
    root = Path(os.path.realpath(path))
    _refuse_link(str(root))
    if os.path.lexists(root / MARKER) and not os.path.isfile(root / MARKER):  # opening a named pipe would wait
        raise StoreNotFound(
            f"{root / MARKER} is not a regular file, so this folder is not a store. Nothing was changed. Use another "
            "folder.",
            path=str(root),
        )
    try:
        marker = _read_marker(root)
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
    """An object with the real path of a store, such as an open storage."""

    root: Path


def root_of(store: Opened | Path | str) -> Path:
    """Return the real path of an open storage or of the store at a path. Raises what `open_store` raises."""
    return open_store(Path(store) if isinstance(store, (str, Path)) else store.root, create=False)


def full_path(root: str, path: str) -> str:
    """Return the path on this system for a path with slashes below the root, as rows have it."""
    return os.path.join(root, *path.split("/"))


def _refuse_link(root: str) -> None:
    if os.path.islink(f"{root}/{SESSIONS}"):
        raise StoreNotFound(
            f"{root}/{SESSIONS} is a symbolic link, and links are not followed. Put the folder itself there, or give "
            "a link to the whole store.",
            path=root,
        )


def _read_marker(root: Path) -> bytes:
    """Return the content of a store's marker. Raises OSError, which names the file even if closing it fails."""
    try:
        return (root / MARKER).read_bytes()
    except OSError as error:
        filesystem.set_filename(error, str(root / MARKER))
        raise


def _check_marker(marker: bytes, path: Path) -> None:
    version = _format_in(marker)
    if version is None:
        what = f"{path} does not say which format this store has: it {_describe(marker)}. Nothing was changed."
        if _has_files_of_ours(path.parent):
            advice = (
                "Restore the file from a backup or from version control. Unless a newer localstore wrote the store, it "
                f"was {json.dumps(_OWN_MARKER | store_place.recorded_id(str(path.parent)))}."
            )
        else:
            advice = "It may belong to another program. Use another folder for the store."
        raise StoreNotFound(f"{what} {advice}", path=str(path))
    if version > FORMAT:
        raise NewerFormat(
            f"{path} has format {version}, but this localstore reads formats up to {FORMAT}. "
            "Nothing was changed. Update localstore.",
            path=str(path),
        )


def _format_in(marker: bytes) -> int | None:
    """Return the format that a marker names, or None if it names none."""
    try:
        version = orjson.loads(marker)["format"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return version if type(version) is int and version >= 1 else None


def _describe(marker: bytes) -> str:
    """Return a clause that says what is in a file with the name of the marker, for an error."""
    if not marker.strip():
        return "is empty"
    try:
        value = orjson.loads(marker)
    except orjson.JSONDecodeError:
        return "is not JSON"
    if not isinstance(value, dict):
        return "is JSON, but not an object"
    if "format" in value:
        return f'has the "format" {json.dumps(value["format"])[:_LONGEST_SHOWN]}'
    keys = ", ".join(json.dumps(key)[:_LONGEST_SHOWN] for key in list(value)[:_MOST_SHOWN])
    more = ", ..." if len(value) > _MOST_SHOWN else ""
    return f'has the keys {keys}{more}, but no "format"' if keys else "is an empty object"


def _has_files_of_ours(root: Path) -> bool:
    """Return whether a folder has files that only localstore makes. A clone of a store has no `.localstore`."""
    return (root / ".localstore").is_dir() or (root / "schemas" / _SCHEMA).is_file()


def is_foreign(root: Path) -> bool:
    """Return whether the folder has a `localstore.json` of another program, and nothing of a store or of agno 1.x."""
    try:
        marker = _read_marker(root)
    except OSError:
        return False
    return _format_in(marker) is None and not _has_files_of_ours(root) and find_agno_session(str(root)) is None


def refuse_to_replace_marker(root: Path) -> None:
    """Raise StoreNotFound if making a store of the folder would replace a `localstore.json` that is not agno's."""
    path = root / MARKER
    if os.path.lexists(path) and not (path.is_file() and is_agno_session(str(path))):
        raise StoreNotFound(
            f"{path} is not a file of localstore or of agno 1.x, and a store needs this name. Nothing was changed. "
            "Move the session files to another folder.",
            path=str(path),
        )


def _make(root: Path) -> Path:
    if os.path.lexists(root) and not os.path.isdir(root):  # otherwise the error would name a folder in it
        raise NotADirectoryError(
            errno.ENOTDIR, "Not a folder, so a store cannot be created in it. Use another path", str(root)
        )
    prepare(root)
    write_marker(root)
    return root


def prepare(root: Path) -> None:
    """Create everything that a store has except its marker: the folder is not a store yet."""
    for folder in (root / SESSIONS, root / "schemas", root / ".localstore" / "locks"):
        filesystem.make_folders(folder)
    durable_files.write_file(root / ".localstore" / ".gitignore", [_IGNORE])  # machine-local
    durable_files.write_file(root / "schemas" / _SCHEMA, [_schema()])
    with contextlib.suppress(FileExistsError):
        durable_files.create_file(root / GIT_IGNORE, [GIT_RULES])


def write_marker(root: Path) -> None:
    """Turn a prepared folder into a store, unless another process has just done so.

    Raises DocumentBroken if another file has the name of the marker, OSError.
    """
    marker = _OWN_MARKER | store_place.new_id()
    try:
        durable_files.create_file(root / MARKER, [orjson.dumps(marker, option=orjson.OPT_INDENT_2), b"\n"])
    except FileExistsError:
        if not is_store(root):
            raise DocumentBroken(
                f"{root / MARKER} is in the way: a store keeps a file of its own with this name. Rename or move it.",
                path=str(root / MARKER),
            ) from None
    store_place.record_first(str(root))


def _schema() -> bytes:
    return resources.files("localstore.models").joinpath(_SCHEMA).read_bytes()


def is_store(root: Path) -> bool:
    """Return whether a folder is a store, of this format or a newer one."""
    try:
        _check_marker(_read_marker(root), root / MARKER)
    except NewerFormat:
        return True
    except (OSError, StoreNotFound):
        return False
    return True


def is_manifest(content: bytes) -> bool:
    """Return whether a file named as the manifest is one, and not the file of another program."""
    return content.startswith(b'{"localstore":"manifest"')


def remove_store_files(root: Path) -> bool:
    """Turn a store without documents into an ordinary folder again. Other files stay.

    Return False, and change nothing, if the store has a document. No other process may use the store.
    """
    folder = str(root)
    if any(True for _ in all_documents(folder)):
        return False
    for month in folders(folder):
        temporary_files.remove(f"{folder}/{month}")
        filesystem.remove_folder_if_empty(f"{folder}/{month}")
    filesystem.remove_folder_if_empty(f"{folder}/{SESSIONS}")
    if is_store(root):  # otherwise a session of agno may have this name
        durable_files.remove_file(root / MARKER)
    ours = {
        OLD_MANIFEST: is_manifest,
        MANIFEST: is_manifest,
        f"schemas/{_SCHEMA}": _schema().__eq__,
        GIT_IGNORE: GIT_RULES.__eq__,
    }
    for path, is_ours in ours.items():
        full = root / path
        if os.path.isfile(full) and is_ours(full.read_bytes()):
            durable_files.remove_file(full)
    if os.path.isdir(f"{folder}/schemas"):
        temporary_files.remove(f"{folder}/schemas", (_SCHEMA,))
        filesystem.remove_folder_if_empty(f"{folder}/schemas")
    temporary_files.remove(folder, (MARKER, OLD_MANIFEST, GIT_IGNORE))
    return True


def remove_local_files(root: Path) -> None:
    """Remove the machine-local files unless some must be kept. No other process may use the store."""
    private = root / ".localstore"
    if not private.is_dir() or private.is_symlink():
        return
    temporary_files.remove(str(private), (".gitignore", "manifest.jsonl", "place.json"))
    for name in (SEARCH_FILE, INDEX_FILE):
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                filesystem.system.unlink(f"{root}/{name}{suffix}")
    for name in ("backups", "rescue", "trash"):
        filesystem.remove_folder_if_empty(str(private / name))
    if {entry.name for entry in filesystem.system.entries(str(private))} <= {"locks", ".gitignore", "place.json"}:
        if (private / "locks").is_dir():
            for entry in filesystem.system.entries(str(private / "locks")):
                if entry.name.endswith(".lock"):
                    filesystem.system.unlink(entry.path)
            filesystem.remove_folder_if_empty(str(private / "locks"))
        for name in (".gitignore", "place.json"):
            if (private / name).is_file():
                durable_files.remove_file(private / name)
        filesystem.remove_folder_if_empty(str(private))


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
    """Return the folders below `sessions/` that may hold documents, with their mtime_ns. Links are not followed.

    Raises StoreNotFound if `sessions/` is a link, OSError.
    """
    _refuse_link(root)
    found = {}
    try:
        for entry in filesystem.system.entries(f"{root}/{SESSIONS}"):
            if is_visible(entry.name) and entry.is_dir(follow_symlinks=False):
                # On Windows the mtime of the listing itself may be old.
                with contextlib.suppress(FileNotFoundError):  # removed since
                    found[f"{SESSIONS}/{entry.name}"] = filesystem.system.status(entry.path).st_mtime_ns
    except FileNotFoundError:
        pass
    return found


def has_folder(root: str, folder: str) -> bool:
    """Return whether a folder for documents exists, and neither it nor `sessions/` is a link."""
    status = filesystem.system.status
    try:
        return stat.S_ISDIR(status(f"{root}/{SESSIONS}").st_mode) and stat.S_ISDIR(status(f"{root}/{folder}").st_mode)
    except FileNotFoundError:
        return False


def make_durable(root: str, folder: str) -> None:
    """Create a folder for documents and make the names of all folders above it durable. Raises OSError."""
    path = Path(root, folder)
    make_folders(root, path)
    for above in (path.parent, Path(root), Path(root).parent):
        with contextlib.suppress(PermissionError):  # we may have no access to what is above the store
            filesystem.sync_folder(str(above))


class Listing(NamedTuple):
    """What is in a folder for documents. `documents` are paths relative to the root, of files that may be documents."""

    documents: list[str]
    others: list["os.DirEntry[str]"]


def list_folder(root: str, folder: str) -> Listing:
    """List a folder for documents. A missing folder is empty. Raises OSError."""
    listing = Listing([], [])
    with contextlib.suppress(FileNotFoundError):
        for entry in filesystem.system.entries(f"{root}/{folder}"):
            if may_be_document(entry.name):
                listing.documents.append(f"{folder}/{entry.name}")
            else:
                listing.others.append(entry)
    return listing


def documents(root: str, folder: str) -> list[str]:
    """Return the paths, relative to the root, of the files in a folder that may be documents."""
    return list_folder(root, folder).documents


def all_documents(root: str) -> Iterator[str]:
    """Yield the paths, relative to the root, of all files that may be documents."""
    for folder in folders(root):
        yield from documents(root, folder)


def paths_named_after(root: str, session_id: str) -> Iterator[str]:
    """Yield the paths of the files that are named after this session, in any folder and of any format."""
    stem = file_names.stem(session_id)
    for folder in folders(root):
        for suffix in LAYOUTS:
            if filesystem.exists(f"{root}/{folder}/{stem}{suffix}"):
                yield f"{folder}/{stem}{suffix}"


def new_path(session_id: str, created_at: str, suffix: str) -> str:
    """Return the path of a new document: the folder is its month of creation, the file is named after its id."""
    match = _MONTH.match(created_at)
    month = match[0] if match else datetime.now(UTC).strftime("%Y-%m")
    return f"{SESSIONS}/{month}/{file_names.stem(session_id)}{suffix}"
