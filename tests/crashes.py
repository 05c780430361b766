"""Crashes made by hand: a restart of the machine, and the mark that a killed writer leaves in its lock file."""

import os
import time
from pathlib import Path

import pytest

from localstore.disk import boot, filesystem
from localstore.disk.boot import boot_hash, boot_id
from localstore.disk.file_names import stripe
from localstore.disk.locks import STRIPES
from localstore.disk.write_marks import WriteMarks
from localstore.format.document import LAYOUTS
from localstore.format.in_place import SECTOR
from localstore.format.write_mark import mark_of


def restart_machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything in the store at `root` older than the boot of the machine: a power cut may have damaged it."""
    forget_boot(root)
    now = time.time_ns()
    monkeypatch.setattr(boot, "_CLOCK_ERROR", 0)
    monkeypatch.setattr(boot, "started_at", lambda: now)


def forget_boot(root: Path) -> None:
    """Replace the id of this boot in the manifest and in the lock files by another one."""
    for path in (root / ".localstore/manifest.jsonl", *(root / ".localstore" / "locks").glob("*.lock")):
        if path.exists():
            path.write_bytes(in_another_boot(path.read_bytes()))


def in_another_boot(data: bytes) -> bytes:
    """Return these bytes with the id of this boot replaced by one of the same length."""
    return data.replace(boot_id().encode(), b"another boot".ljust(len(boot_id()), b"!")).replace(
        boot_hash().encode(), b"another!"
    )


def lock_file(root: Path, session_id: str) -> Path:
    """Return the lock file of a session."""
    return root / ".localstore" / "locks" / f"{stripe(session_id, STRIPES):02d}.lock"


def leave_mark(root: Path, session_id: str, old: bytes, new: bytes) -> None:
    """Mark the write that makes `new` of the document `old`, as a writer does that is then killed."""
    start = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old))
    path = str(lock_file(root, session_id))
    with filesystem.open_file(path, os.O_RDWR | os.O_CREAT) as fd:
        WriteMarks(fd, path).set(mark_of(session_id, len(old), old[start:], new[start:], boot_hash()))


def states_after_kill(old: bytes, new: bytes) -> list[bytes]:
    """Return what the file holds if a writer is killed while it makes `new` of `old`, in the order of its writes.

    It writes what lies beyond the old end, then zeros behind a border between sectors, then the overlap in two parts.
    """
    size = len(old)
    start = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), size)
    border = size // SECTOR * SECTOR
    states = [old + new[size:end] for end in range(size, len(new) + 1)]
    if start < border < size:
        states.append(old[:border] + bytes(size - border) + new[size:])
        states.append(new[:border] + bytes(size - border) + new[size:])
    return [*states, new]


def tear(root: Path, path: Path, session_id: str) -> bytes:
    """Leave a document as a writer does that is killed while it appends a run. Return the bytes that are left over."""
    old = path.read_bytes()
    layout = LAYOUTS[path.suffix]
    entry = {"type": "run", "run_id": "torn", "created_at": "2026-11-22T07:01:20.123Z", "output": "long " * 1000}
    new = old.removesuffix(layout.end) + layout.separator + layout.entry(entry) + layout.end
    rest = new[len(old) : len(old) + (len(new) - len(old)) // 2]
    path.write_bytes(old + rest)
    leave_mark(root, session_id, old, new)
    return rest
