"""Storages for agno 1.x that keep sessions as localstore documents."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localstore.integrations.agno.storage import JsonStorage, LocalStorage, YamlStorage

__all__ = ["JsonStorage", "LocalStorage", "YamlStorage"]


def __getattr__(name: str) -> Any:
    """Import agno on first use: modules of this package that convert plain values work without it."""
    if name in __all__:
        from localstore.integrations.agno import storage

        return getattr(storage, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
