"""Checkpoints of LangGraph in a storage of localstore."""

from localstore.integrations.langgraph.checkpoint_saver import LocalCheckpointSaver
from localstore.integrations.langgraph.importing import import_from
from localstore.integrations.langgraph.replay import replay

__all__ = ["LocalCheckpointSaver", "import_from", "replay"]
