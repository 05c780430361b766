"""Backups: how they are created, listed, continued and removed."""

import errno
import json
import os
from pathlib import Path

import pytest

from localstore.disk import backup_folder, durable_files, filesystem
from localstore.disk.backup_folder import Backup
from localstore.errors import BackupNotFound


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A folder with two documents, of different modes."""
    for name, mode in (("a.json", 0o644), ("sessions/2026-11/b.yaml", 0o600)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(mode)
    return str(tmp_path)


def kept(root: str, *paths: str, action: str = "upgrade", finished: bool = False) -> Backup:
    backup = backup_folder.make(root, action, finished=finished)
    for path in paths:
        backup.keep(path)
    backup.sync()
    return backup


def test_what_is_kept_is_the_old_file_whatever_takes_its_place(root: str) -> None:
    """The backup has a hard link to the document, which costs no space, at the same path."""
    backup = kept(root, "a.json", "sessions/2026-11/b.yaml")
    assert backup.paths() == ["a.json", "sessions/2026-11/b.yaml"]
    assert os.path.samefile(backup.place("a.json"), f"{root}/a.json")
    durable_files.write_file(f"{root}/a.json", [b"new"])
    assert filesystem.read_file(backup.place("a.json")) == b"a.json"
    assert os.stat(backup.place("a.json")).st_mode & 0o777 == 0o644


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV])
def test_without_links_it_is_a_copy_with_the_same_mode(root: str, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def link(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(filesystem.System, "link", link)
    Path(root, "a.json").write_bytes(b"x" * (5 << 20))
    backup = kept(root, "a.json", "sessions/2026-11/b.yaml")
    assert not os.path.samefile(backup.place("a.json"), f"{root}/a.json")
    assert filesystem.read_file(backup.place("a.json")) == b"x" * (5 << 20)
    assert os.stat(backup.place("a.json")).st_mode & 0o777 == 0o644
    status = os.lstat(f"{root}/a.json")
    assert backup.holds("a.json", status, b"x" * (5 << 20))
    assert not backup.holds("a.json", status, b"y" * (5 << 20))


def test_a_copy_that_does_not_read_back_is_an_error(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that differs is not kept, and no temporary file is left."""

    def link(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "no links")

    monkeypatch.setattr(filesystem.System, "link", link)
    monkeypatch.setattr(
        filesystem.System, "write", lambda self, fd, data, offset: os.pwrite(fd, bytes(len(data)), offset)
    )
    backup = Backup(root, "2026-11-25T010203.456Z")
    with pytest.raises(OSError, match="differs from the file"):
        backup.keep("a.json")
    assert backup.paths() == []
    assert not list(Path(backup.folder).rglob("*.tmp"))


def test_any_other_failure_of_a_link_is_an_error(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EIO, "no disk")

    monkeypatch.setattr(filesystem.System, "link", link)
    with pytest.raises(OSError, match="no disk"):
        kept(root, "a.json")


def test_keeping_it_again_keeps_what_it_is_now(root: str) -> None:
    backup = kept(root, "a.json")
    durable_files.write_file(f"{root}/a.json", [b"new"])
    backup.keep("a.json")
    backup.keep("a.json")
    assert filesystem.read_file(backup.place("a.json")) == b"new"
    backup.forget_unchanged("a.json")
    backup.forget_unchanged("a.json")
    assert backup.paths() == []


def test_what_was_changed_since_is_not_forgotten(root: str) -> None:
    """Regression: a failure after the rewrite of a document removed the old document from the backup."""
    backup = kept(root, "a.json", "sessions/2026-11/b.yaml")
    durable_files.write_file(f"{root}/a.json", [b"new"])
    os.unlink(f"{root}/sessions/2026-11/b.yaml")
    for path in backup.paths():
        backup.forget_unchanged(path)
    assert backup.paths() == ["a.json", "sessions/2026-11/b.yaml"]


def test_a_backup_that_is_not_finished_is_gone_on_with(root: str) -> None:
    """Only the same action continues it. A finished backup is not continued."""
    first = backup_folder.begin(root, "upgrade", made_store=True)
    first.keep("a.json")
    assert backup_folder.begin(root, "convert to yaml").name != first.name
    again = backup_folder.begin(root, "upgrade")
    assert (again.name, again.made_store) == (first.name, True)
    assert again.finish() == first.name
    assert Backup(root, first.name).made_store
    assert backup_folder.begin(root, "upgrade").name != first.name


