"""The small files beside the sessions keep what a person typed into them."""

from pathlib import Path

import pytest

from localstore import DocumentBroken, JsonStorage
from localstore.engine.engine import Engine
from localstore.integrations.agno_db.side_files import SideFiles


def test_a_number_that_a_person_typed_is_not_rounded(tmp_path: Path) -> None:
    """The next memory of the user rounded the number in the file: its last digits were lost."""
    root = JsonStorage(tmp_path / "store").root
    files = SideFiles(Engine(root, durable=True, timeout=1))
    files.change("alice", lambda _: [{"memory_id": "1", "memory": "likes pi", "weight": 5.125}])
    path = root / "memories" / "alice.json"
    path.write_text(path.read_text().replace("5.125", "3.14159265358979323846"))
    before = path.read_bytes()
    with pytest.raises(DocumentBroken, match=r"line 8, column 17: 3\.14159265358979323846 .* rounded"):
        files.change("alice", lambda memories: [*memories, {"memory_id": "2", "memory": "likes e"}])
    assert path.read_bytes() == before
    assert files.memories("alice")[0]["weight"] == 3.141592653589793
