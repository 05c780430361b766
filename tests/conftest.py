"""What all tests share: the level of effort (see `tests/effort.py`) and repeatable random choices."""

import pytest
from hypothesis import settings

from tests.effort import IS_DEFAULT, IS_LONG, LEVEL

settings.register_profile("localstore", deadline=None, derandomize=not IS_LONG)
settings.load_profile("localstore")


def pytest_report_header() -> str:
    return f"level of effort: {LEVEL} (set LOCALSTORE_TESTS to default, ci or long)"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for the higher levels, and say how much that is."""
    if not IS_DEFAULT:
        return
    left_out = [item for item in items if item.get_closest_marker("ci_only")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("ci_only")]
