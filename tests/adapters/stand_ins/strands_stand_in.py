"""A pytest plugin for the tests of Strands Agents: our repository and storage take the places of its own."""

import tempfile
from importlib import import_module
from typing import Any

import strands.session.file_session_manager
import strands.storage
import strands.storage.local_file_storage
from strands.session.repository_session_manager import RepositorySessionManager

from localstore import JsonStorage
from localstore.integrations.strands import LocalSessionRepository, LocalStorage


def storage(folder: str | None = None) -> JsonStorage:
    return JsonStorage(folder or tempfile.mkdtemp(), durability="relaxed")


class MockedSessionRepository(LocalSessionRepository):
    """Our repository with the arguments of the one in the framework's tests."""

    def __init__(self) -> None:
        super().__init__(storage())


class FileSessionManager(RepositorySessionManager, LocalSessionRepository):  # type: ignore[misc] # Strands may be absent
    """Our repository with the arguments of `FileSessionManager`."""

    def __init__(self, session_id: str, storage_dir: str | None = None, **options: Any) -> None:
        LocalSessionRepository.__init__(self, storage(storage_dir))
        RepositorySessionManager.__init__(self, session_id=session_id, session_repository=self)


class LocalFileStorage(LocalStorage):
    """Our storage with the arguments of `LocalFileStorage`."""

    def __init__(self, base_dir: str | None = None, **options: Any) -> None:
        super().__init__(storage(base_dir))


fixtures: Any = import_module("tests.fixtures.mock_session_repository")  # of the framework's sources
fixtures.MockedSessionRepository = MockedSessionRepository
strands.session.file_session_manager.FileSessionManager = FileSessionManager
strands.storage.LocalFileStorage = LocalFileStorage
strands.storage.local_file_storage.LocalFileStorage = LocalFileStorage
