"""Sessions of the OpenAI Agents SDK in a storage of localstore."""

from localstore.integrations.openai_agents.local_session import LocalSession

__all__ = ["LocalSession"]
