"""Sessions of Google's Agent Development Kit (ADK) in a storage of localstore."""

from localstore.integrations.adk.session_service import LocalSessionService

__all__ = ["LocalSessionService"]
