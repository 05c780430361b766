"""A pytest plugin for the tests of the OpenAI Agents SDK: `LocalSession` takes the place of `SQLiteSession`."""

import tempfile
from pathlib import Path
from typing import Any

import agents
import agents.memory
import agents.memory.sqlite_session
from agents.memory.session_settings import SessionSettings, coerce_session_settings

from localstore import JsonStorage
from localstore.integrations.openai_agents import LocalSession


class SQLiteSession(LocalSession):
    """`LocalSession` with the arguments of the SDK's `SQLiteSession`."""

    def __init__(
        self, session_id: str, db_path: str | Path = ":memory:", *tables: str, session_settings: Any = None
    ) -> None:
        path = tempfile.mkdtemp() if str(db_path) == ":memory:" else f"{db_path}.store"
        settings = SessionSettings() if session_settings is None else coerce_session_settings(session_settings)
        super().__init__(session_id, JsonStorage(path, durability="relaxed"), session_settings=settings)

    def close(self) -> None:
        self.storage.close()


for module in (agents, agents.memory, agents.memory.sqlite_session):
    module.SQLiteSession = SQLiteSession
