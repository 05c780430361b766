"""What the tests of the index share."""

from collections.abc import Callable

import pytest

from tests.unit.raw import Storage, answered


@pytest.fixture(params=[True, False], ids=["the same process", "another process"])
def later(request: pytest.FixtureRequest, storage: Storage) -> Callable[[], Storage]:
    """Return the storage that the test goes on with."""
    for name in ("a", "b", "c"):
        storage.append(name, answered(f"run-{name}"), user_id="alice")
    storage.list_sessions()
    return lambda: storage if request.param else type(storage)(storage.root)
