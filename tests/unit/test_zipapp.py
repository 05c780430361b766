"""The package inside an archive, as a zipapp or a frozen application has it: nothing of it is a file on the disk."""

import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAM = """
import sys
import localstore
from localstore import JsonStorage, Message, Run, YamlStorage
from localstore_cli.app import main

archive, folder = sys.argv
assert localstore.__file__.startswith(archive), localstore.__file__
for name, storage_class in (("json", JsonStorage), ("yaml", YamlStorage)):
    storage = storage_class(f"{folder}/{name}")
    storage.append("s1", Run(run_id="r1", messages=[Message(role="user", content="hello")]))
    assert storage.read("s1").runs[0].question == "hello"
    assert [info.session_id for info in storage.list_sessions()] == ["s1"]
    assert (storage.root / "schemas" / "session-1.schema.json").stat().st_size > 1000
sys.argv = ["localstore", "--store", f"{folder}/yaml", "ls"]
main()
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zipapp of the library and the command line; what they depend on comes from this environment."""
    path = tmp_path_factory.mktemp("zipapp") / "app.pyz"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("__main__.py", PROGRAM)
        for package in ("localstore", "localstore_cli"):
            top = _folder_of(package)
            for file in sorted(top.rglob("*")):
                if file.suffix in (".py", ".json"):
                    zipped.write(file, Path(package, file.relative_to(top)))
    return path


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def test_a_store_is_made_written_and_listed_from_a_zipapp(archive: Path, tmp_path: Path) -> None:
    """Regression: the first store that a zipapp or a frozen application made failed with NotADirectoryError, because
    the schema was read by its path. No session could be stored."""
    done = subprocess.run(
        [sys.executable, str(archive), str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "s1" in done.stdout
