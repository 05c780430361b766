"""A database for agno 2.x and 3.x that keeps sessions as localstore documents."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localstore.integrations.agno_db.local_db import LocalDb

__all__ = ["LocalDb"]


def __getattr__(name: str) -> Any:
    """Import agno on first use: other modules of this package work without it."""
    if name == "LocalDb":
        from localstore.integrations.agno_db.local_db import LocalDb

        return LocalDb
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