def test_one_that_holds_nothing_is_removed_when_it_is_finished(root: str) -> None:
    backup = backup_folder.begin(root, "upgrade")
    assert backup.finish() is None
    assert backup_folder.listing(root) == []


def test_the_list_has_the_newest_first(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This is also true of backups that were created within one millisecond."""
    monkeypatch.setattr(backup_folder, "utc_time_of_ns", lambda _: "2026-11-25T01:02:03.456Z")
    names = [kept(root, "a.json", finished=True).name for _ in range(11)]
    monkeypatch.undo()
    names.append(kept(root, "a.json", "sessions/2026-11/b.yaml").name)
    found = backup_folder.listing(root)
    assert [one.name for one in found] == names[::-1]
    assert (found[0].documents, found[0].size, found[0].finished, found[0].action) == (2, 6 + 23, False, "upgrade")
    assert json.loads(json.dumps(found[0].as_dict()))["path"] == str(Path(root, ".localstore", "backups", names[-1]))


def test_by_name(root: str) -> None:
    """The beginning of its name is enough."""
    with pytest.raises(BackupNotFound, match="no backup"):
        backup_folder.newest(root)
    names = [kept(root, "a.json", finished=True).name for _ in range(3)]
    newest = backup_folder.listing(root)[0].name
    assert backup_folder.newest(root).name == newest
    assert backup_folder.named(root, names[0]).name == names[0]
    with pytest.raises(BackupNotFound, match="3 backups"):
        backup_folder.named(root, newest[:4])
    for name in ("1999", "../..", "", "*"):
        with pytest.raises(BackupNotFound):
            backup_folder.named(root, name)


@pytest.mark.parametrize("about", [b"", b"[]", b"{", b'{"action": 5, "made_at": [], "finished": "yes"}', None])
def test_one_that_does_not_say_what_it_is_is_listed(root: str, about: bytes | None) -> None:
    """Its documents matter as much as those of other backups."""
    backup = kept(root, "a.json")
    path = Path(backup.folder, "backup.json")
    path.write_bytes(about) if about is not None else path.unlink()
    (one,) = backup_folder.listing(root)
    assert (one.action, one.finished, one.documents) == ("unknown", False, 1)
    assert one.made_at.replace(":", "") == one.name
    backup.remove()
    assert backup_folder.listing(root) == []


def test_what_is_not_a_backup_is_neither_listed_nor_followed(root: str, tmp_path: Path) -> None:
    """Other names, files and links are left out, and a link in a backup is not followed."""
    folder = Path(root, ".localstore", "backups")
    backup = kept(root, "a.json")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.json").write_text("mine")
    (folder / "2026-11-25T010203.456Z").symlink_to(outside)
    (folder / "mine").mkdir()
    (folder / "2026-11-25T010203.457Z").write_text("")
    Path(backup.folder, "files", "link").symlink_to(outside)
    Path(backup.folder, "files", "link.json").symlink_to(outside / "mine.json")
    assert [one.name for one in backup_folder.listing(root)] == [backup.name]
    assert backup.paths() == ["a.json"]
    backup.remove()
    assert (outside / "mine.json").read_text() == "mine"


def test_one_that_was_stopped_while_it_was_made_can_be_removed(root: str) -> None:
    """Its temporary file is removed too, and no listing shows it."""
    backup = kept(root)
    Path(backup.folder, "backup.json").rename(Path(backup.folder, ".backup.json.0123456789ab.tmp"))
    assert backup_folder.listing(root) == []
    backup_folder.tidy(root, old=False)
    assert not Path(backup.folder).exists()


def test_what_a_person_put_into_a_backup_stays(root: str) -> None:
    """The backup itself stays, too."""
    backup = kept(root, "a.json")
    mine = Path(backup.folder, "files", "notes.txt")
    mine.write_text("mine")
    backup.remove()
    assert mine.read_text() == "mine"
    assert Path(root, "a.json").exists()


def test_a_backup_that_a_writer_is_just_making_is_left_alone(root: str) -> None:
    """Regression: an upgrade that began at this moment removed the folder, and the write raised FileNotFoundError."""
    young = backup_folder.make(root, "write", finished=True)
    old = backup_folder.make(root, "write", finished=True)
    os.utime(old.folder, (0, 0))
    made = backup_folder.begin(root, "upgrade")  # it may have the name of the one that is gone
    assert set(os.listdir(os.path.dirname(made.folder))) == {young.name, made.name}
