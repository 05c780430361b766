"""A store that is committed to a repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from localstore import JsonStorage, YamlStorage
from tests.effort import sampled
from tests.unit.raw import Storage, answered

from .repository import put_under_git


@pytest.fixture(params=sampled((JsonStorage, YamlStorage), 2))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A store with two sessions in a repository that is set up."""
    made: Storage = request.param(tmp_path / "mine")
    made.append("trip", answered("r1"))
    made.append("other", answered("r1"))
    put_under_git(made)
    return made
