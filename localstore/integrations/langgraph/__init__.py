"""Checkpoints of LangGraph in a storage of localstore."""

from localstore.integrations.langgraph.checkpoint_saver import LocalCheckpointSaver

__all__ = ["LocalCheckpointSaver"]
