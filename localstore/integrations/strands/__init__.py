"""Sessions and snapshots of Strands Agents in a storage of localstore."""

from typing import TYPE_CHECKING, Any

from localstore.integrations.strands.session_repository import LocalSessionRepository

if TYPE_CHECKING:
    from localstore.integrations.strands.key_storage import LocalStorage

__all__ = ["LocalSessionRepository", "LocalStorage"]


def __getattr__(name: str) -> Any:
    """Import `LocalStorage` on first use: older releases of Strands have no storages."""
    if name == "LocalStorage":
        from localstore.integrations.strands.key_storage import LocalStorage

        return LocalStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
