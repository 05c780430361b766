"""Upgrade a store, or turn a folder of agno 1.x into one."""

import os
from pathlib import Path

from localstore.disk import backup_folder, store_tree
from localstore.disk.locks import pool_of
from localstore.format.document import ParsedDocument, convert_layout
from localstore.maintenance.upgrade.batches import Progress, rewrite_all
from localstore.maintenance.upgrade.plan import ACTION, is_folder_of_agno, make_plan
from localstore.maintenance.upgrade.results import Upgraded
from localstore.models.schema import SCHEMA_VERSION


def upgrade(
    folder: Path | str, *, processes: int = 1, lock_timeout: float = 10.0, progress: Progress | None = None
) -> Upgraded:
    """Bring every document of a store, or of a folder of agno 1.x, up to the current schema version.

    Documents are upgraded one at a time, atomically, each under its lock; others may work on the store meanwhile. The
    old documents are kept in a backup first. A document that cannot be upgraded stays as it is, is named in the result,
    and does not stop the others. Interrupted at any point and called again, it gives the same result as in one go.

    >>> from localstore import JsonStorage
    >>> upgrade(JsonStorage("my-sessions").root).documents
    0

    Args:
        folder: The path of the store or of the folder of agno 1.x.
        processes: How many processes share the work. Each imports the main module of the program.
        lock_timeout: Seconds to wait for a lock.
        progress: Called with the number of documents done so far and the number of all documents.

    Raises StoreNotFound, NewerFormat, LockTimeout when another upgrade or conversion is at work, and OSError when
    there is too little room, before anything is written.
    """
    root = Path(os.path.realpath(folder))
    if store_tree.is_store(root) or not is_folder_of_agno(root):
        plan = make_plan(folder, thorough=True, lock_timeout=lock_timeout)
        if plan.is_store and not plan.paths and not plan.was_interrupted:
            return Upgraded(0, plan.problems, None)
    with pool_of(root).migration(lock_timeout):
        try:
            # Another upgrade may have done some of it while we waited.
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
            if not store_tree.is_store(root) and store_tree.remove_marker(root):  # no document was upgraded
                store_tree.remove_local_files(root)
    return Upgraded(outcome.documents, [*plan.problems, *outcome.problems], name)


def to_current(old: ParsedDocument, path: str) -> tuple[str, ParsedDocument] | None:
    """Return the path and content of a document at the current version, or None if it is current already.

    A flat file moves to the folder of the month in which its session was created.
    """
    if old.version == SCHEMA_VERSION:
        return None
    new = convert_layout(old, old.layout, path)
    if path.startswith(f"{store_tree.SESSIONS}/"):
        return path, new
    return store_tree.new_path(new.header["session_id"], new.header["created_at"], os.path.splitext(path)[1]), new
