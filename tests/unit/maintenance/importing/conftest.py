"""What the tests of imports share: a store, and an import that must come out the same for every caller."""

from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import JsonStorage
from localstore.maintenance.importing import Imported, Kind
from localstore.maintenance.importing.importer import reader_of
from localstore.maintenance.importing.source import Skipped, SourceSession

Import = Callable[..., Imported]
Sessions = Callable[[Kind, Path], dict[str, SourceSession]]


@pytest.fixture
def store(tmp_path: Path) -> JsonStorage:
    """An empty store."""
    return JsonStorage(tmp_path / "store")


@pytest.fixture
def import_twice(store: JsonStorage) -> Import:
    """Import a source: first only to see what would happen, then in earnest, then again, which must change nothing."""

    def do(kind: Kind, path: Path) -> Imported:
        before = {file: file.read_bytes() for file in store.root.rglob("*") if file.is_file()}
        expected = store.import_from(kind, path, dry_run=True)
        assert {file: file.read_bytes() for file in store.root.glob("sessions/*/*")}.items() <= before.items()
        result = store.import_from(kind, path)
        assert result.as_dict() == {**expected.as_dict(), "dry_run": False}
        documents = {file: file.read_bytes() for file in store.root.glob("sessions/*/*")}
        again = store.import_from(kind, path)
        assert (again.added, again.extended, again.runs, again.skipped) == ((), (), 0, result.skipped)
        assert {file: file.read_bytes() for file in store.root.glob("sessions/*/*")} == documents
        for info in store.list_sessions():
            assert info.problem is None
            assert store.read(info.session_id) is not None
        return result

    return do


def sessions_of(kind: Kind, path: Path) -> dict[str, SourceSession]:
    """Return the sessions of a source by their ids; nothing of it may be skipped."""
    items = list(reader_of(kind)(path))
    assert not [item for item in items if isinstance(item, Skipped)]
    return {item.header["session_id"]: item for item in items if isinstance(item, SourceSession)}
