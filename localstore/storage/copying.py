"""Copy the sessions of any storage to any other one: what `copy_to` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localstore.maintenance.copying import Copied, Copyable, Side, copy
from localstore.storage.arguments import check_filter, check_flag

if TYPE_CHECKING:
    from localstore.models.filter import Filter
    from localstore.models.progress import Progress


def copy_to(source: Side, other: Copyable, where: Filter | None, *, dry_run: bool, progress: Progress | None) -> Copied:
    """Copy sessions to another storage; see `Storage.copy_to`. Raises TypeError and ValueError."""
    check_flag("dry_run", dry_run)
    if not hasattr(other, "_copy_side"):
        raise TypeError(f"other must be a storage, not {type(other).__name__}")
    return copy(source, other._copy_side(), check_filter(where), dry_run=dry_run, progress=progress)
