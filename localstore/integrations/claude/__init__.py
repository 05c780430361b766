"""Sessions of the Claude Agent SDK in a storage of localstore."""

from localstore.integrations.claude.session_store import LocalSessionStore

__all__ = ["LocalSessionStore"]
