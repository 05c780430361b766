"""Machine-local files stay out of folders that Syncthing synchronises."""

from pathlib import Path

import pytest

from localstore import JsonStorage
from localstore.disk.ignore_files import lacking_rule


def test_a_store_in_a_folder_of_syncthing_keeps_its_machine_local_files_out(tmp_path: Path) -> None:
    root = JsonStorage(tmp_path / "store").root
    assert not (root / ".stignore").exists()
    (root / ".stfolder").mkdir()
    assert lacking_rule(str(root)) == f"{root}/.stignore"
    JsonStorage(root)
    rules = (root / ".stignore").read_text()
    assert "/.localstore" in rules.splitlines()
    assert lacking_rule(str(root)) is None


@pytest.mark.parametrize("rules", ["", "node_modules\n"])
def test_rules_that_are_there_are_never_changed(rules: str, tmp_path: Path) -> None:
    (tmp_path / ".stfolder").mkdir()
    (tmp_path / ".stignore").write_text(rules)
    root = JsonStorage(tmp_path).root
    assert (root / ".stignore").read_text() == rules
    assert lacking_rule(str(root)) == f"{root}/.stignore"


def test_a_store_below_a_folder_of_syncthing_names_the_rules_of_that_folder(tmp_path: Path) -> None:
    (tmp_path / ".stfolder").mkdir()
    root = JsonStorage(tmp_path / "projects" / "store").root
    assert not (root / ".stignore").exists()
    assert lacking_rule(str(root)) == f"{tmp_path}/.stignore"
    (tmp_path / ".stignore").write_text("(?d).localstore\n")
    assert lacking_rule(str(root)) is None


def test_a_store_that_syncthing_does_not_have_lacks_nothing(tmp_path: Path) -> None:
    assert lacking_rule(str(JsonStorage(tmp_path / "store").root)) is None
