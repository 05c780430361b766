"""Builds folders of agno 1.x and stores with documents of every version, and reads whole trees."""

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml

from localstore import JsonStorage
from tests.unit.raw import Storage
from tests.unit.storage.test_storage_upgrade import old_session

__all__ = [
    "DERIVED",
    "Tree",
    "agno_bytes",
    "documents_of",
    "folder_of_agno",
    "ids",
    "in_month",
    "newer_bytes",
    "old_session",
    "runs",
    "tree_of",
]

Tree = dict[str, tuple[int, bytes | None]]
Suffix = Literal[".json", ".yaml"]


def agno_bytes(session: dict[str, Any], suffix: str) -> bytes:
    """A session in the form that agno 1.x writes."""
    if suffix == ".json":
        return json.dumps(session, ensure_ascii=False, indent=4).encode()
    text: str = yaml.dump(session, default_flow_style=False)
    return text.encode()


def folder_of_agno(folder: Path, names: Iterable[str] = ("a", "b", "c"), suffix: str = ".json") -> Path:
    """A folder in which agno 1.x kept these sessions; the modes of the files differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        path = folder / f"{name}{suffix}"
        path.write_bytes(agno_bytes(old_session(name, 1 + number % 3), suffix))
        path.chmod((0o644, 0o600, 0o640)[number % 3])
    return folder


def in_month(storage: Storage, name: str, content: bytes, month: str = "2026-11") -> Path:
    """Write a file into a month folder of a store."""
    path = storage.root / "sessions" / month / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def newer_bytes(session_id: str) -> bytes:
    """A document that a newer localstore wrote."""
    return json.dumps({"schema_version": 7, "session_id": session_id, "history": []}, indent=2).encode()


def tree_of(root: Path, *, without: Iterable[str] = ()) -> Tree:
    """Every file and folder below with its mode and bytes; what begins with one of `without` is left out. Times and
    inodes do not count."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(tuple(without)):
            status = path.lstat()
            is_file = stat.S_ISREG(status.st_mode)
            found[name] = (stat.S_IMODE(status.st_mode) if is_file else 0, path.read_bytes() if is_file else None)
    return found


DERIVED = ("manifest.jsonl", ".localstore")
"""Derived or machine-local files."""


def documents_of(root: Path) -> Tree:
    """The tree without derived and machine-local files."""
    return tree_of(root, without=DERIVED)


def ids(root: Path) -> set[str]:
    return {info.session_id for info in JsonStorage(root, create=False).list_sessions()}


def runs(root: Path, session_id: str) -> list[str | None]:
    session = JsonStorage(root, create=False).read(session_id)
    assert session is not None
    return [run.run_id for run in session.runs]
