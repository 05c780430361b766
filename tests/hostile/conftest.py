"""What the tests of hostile trees share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def private_folder() -> Iterator[Path]:
    """A folder of this test alone, for tests that send another user there.

    The folders of pytest stand in one that all its runs share, and each run that starts closes that one to other
    users, also to those that another run has sent there.
    """
    folder = Path(tempfile.mkdtemp(prefix="localstore-hostile-")).resolve()
    yield folder
    shutil.rmtree(folder)
