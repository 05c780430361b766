"""What all parts of the public class `Storage` share: opening, closing, and who may see a session.

The class is made of a chain of classes, one for each group of calls, of which each may use those before it:
StorageBase, StorageListing, StorageReading, StorageWriting, StorageDocuments, StorageHousekeeping, Storage. What only
combines calls stands in DerivedCalls, for the storages in databases too.
"""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from localstore.disk import ignore_files, store_tree
from localstore.engine.engine import Engine
from localstore.engine.transaction import Transaction
from localstore.errors import OlderFormat
from localstore.index.row import IndexRow, activity, latest_plausible_time
from localstore.models.nearest import shown
from localstore.models.session_info import SessionInfo, session_info
from localstore.storage.access import check_access
from localstore.storage.arguments import check_flag, check_lock_timeout, not_found

if TYPE_CHECKING:
    from localstore.models.progress import Progress
    from localstore.storage.search import Search


class StorageBase:
    """Opens a store in a folder, and closes it."""

    _suffix: str
    """The ending of the names of new documents."""

    def __init__(
        self,
        dir_path: str | os.PathLike[str],
        *,
        durability: Literal["full", "relaxed"] = "full",
        lock_timeout: float = 10.0,
        create: bool = True,
        auto_upgrade_schema: bool = False,
        progress: "Progress | None" = None,
    ) -> None:
        """Open the store in a folder.

        Args:
            dir_path: The folder. It is created if it does not exist.
            durability: "full" if writes must survive a crash of the machine, "relaxed" if a crash of the process alone.
            lock_timeout: Seconds to wait for another thread or process that writes to the same session.
            create: If False, a missing store raises StoreNotFound instead of being created.
            auto_upgrade_schema: If True, the first write to a document in an older schema version upgrades it, and a
                folder of agno 1.x is converted to a store immediately. The old documents are kept (see `localstore
                backups`), and a warning names each document that could not be upgraded. If False, older documents can
                be read, and a write to one raises OlderFormat.
            progress: Called while documents are read to make an index, or to count by day, with the number done so far
                and the total: after each document. An exception that it raises ends the call. It must not use the
                storage. None reports nothing.

        Raises StoreNotFound; NewerFormat if a newer localstore wrote the store; OlderFormat if the folder is one of
        agno 1.x and `auto_upgrade_schema` is False; ValueError for an invalid argument; OSError.
        """
        if durability not in ("full", "relaxed"):
            raise ValueError(f'durability must be "full" or "relaxed", not {shown(durability)}')
        check_lock_timeout(lock_timeout)
        if progress is not None and not callable(progress):
            raise ValueError(f"progress must be a function of two numbers, not {shown(progress)}")
        check_flag("create", create)
        check_flag("auto_upgrade_schema", auto_upgrade_schema)
        if not os.fspath(dir_path):
            raise ValueError("dir_path is empty. Name a folder; '.' is the working directory.")
        if str(dir_path).startswith("~"):
            raise ValueError(f"dir_path {str(dir_path)!r} is not expanded. Use pathlib.Path(...).expanduser().")
        try:
            self.root = store_tree.open_store(Path(dir_path), create=create)
        except OlderFormat:
            if not auto_upgrade_schema:
                raise
            self._convert(Path(dir_path), float(lock_timeout))
            self.root = store_tree.open_store(Path(dir_path), create=create)
        self._engine = Engine(
            self.root,
            durable=durability == "full",
            timeout=float(lock_timeout),
            upgrades=auto_upgrade_schema,
            suffix=self._suffix,
            progress=progress,
        )
        ignore_files.restore(self.root)
        self._search: Search | None = None
        self._engine.repair_marked()

    @staticmethod
    def _convert(folder: Path, lock_timeout: float) -> None:
        from localstore.maintenance.upgrade import upgrade

        for problem in upgrade(folder, lock_timeout=lock_timeout).problems:
            warnings.warn(f"Not upgraded: {problem}", stacklevel=3)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files that the storage keeps open: those of the locks, of the manifest and of the search index.

            >>> with storage:
            ...     storage.path("trip").name
            'trip.json'

        Nothing is written. The storage can still be used: the next call opens the files again. Files that another
        thread is using stay open. On Windows, a folder can only be deleted when its files are closed.
        """
        self._engine.close()
        if self._search is not None:
            self._search.close()

    def _infos(self, rows: Iterable[IndexRow]) -> list[SessionInfo]:
        root, latest = self._engine.root, latest_plausible_time()
        return [session_info(row, store_tree.full_path(root, row["path"]), activity(row, latest)) for row in rows]

    def _allowed(self, document: Transaction | None, session_id: str, user_id: str | None) -> Transaction:
        """Return `document`, for a writer that may be limited to the sessions of one user.

        Raises SessionNotFound if `document` is None, and OwnerMismatch if `user_id` is given and is not its owner.
        """
        if document is None:
            raise not_found(session_id)
        self._check_access(document.row, user_id, None)
        return document

    def _check_access(self, row: IndexRow, user_id: str | None, kind: str | None) -> None:
        """Raise OwnerMismatch or KindMismatch if the session has another owner or kind. None matches any."""
        check_access(row, user_id, kind, store_tree.full_path(self._engine.root, row["path"]))
