"""Which folders other machines may use."""

import sys
from pathlib import Path

import pytest

from localstore import JsonStorage
from localstore.disk import network_folder
from tests.unit.raw import answered

_MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:31 / /home rw - nfs4 server:/home rw,vers=4.2
31 30 0:32 / /home/me/local rw - ext4 /dev/vdb rw
32 22 0:33 / /mnt/my\040disk rw - cifs //server/share rw
33 22 0:34 / /over rw - ext4 /dev/vdc rw
34 33 0:35 / /over rw - fuse.sshfs me@server: rw
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(_MOUNTS)
    monkeypatch.setattr(network_folder, "_MOUNTS", str(path))
    return path


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(
    ("folder", "file_system"),
    [
        ("/", "ext4"),
        ("/homeless", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/store", "nfs4"),
        ("/home/me/local/store", "ext4"),
        ("/mnt/my disk/store", "cifs"),
        ("/over/store", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_newest_mount_counts(folder: str, file_system: str) -> None:
    assert network_folder.file_system_of(folder) == file_system


def test_without_the_list_of_mounts_nothing_is_known(mounts: Path) -> None:
    mounts.write_text("garbage\n")
    assert network_folder.file_system_of("/home") == ""
    mounts.unlink()
    assert network_folder.file_system_of("/home") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the types of file systems")
def test_on_a_network_folder_no_index_is_written(tmp_path: Path, mounts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines would have damaged a database that each of them believed to be alone with."""
    mounts.write_text(f"22 1 0:31 / {tmp_path} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr("localstore.index.manifest_reader._SHORT", 0)
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", answered("r1", "a question"))
    assert [info.session_id for info in storage.list_sessions()] == ["s1"]
    assert [hit.session_id for hit in storage.search("question")] == ["s1"]
    assert not list((storage.root / ".localstore").glob("*.sqlite*"))
