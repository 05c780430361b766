"""Stores of earlier releases have their manifest at the top."""

import json
from pathlib import Path

from localstore import JsonStorage
from tests.unit.raw import answered, manifest_lines, question

_FORMER = {
    "other_layout": "foreign",
    "unfinished_offsets": "waiting",
    "boot_hash": "era",
    "coarse_mtime": "unsettled",
}


def former_store(root: Path) -> list[dict[str, object]]:
    """Make a store as an earlier release left it, and return the lines that its manifest is to have."""
    storage = JsonStorage(root)
    storage.append("s1", answered("r1"))
    storage.append("s2", question("r1", status="unfinished"))
    lines = [line for line in manifest_lines(storage)[1:] if "session_id" in line]
    storage.close()
    former = [{_FORMER.get(key, key): value for key, value in line.items()} for line in lines]
    first = {"localstore": "manifest", "format": 1, "generation": "0123456789abcdef", "follows": "x", "lines": 7}
    (root / ".localstore" / "manifest.jsonl").unlink()
    (root / "manifest.jsonl").write_text(
        "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in [first, *former]) + "garbage\n"
    )
    return lines


def test_the_manifest_of_an_earlier_release_is_taken_over(tmp_path: Path) -> None:
    lines = former_store(tmp_path / "store")
    storage = JsonStorage(tmp_path / "store")
    assert not (storage.root / "manifest.jsonl").exists()
    assert manifest_lines(storage)[1:] == lines
    assert [info.session_id for info in storage.list_sessions()] == ["s2", "s1"]
    assert manifest_lines(storage)[1:] == lines, "no document was read again"


def test_an_old_manifest_beside_a_new_one_is_removed(tmp_path: Path) -> None:
    """A process of an earlier release may still have made one."""
    storage = JsonStorage(tmp_path)
    storage.append("s1", answered("r1"))
    before = manifest_lines(storage)
    (tmp_path / "manifest.jsonl").write_text('{"localstore":"manifest","format":1,"generation":"x"}\n')
    assert manifest_lines(JsonStorage(tmp_path)) == before
    assert not (tmp_path / "manifest.jsonl").exists()


def test_a_file_of_another_program_stays(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"mine": 1}\n')
    storage.append("s1", answered("r1"))
    assert [info.session_id for info in JsonStorage(tmp_path).list_sessions()] == ["s1"]
    assert (tmp_path / "manifest.jsonl").read_text() == '{"mine": 1}\n'
