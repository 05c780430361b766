"""Temporary files: which names are theirs, and which of them are removed."""

import os
from pathlib import Path

from localstore.disk import temporary_files


def test_only_names_of_temporary_files_give_their_final_name() -> None:
    assert temporary_files.final_name(".s1.json.0123456789ab.tmp") == "s1.json"
    for name in ("s1.json", ".s1.json.tmp", ".editor.tmp", ".s1.json.0123456789AB.tmp", "s1.json.0123456789ab.tmp"):
        assert temporary_files.final_name(name) is None


def test_only_temporary_files_for_the_given_names_are_removed(tmp_path: Path) -> None:
    for name in (".a.0123456789ab.tmp", ".b.0123456789ab.tmp", ".editor.tmp"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".c.0123456789ab.tmp").mkdir()
    temporary_files.remove(str(tmp_path), ["a"])
    assert sorted(os.listdir(tmp_path)) == [".b.0123456789ab.tmp", ".c.0123456789ab.tmp", ".editor.tmp"]
    temporary_files.remove(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == [".c.0123456789ab.tmp", ".editor.tmp"]
