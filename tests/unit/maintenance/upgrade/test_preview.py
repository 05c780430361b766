"""A preview shows what an upgrade then writes, byte for byte."""

from pathlib import Path

import pytest

from localstore.maintenance.upgrade import Change, make_plan, preview, upgrade
from tests.unit.maintenance.upgrade.old_folders import (
    agno_bytes,
    documents_of,
    folder_of_agno,
    in_month,
    old_session,
    tree_of,
)
from tests.unit.raw import Storage


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_flat_files(tmp_path: Path, suffix: str) -> None:
    """Old and new path, old and new bytes."""
    folder_of_agno(tmp_path, ["a", "Zoë", "CON"], suffix)
    before = tree_of(tmp_path)
    changes = [change for change in preview(make_plan(tmp_path)) if isinstance(change, Change)]
    assert tree_of(tmp_path) == before
    upgrade(tmp_path)
    assert len(changes) == 3
    for change in changes:
        assert before[change.path][1] == change.old
        assert (tmp_path / change.new_path).read_bytes() == change.new


def test_documents_in_place(storage: Storage) -> None:
    """They keep their paths, whatever the folder is called."""
    for suffix in (".json", ".yaml"):
        in_month(storage, f"old{suffix}", agno_bytes(old_session(f"old{suffix}"), suffix), "mine")
    before = documents_of(storage.root)
    changes = [change for change in preview(make_plan(storage.root)) if isinstance(change, Change)]
    assert documents_of(storage.root) == before
    upgrade(storage.root)
    assert [change.path for change in changes] == ["sessions/mine/old.json", "sessions/mine/old.yaml"]
    for change in changes:
        assert change.new_path == change.path
        assert (storage.root / change.path).read_bytes() == change.new
