"""Upgrade a store, or turn a folder of agno 1.x into one."""

import contextlib
import errno
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from localstore.disk import backup_folder, filesystem, store_tree
from localstore.disk.backup_folder import Backup
from localstore.disk.locks import pool_of
from localstore.format.document import ParsedDocument, convert_layout
from localstore.maintenance.upgrade.plan import ACTION, is_folder_of_agno, make_plan
from localstore.maintenance.upgrade.results import Upgraded
from localstore.maintenance.upgrade.rewriting import Outcome, Rewriter, Transform
from localstore.models.schema import SCHEMA_VERSION

Progress = Callable[[int, int], None]
"""Is told how many documents were looked at, and how many there are."""

_BATCH, _BATCH_BYTES = 64, 8 << 20
"""So many documents, or bytes, are rewritten between two looks at the clock."""
_WORTH_A_PROCESS, _WORTH_BYTES = 256, 32 << 20
"""With fewer documents and bytes than these, other processes take longer to start than they save."""
_MARGIN = 16 << 20
"""Bytes that are left free on the disk."""


def upgrade(
    folder: Path | str, *, processes: int = 1, lock_timeout: float = 10.0, progress: Progress | None = None
) -> Upgraded:
    """Bring every document of a store, or of a folder of agno 1.x, up to the current schema version.

    One document at a time, atomically, under its lock; others may work on the store meanwhile. The old selves are kept
    in a backup first. A document that cannot be upgraded stays as it is, is named in the result, and stops no other.
    Interrupted at any point and called again, the result is the same as in one go. With `processes` above 1 the work
    is shared by so many processes; the main module of the program is imported by each.

    Raises StoreNotFound, NewerFormat, LockTimeout when another upgrade or conversion is at work, and OSError when
    there is too little room, before anything is written.
    """
    root = Path(os.path.realpath(folder))
    if store_tree.is_store(root) or not is_folder_of_agno(root):
        plan = make_plan(folder, thorough=True, lock_timeout=lock_timeout)
        if plan.is_store and not plan.paths and not plan.goes_on:
            return Upgraded(0, plan.problems, None)
    with pool_of(root).migration(lock_timeout):
        try:
            # Others may have done some of it while we waited.
            plan = make_plan(folder, thorough=True, lock_timeout=lock_timeout)
            if not plan.is_store:
                store_tree.prepare(root)
            backup = backup_folder.begin(plan.root, ACTION, made_store=not plan.is_store)
            outcome = rewrite_all(plan.root, backup, plan.paths, to_current, processes, lock_timeout, progress)
            if not plan.is_store and any(True for _ in store_tree.all_documents(plan.root)):
                store_tree.mark(root)
            name = backup.finish()
        finally:
            if not store_tree.is_store(root) and store_tree.unmark(root):  # nothing came of it
                store_tree.clear(root)
    return Upgraded(outcome.documents, [*plan.problems, *outcome.problems], name)


def to_current(old: ParsedDocument, path: str) -> tuple[str, ParsedDocument] | None:
    """The document at the current version, and where it goes: flat files go to the month of their creation."""
    if old.version == SCHEMA_VERSION:
        return None
    new = convert_layout(old, old.layout, path)
    if path.startswith(f"{store_tree.SESSIONS}/"):
        return path, new
    return store_tree.new_path(new.header["session_id"], new.header["created_at"], os.path.splitext(path)[1]), new


def rewrite_all(
    root: str,
    backup: Backup,
    paths: Sequence[str],
    transform: Transform,
    processes: int,
    lock_timeout: float,
    progress: Progress | None,
) -> Outcome:
    """Rewrite these documents, their old selves kept in the backup, which the caller finishes.

    The caller holds the lock of migrations.
    """
    sizes = {path: _size(root, path) for path in paths}
    total = Outcome()
    try:
        _refuse_small_room(root, backup, sizes)
        batches = list(_batches(paths, sizes))
        if processes < 2 or (len(paths) < _WORTH_A_PROCESS and sum(sizes.values()) < _WORTH_BYTES):
            rewriter = Rewriter(root, backup, transform, lock_timeout)
            done: Iterator[tuple[int, Outcome]] = ((len(batch), rewriter.rewrite(batch)) for batch in batches)
        else:
            done = _by_processes(root, backup.name, batches, transform, processes, lock_timeout)
        looked_at = 0
        for count, outcome in done:
            total.documents += outcome.documents
            total.problems += outcome.problems
            looked_at += count
            if progress is not None:
                progress(looked_at, len(paths))
    except BaseException:
        if not backup.has_documents():
            backup.remove()
        raise
    return total


def _size(root: str, path: str) -> int:
    status = filesystem.status_if_there(store_tree.full_path(root, path))
    return 0 if status is None else status.st_size


def _batches(paths: Sequence[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for path in paths:
        if batch and (len(batch) == _BATCH or size + sizes[path] > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += sizes[path]
    if batch:
        yield batch


def _refuse_small_room(root: str, backup: Backup, sizes: dict[str, int]) -> None:
    """Raise OSError unless the new documents fit on the disk, and the copies of the old ones where there are no links.

    A new document is taken to be as large as its old one; none of the upgrades makes more of it.
    """
    size = sum(sizes.values())
    if not size:
        return
    needed = size + _MARGIN if _has_links(backup) else 2 * size + _MARGIN
    free = filesystem.system.free_space(root)
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"Too little room: {_megabytes(needed)} are needed, and {_megabytes(free)} are free. Nothing was changed",
            root,
        )


def _has_links(backup: Backup) -> bool:
    probe = f"{backup.folder}/.probe"
    try:
        filesystem.system.link(f"{backup.folder}/backup.json", probe)
    except OSError as error:
        if error.errno in filesystem.NO_LINKS:
            return False
        if not isinstance(error, FileExistsError):
            raise
    filesystem.system.unlink(probe)
    return True


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.0f} MB"


# In several processes

_rewriter: Rewriter
"""The one of this process, when it is one of those that share the work."""


def _by_processes(
    root: str, backup: str, batches: Sequence[list[str]], transform: Transform, processes: int, timeout: float
) -> Iterator[tuple[int, Outcome]]:
    """The outcome of each batch, as they come. Stopped, what was begun is finished first."""
    pool = ProcessPoolExecutor(
        min(processes, len(batches)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(root, backup, transform, timeout),
    )
    try:
        waiting = iter(batches)
        # Not all at once: a failure or Ctrl-C is to stop soon.
        with _deaf_to_ctrl_c():
            running = {
                pool.submit(_work, batch): len(batch) for _, batch in zip(range(2 * processes), waiting, strict=False)
            }
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                count = running.pop(future)
                yield count, future.result()
                batch = next(waiting, None)
                if batch is not None:
                    running[pool.submit(_work, batch)] = len(batch)
    except BrokenProcessPool:
        stopped = "A process that shared the work was stopped from outside. Run the same again, it goes on from here"
        raise OSError(errno.ECHILD, stopped, root) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started inside do not hear Ctrl-C, not even while they load; this one hears it afterwards."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(root: str, backup: str, transform: Transform, timeout: float) -> None:
    global _rewriter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that began it decides
    _rewriter = Rewriter(root, Backup(root, backup), transform, timeout)


def _work(batch: list[str]) -> Outcome:
    return _rewriter.rewrite(batch)
