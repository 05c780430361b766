"""Documents of one format become documents of the other."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from localstore.disk import backup_folder, store_tree
from localstore.disk.locks import pool_of
from localstore.engine.transaction import older
from localstore.errors import DocumentBroken, SessionNotFound
from localstore.format.document import LAYOUTS, ParsedDocument, convert_layout
from localstore.format.values import json_equal
from localstore.index.manifest import Manifest
from localstore.index.session_index import SessionIndex
from localstore.maintenance.upgrade.apply import Progress, rewrite_all
from localstore.maintenance.upgrade.results import Upgraded
from localstore.models.schema import SCHEMA_VERSION


def convert(
    store: store_tree.Opened | Path | str,
    to: Literal["json", "yaml"],
    session_ids: Sequence[str] | None = None,
    *,
    processes: int = 1,
    lock_timeout: float = 10.0,
    progress: Progress | None = None,
) -> Upgraded:
    """Write the documents of these sessions (of all, when None) in the other format; nothing in them changes.

    As for `upgrade`: one at a time, under its lock, the old ones kept in a backup; one that cannot be converted stays
    as it is and is named; interrupted and called again, it goes on. Comments in YAML have no place in JSON: the backup
    has them. Raises SessionNotFound, StoreNotFound, LockTimeout, and OSError when there is too little room.
    """
    root = str(store_tree.root_of(store))
    suffix = f".{to}"
    paths = _all_others(root, suffix) if session_ids is None else _those(root, session_ids, suffix, lock_timeout)
    if not paths:
        return Upgraded()
    with pool_of(Path(root)).migration(lock_timeout):
        work = functools.partial(_converted, suffix, root)
        backup = backup_folder.begin(root, f"convert to {to}")
        outcome = rewrite_all(root, backup, paths, work, processes, lock_timeout, progress)
        return Upgraded(outcome.documents, outcome.problems, backup.finish())


def _all_others(root: str, suffix: str) -> list[str]:
    return sorted(path for path in store_tree.all_documents(root) if not path.endswith(suffix))


def _those(root: str, session_ids: Sequence[str], suffix: str, timeout: float) -> list[str]:
    catalog = SessionIndex(root, Manifest(root, pool_of(Path(root)), timeout))
    paths = []
    for session_id in session_ids:
        row = catalog.find_anywhere(session_id)
        if row is None:
            raise SessionNotFound(f"There is no session {session_id!r}. Check the id.", session_id=session_id)
        paths.append(row["path"])
    return sorted({path for path in paths if not path.endswith(suffix)})


def _converted(suffix: str, root: str, old: ParsedDocument, path: str) -> tuple[str, ParsedDocument] | None:
    if path.endswith(suffix):
        return None
    if old.version != SCHEMA_VERSION:
        raise older(old, store_tree.full_path(root, path), root)
    new = convert_layout(old, LAYOUTS[suffix], path)
    if not (json_equal(new.header, old.header) and json_equal(new.entries, old.entries)):
        problem = f"holds something that {suffix[1:].upper()} cannot say"
        raise DocumentBroken(f"{path} {problem}. Nothing was changed.", path=path, problem=problem)
    return os.path.splitext(path)[0] + suffix, new
