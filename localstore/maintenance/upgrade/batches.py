"""Rewrite many documents, in batches, in this process or in several."""

import contextlib
import errno
import itertools
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from localstore.disk import filesystem, store_tree
from localstore.disk.backup_folder import Backup
from localstore.maintenance.upgrade.rewriting import Outcome, Rewriter, Transform, check_free_space
from localstore.models.progress import Progress

_BATCH, _BATCH_BYTES = 64, 8 << 20
"""The largest number of documents and of bytes in a batch; a single larger document is a batch by itself."""
_WORTH_A_PROCESS, _WORTH_BYTES = 256, 32 << 20
"""With fewer documents and fewer bytes than these, starting other processes takes more time than they save."""


def rewrite_all(
    root: str,
    backup: Backup,
    paths: Sequence[str],
    transform: Transform,
    *,
    processes: int,
    lock_timeout: float,
    progress: Progress | None,
) -> Outcome:
    """Rewrite the documents at these paths with `transform`, keep the old ones in `backup`, and return the outcome.

    Call it with the migration lock held, and finish the backup afterwards. A backup that is still empty is removed if
    the call fails. Raises OSError, before any document is changed, if the disk has too little free space.
    """
    sizes = {path: _size(root, path) for path in paths}
    total = Outcome()
    try:
        _check_free_space(root, backup, sum(sizes.values()))
        batches = list(_batches(paths, sizes))
        if processes < 2 or (len(paths) < _WORTH_A_PROCESS and sum(sizes.values()) < _WORTH_BYTES):
            rewriter = Rewriter(root, backup, transform, lock_timeout)
            outcomes: Iterator[tuple[int, Outcome]] = ((len(batch), rewriter.rewrite(batch)) for batch in batches)
        else:
            outcomes = _in_processes(root, backup.name, batches, transform, processes, lock_timeout)
        done = 0
        for count, outcome in outcomes:
            total.add(outcome)
            done += count
            if progress is not None:
                progress(done, len(paths))
    except BaseException:
        if not backup.has_documents():
            backup.remove()
        raise
    return total


def _size(root: str, path: str) -> int:
    status = filesystem.status_or_none(store_tree.full_path(root, path))
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


def _check_free_space(root: str, backup: Backup, size: int) -> None:
    """Raise OSError unless the new documents fit on the disk, and copies of the old ones too if it has no hard links.

    `size` is the total size of the old documents in bytes. A new document is assumed to be as large as the old one; one
    that is larger, because the old one has aliases, is checked before it is written.
    """
    if not size:
        return
    check_free_space(root, size if _has_hard_links(backup) else 2 * size)


def _has_hard_links(backup: Backup) -> bool:
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


# In several processes

_rewriter: Rewriter
"""The rewriter of this process. It exists only in worker processes."""


def _in_processes(
    root: str, backup: str, batches: Sequence[list[str]], transform: Transform, processes: int, timeout: float
) -> Iterator[tuple[int, Outcome]]:
    """Rewrite batches in worker processes. Yield the number of documents and the outcome of each as it is finished.

    If the iteration is stopped, the batches at work are finished. Raises OSError if a worker process is killed.
    """
    pool = ProcessPoolExecutor(
        min(processes, len(batches)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(root, backup, transform, timeout),
    )
    try:
        waiting = iter(batches)
        # Submit only a few batches ahead, so that the work stops soon after a failure or Ctrl-C.
        with _ctrl_c_blocked():
            running = {pool.submit(_rewrite, batch): len(batch) for batch in itertools.islice(waiting, 2 * processes)}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                count = running.pop(future)
                yield count, future.result()
                batch = next(waiting, None)
                if batch is not None:
                    running[pool.submit(_rewrite, batch)] = len(batch)
    except BrokenProcessPool:
        stopped = "A worker process was stopped from outside. Run the same command again; it continues from here"
        raise OSError(errno.ECHILD, stopped, root) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Block Ctrl-C in the context.

    Processes that are started in the context never receive it, even while they load. This process receives it
    afterwards. On Windows, the context does nothing.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(root: str, backup: str, transform: Transform, timeout: float) -> None:
    global _rewriter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides
    _rewriter = Rewriter(root, Backup(root, backup), transform, timeout)


def _rewrite(batch: list[str]) -> Outcome:
    return _rewriter.rewrite(batch)
