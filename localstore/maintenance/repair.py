"""Mends what a check finds and a machine can mend. Moves aside, never deletes. Prints nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from localstore.disk import file_names, rescue_folder, store_tree
from localstore.disk.store_tree import Opened
from localstore.errors import DocumentBroken, NewerFormat, OlderFormat
from localstore.maintenance.check import MOST_MODES, Sweep
from localstore.maintenance.finding import Finding
from localstore.maintenance.mending import Mender, free_ids

_ROUNDS = 5
"""How often the store is looked through again, because what was mended may have hidden something else."""


def repair(
    store: Opened | Path | str, *, dry_run: bool = False, lock_timeout: float = 10.0
) -> Generator[Finding, None, int]:
    """Check a store, open or at this path, and mend what can be mended: first each `repair`, then what is left as
    `error` and `note`; at the end the number of sessions. With `dry_run` it only says so, in the same words.

    Mended are torn documents, the manifest, temporary files that were left, permissions, and a `session_id` that two
    documents have. Other programs may write meanwhile; nothing is deleted; stopped at any point it may be run again.
    Raises what `check` raises, LockTimeout, and OSError when the store cannot be written to.
    """
    root = store_tree.root_of(store)
    tried: dict[tuple[str, int | None, str], str] = {}
    """What was mended or could not be, so that nothing is done twice; and why it could not."""
    for left in reversed(range(_ROUNDS)):
        sweep = Sweep(str(root))
        findings, sessions = _all_of(sweep.run())
        repairs = _Repairs(sweep, Mender(root, lock_timeout))
        others: list[Finding] = []
        is_done = True
        for finding in findings:
            key = finding.path, finding.line, finding.problem
            if finding.kind is None:
                others.append(finding)
            elif key in tried:
                others.append(replace(finding, problem=f"{finding.problem}{tried[key]}", kind=None))
            elif dry_run:
                yield replace(finding, severity="repair", advice=repairs.words(finding))
            else:
                is_done = False
                tried[key], words = _try(repairs, finding)
                if words is not None:
                    yield replace(finding, severity="repair", advice=words)
        if is_done or not left:
            break
    yield from others
    return sessions


def _try(repairs: _Repairs, finding: Finding) -> tuple[str, str | None]:
    """Mend one thing: why it could not be mended, and what was done."""
    try:
        return "", repairs.do(finding)
    except (DocumentBroken, NewerFormat, OlderFormat) as error:
        return f", and cannot be mended: {getattr(error, 'problem', '') or error}", None
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return ", and cannot be mended: it belongs to another user, or the system protects it", None


def _all_of(run: Generator[Finding, None, int]) -> tuple[list[Finding], int]:
    found = []
    while True:
        try:
            found.append(next(run))
        except StopIteration as end:
            return found, end.value


class _Repairs:
    """What is to be done about the findings of one sweep."""

    def __init__(self, sweep: Sweep, mender: Mender) -> None:
        self._sweep = sweep
        self._mender = mender
        self._modes = dict(sweep.modes)
        self._new_ids = _new_ids(sweep)
        self._manifest_is_right = False

    def words(self, finding: Finding) -> str:
        """What `do` is going to do, in a sentence."""
        path = self._relative(finding)
        match finding.kind:
            case "mode":
                return f"Set it to {self._modes[path]:o}." if path else "Set them to 600 and 700."
            case "torn":
                return f"Write it anew without what is torn, which is kept in {rescue_folder.FOLDER}."
            case "leftover":
                return f"Move it to {rescue_folder.FOLDER}."
            case "duplicate":
                new_id = self._new_ids[path]
                return _renamed(new_id, file_names.stem(new_id) + os.path.splitext(path)[1])
            case _:
                return "Write the manifest anew, as the documents say."

    def do(self, finding: Finding) -> str | None:
        """Mend it, and say what was done; None when there was nothing to do any more. Raises OSError."""
        path = self._relative(finding)
        match finding.kind:
            case "mode":
                self._set_modes([(path, self._modes[path])] if path else self._sweep.modes[MOST_MODES:])
            case "torn":
                self._mender.mend_torn(path)
            case "leftover":
                self._mender.move_leftover(path)
            case "duplicate":
                done = self._mender.give_new_id(path, self._sweep.duplicates[path], self._new_ids[path])
                return None if done is None else _renamed(done[0], os.path.basename(done[1]))
            case _:
                if not self._manifest_is_right:
                    self._mender.right_manifest(self._sweep.doubtful)
                    self._manifest_is_right = True
        return self.words(finding)

    def _set_modes(self, modes: list[tuple[str, int]]) -> None:
        """Set them all, as far as we may. Raises PermissionError for the first of those that were refused."""
        refused = None
        for path, mode in modes:
            try:
                self._mender.set_mode(path, mode)
            except PermissionError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def _relative(self, finding: Finding) -> str:
        """The path below the root, "" for the root itself."""
        path = os.path.relpath(finding.path, self._sweep.root).replace(os.sep, "/")
        return "" if path == "." else path


def _renamed(new_id: str, name: str) -> str:
    return f"Give it the session_id {new_id!r} and the name {name}."


def _new_ids(sweep: Sweep) -> dict[str, str]:
    """The ids that the duplicates of a sweep get, by path."""
    taken = {row["session_id"] for row in sweep.rows.values()}
    found = {}
    for path in sweep.duplicates:
        session_id = sweep.rows[path]["session_id"]
        found[path] = next(new_id for new_id in free_ids(session_id) if new_id not in taken)
        taken.add(found[path])
    return found
