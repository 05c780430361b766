"""Upgrade a store, or convert a folder of agno 1.x to a store."""

import os
from pathlib import Path

from localstore.disk import backup_folder, store_tree
from localstore.disk.locks import pool_of
from localstore.format.document import ParsedDocument, convert_layout
from localstore.maintenance.upgrade.batches import rewrite_all
from localstore.maintenance.upgrade.plan import ACTION, is_folder_of_agno, make_plan
from localstore.maintenance.upgrade.results import Upgraded
from localstore.models.progress import Progress
from localstore.models.schema import SCHEMA_VERSION


def upgrade(
    folder: Path | str, *, processes: int = 1, lock_timeout: float = 10.0, progress: Progress | None = None
) -> Upgraded:
    """Upgrade every document of a store, or of a folder of agno 1.x, to the current schema version.

    A folder of agno 1.x becomes a store. The old documents are first kept in a backup. Each document is then upgraded
    atomically, under its lock; other programs may use the store in the meantime. A document that cannot be upgraded
    stays as it is, and the result names it. If a call is interrupted, the next call continues and completes the work.

    >>> from localstore import JsonStorage
    >>> upgrade(JsonStorage("my-sessions").root).documents
    0

    Args:
        folder: The path of the store or of the folder of agno 1.x.
        processes: The number of processes to use. Each imports the main module of the program.
        lock_timeout: Seconds to wait for each lock.
        progress: Called with the number of documents done so far and the total number.

    Raises StoreNotFound; NewerFormat if a newer localstore wrote the store; LockTimeout if another upgrade or
    conversion is running; and OSError, before any document is changed, if the disk has too little free space.
    """
    root = Path(os.path.realpath(folder))
    if store_tree.is_store(root) or not is_folder_of_agno(root):
        plan = make_plan(folder, thorough=True, lock_timeout=lock_timeout)
        if plan.is_store and not plan.paths and not plan.was_interrupted:
            return Upgraded(0, plan.problems, None)
    with pool_of(root).migration(lock_timeout):
        try:
            # Another upgrade may have done part of the work while this one waited.
            plan = make_plan(folder, thorough=True, lock_timeout=lock_timeout)
            if not plan.is_store:
                store_tree.prepare(root)
            backup = backup_folder.begin(plan.root, ACTION, made_store=not plan.is_store)
            outcome = rewrite_all(
                plan.root,
                backup,
                plan.paths,
                to_current,
                processes=processes,
                lock_timeout=lock_timeout,
                progress=progress,
            )
            if not plan.is_store and any(True for _ in store_tree.all_documents(plan.root)):
                store_tree.write_marker(root)
            name = backup.finish()
        finally:
            if not store_tree.is_store(root) and store_tree.remove_store_files(root):  # no document was upgraded
                store_tree.remove_local_files(root)
    return Upgraded(outcome.documents, [*plan.problems, *outcome.problems], name)


def to_current(old: ParsedDocument, path: str) -> tuple[str, ParsedDocument] | None:
    """Return the new path of a document and a copy in the current version, or None if `old` is current already.

    Paths are relative to the root. A file outside `sessions/` gets a path in the folder of the month in which its
    session was created; any other file keeps its path. Raises DocumentBroken if the document cannot be upgraded.
    """
    if old.version == SCHEMA_VERSION:
        return None
    new = convert_layout(old, old.layout, path)
    if path.startswith(f"{store_tree.SESSIONS}/"):
        return path, new
    return store_tree.new_path(new.header["session_id"], new.header["created_at"], os.path.splitext(path)[1]), new
