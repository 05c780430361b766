"""Conversations of Pydantic AI in a storage of localstore."""

from localstore.integrations.pydantic_ai.conversation_store import LocalConversationStore

__all__ = ["LocalConversationStore"]
