"""Runs each test of the contract with each storage."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localstore import SessionStorage
from tests.contract.storages import SERVERS, STORAGES

Open = Callable[[], SessionStorage]


@pytest.fixture(params=[pytest.param(name, marks=SERVERS.get(name, ())) for name in STORAGES])
def open_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens the storage of this test: each call gives another handle on the same sessions."""
    handles: list[SessionStorage] = []

    def open_one() -> SessionStorage:
        handles.append(STORAGES[request.param](tmp_path))
        return handles[-1]

    yield open_one
    for handle in handles:
        handle.close()


@pytest.fixture
def storage(open_storage: Open) -> SessionStorage:
    return open_storage()
