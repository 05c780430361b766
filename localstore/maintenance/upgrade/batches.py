"""Rewrite many documents, in batches, in this process or in several."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from localstore.disk import filesystem, store_tree
from localstore.disk.backup_folder import Backup
from localstore.maintenance.processes import shared
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
        if len(paths) < _WORTH_A_PROCESS and sum(sizes.values()) < _WORTH_BYTES:
            processes = 1
        arguments = (root, backup.name, transform, lock_timeout)
        rewrite = _rewriter(*arguments)
        outcomes = shared(
            batches,
            lambda numbered: ((number, rewrite(batch)) for number, batch in numbered),
            _rewriter,
            arguments,
            min(processes, len(batches)),
            root,
        )
        done = 0
        with closing(outcomes):
            for number, outcome in outcomes:
                total.add(outcome)
                done += len(batches[number])
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


def _rewriter(root: str, backup: str, transform: Transform, timeout: float) -> Callable[[list[str]], Outcome]:
    """Return what rewrites a batch."""
    return Rewriter(root, Backup(root, backup), transform, timeout).rewrite
