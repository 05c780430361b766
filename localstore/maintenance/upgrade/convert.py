"""Convert documents from JSON to YAML or back."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from localstore.disk import backup_folder, store_tree
from localstore.engine.engine import Engine
from localstore.engine.transaction import older_format_error
from localstore.errors import DocumentBroken, SessionNotFound
from localstore.format.document import LAYOUTS, ParsedDocument, convert_layout
from localstore.format.values import json_equal
from localstore.maintenance.upgrade.batches import rewrite_all
from localstore.maintenance.upgrade.results import Upgraded
from localstore.models.progress import Progress
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
    """Convert the documents of sessions to the format `to`, without changing their content. Return the result.

    The old documents are first kept in a backup. Each document is then converted atomically, under its lock. Documents
    in the right format already are skipped. A document that cannot be converted stays as it is, and the result names
    it. If a call is interrupted, the next call continues. JSON has no comments, so only the backup keeps those of YAML.

    >>> from localstore import JsonStorage
    >>> convert(JsonStorage("my-sessions"), "yaml").documents
    0

    Args:
        store: An open storage or the path of a store.
        to: The format to write.
        session_ids: The sessions to convert; None converts all.
        processes: The number of processes to use. Each imports the main module of the program.
        lock_timeout: Seconds to wait for each lock.
        progress: Called with the number of documents done so far and the total number.

    Raises SessionNotFound; StoreNotFound; LockTimeout if another upgrade or conversion is running; and OSError, before
    any document is changed, if the disk has too little free space.
    """
    engine = Engine(store_tree.root_of(store), durable=True, timeout=lock_timeout)
    suffix = f".{to}"
    all_paths = store_tree.all_documents(engine.root) if session_ids is None else _paths(engine, session_ids)
    paths = sorted({path for path in all_paths if not path.endswith(suffix)})
    if not paths:
        return Upgraded()
    with engine.locks.migration(lock_timeout):
        transform = functools.partial(_convert, suffix, engine.root)
        backup = backup_folder.begin(engine.root, f"convert to {to}")
        outcome = rewrite_all(
            engine.root, backup, paths, transform, processes=processes, lock_timeout=lock_timeout, progress=progress
        )
        return Upgraded(outcome.documents, outcome.problems, backup.finish())


def _paths(engine: Engine, session_ids: Sequence[str]) -> list[str]:
    paths = []
    for session_id in session_ids:
        row = engine.index.find_anywhere(session_id)
        if row is None:
            raise SessionNotFound(f"There is no session {session_id!r}. Check the id.", session_id=session_id)
        paths.append(row["path"])
    return paths


def _convert(suffix: str, root: str, old: ParsedDocument, path: str) -> tuple[str, ParsedDocument] | None:
    if path.endswith(suffix):
        return None
    if old.version != SCHEMA_VERSION:
        raise older_format_error(old, store_tree.full_path(root, path), root)
    new = convert_layout(old, LAYOUTS[suffix], path)
    if not (json_equal(new.header, old.header) and json_equal(new.entries, old.entries)):
        problem = f"holds something that {suffix[1:].upper()} cannot express"
        raise DocumentBroken(f"{path} {problem}. Nothing was changed.", path=path, problem=problem)
    return os.path.splitext(path)[0] + suffix, new
