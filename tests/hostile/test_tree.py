"""A tree that somebody prepared: links out of the store, pipes, folders in the place of files, files of other users."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import localstore
from localstore import DocumentBroken, JsonStorage, LocalstoreError, StoreNotFound, YamlStorage
from localstore.maintenance.check import check
from tests.effort import sampled
from tests.unit.raw import Storage, question

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and users of POSIX")
as_another_user = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can be another")

Plant = Callable[[Path], None]


@pytest.fixture
def tmp_path(private_folder: Path) -> Path:
    return private_folder


@pytest.fixture(params=[JsonStorage, YamlStorage], ids=["json", "yaml"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A store of two sessions, known and trusted by this process."""
    opened: Storage = request.param(tmp_path / "store", lock_timeout=1)
    for session_id in ("s1", "s2"):
        opened.append(session_id, question("r1"))
    opened.list_sessions()
    return opened


@pytest.fixture
def month(storage: Storage) -> Path:
    return storage.path("s1").parent


def bytes_below(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def ids(storage: Storage) -> set[str]:
    return {info.session_id for info in storage.list_sessions()}


def problems(root: Path) -> dict[str, str]:
    return {os.path.relpath(finding.path, root): finding.problem for finding in check(root)}


def move_out(path: Path, outside: Path) -> None:
    """Leave a link where `path` was."""
    shutil.move(path, outside)
    path.symlink_to(outside)


def everything(storage: Storage) -> Iterator[Callable[[], object]]:
    """Every call that writes or reads the session s1."""
    yield lambda: storage.read("s1")
    yield lambda: storage.read("s1", last_runs=1)
    yield lambda: storage.append("s1", question("r2"))
    yield lambda: storage.update("s1", session_state={"a": 1})
    yield lambda: storage.update("s1", name="n")
    yield lambda: storage.path("s1")
    yield lambda: storage.delete_session("s1")
    yield storage.drop


# Links


@pytest.mark.parametrize("target", ["a document", "nothing"])
def test_a_document_that_is_a_link_is_not_followed(storage: Storage, tmp_path: Path, target: str) -> None:
    path = storage.path("s1")
    move_out(path, tmp_path / path.name)
    outside = (tmp_path / path.name).read_bytes()
    if target == "nothing":
        (tmp_path / path.name).unlink()
    for opened in (storage, type(storage)(storage.root)):
        for call in (*everything(opened),)[:5]:
            with pytest.raises(DocumentBroken, match="symbolic link"):
                call()
        assert {info.session_id: bool(info.problem) for info in opened.list_sessions()} == {"s1": True, "s2": False}
    storage.delete_session("s1")
    assert not path.is_symlink()
    assert target == "nothing" or (tmp_path / path.name).read_bytes() == outside


@pytest.mark.parametrize("listed", [True, False], ids=["noticed by a listing", "not noticed yet"])
def test_a_month_that_becomes_a_link_leads_nowhere(storage: Storage, month: Path, tmp_path: Path, listed: bool) -> None:
    """A process that had the store open wrote to, and deleted, what the link led to."""
    move_out(month, tmp_path / "outside")
    before = bytes_below(tmp_path / "outside")
    if listed:
        assert ids(storage) == set()
    for call in everything(storage):
        with contextlib.suppress(LocalstoreError):
            assert call() in (None, False)
        assert bytes_below(tmp_path / "outside") == before
    assert problems(storage.root)[f"sessions/{month.name}"].startswith("is a symbolic link")


@pytest.mark.parametrize("folder", ["the month", "sessions"])
def test_no_append_follows_a_link_in_the_place_of_a_folder_it_wrote_to(
    storage: Storage, month: Path, tmp_path: Path, folder: str
) -> None:
    """The second of two appends, with no other call between them, must look at the folder again: the run would be
    acknowledged, and lost with what the link leads to."""
    storage.append("s1", question("r2"))
    move_out(month if folder == "the month" else month.parent, tmp_path / "outside")
    before = bytes_below(tmp_path / "outside")
    with pytest.raises(LocalstoreError):
        storage.append("s1", question("r3"), create=False)
    assert bytes_below(tmp_path / "outside") == before


def test_sessions_that_becomes_a_link_is_refused(storage: Storage, tmp_path: Path) -> None:
    """A process that had the store open wrote to, and dropped, what the link led to."""
    move_out(storage.root / "sessions", tmp_path / "outside")
    before = bytes_below(tmp_path / "outside")
    more: list[Callable[[], object]] = [storage.list_sessions, lambda: storage.append("new", question("r1"))]
    for call in (*everything(storage), *more):
        with pytest.raises(StoreNotFound, match="symbolic link"):
            call()
    with pytest.raises(StoreNotFound, match="symbolic link"):
        type(storage)(storage.root)
    assert bytes_below(tmp_path / "outside") == before


@pytest.mark.parametrize("name", [".localstore", ".localstore/locks", "schemas", "localstore.json"])
def test_links_to_what_holds_no_document_change_nothing_outside(storage: Storage, tmp_path: Path, name: str) -> None:
    """Lock files may come up there; whatever stood there stays."""
    move_out(storage.root / name, tmp_path / "outside")
    own = tmp_path / "outside"
    files = [path for path in [own, *own.rglob("*")] if path.is_file()]
    before = {path: path.read_bytes() for path in files if not path.name.startswith(("manifest.", "index."))}
    opened = type(storage)(storage.root)
    for call in everything(opened):
        call() if call != opened.drop else None
        if opened.read("s1") is None:
            break
    opened.append("new", question("r1"))
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("when", ["before it is opened", "afterwards"])
def test_a_file_that_is_linked_to_a_document_keeps_its_bytes(storage: Storage, tmp_path: Path, when: str) -> None:
    path, outside = storage.path("s1"), tmp_path / "outside"
    opened = storage
    if when == "afterwards":
        opened.append("s1", question("r2"))
    os.link(path, outside)
    if when == "before it is opened":
        opened = type(storage)(storage.root)
    before = outside.read_bytes()
    opened.append("s1", question("r3"))
    opened.update("s1", session_state={"a": 1})
    opened.update("s1", name="n")
    assert outside.read_bytes() == before
    session = opened.read("s1")
    assert session is not None
    assert session.runs[-1].run_id == "r3"


@pytest.mark.parametrize(
    "path", ["../../outside.json", "/etc/x.json", "sessions/../../outside.json", "sessions\\2026-11\\x.json",
             "sessions/2026-11/../x.json", "sessions/2026-11/a\0.json", "sessions/./x.json"]
)  # fmt: skip
def test_a_path_in_the_manifest_never_leads_out(storage: Storage, tmp_path: Path, path: str) -> None:
    import orjson

    (tmp_path / "outside.json").write_bytes(storage.path("s1").read_bytes())
    manifest = storage.root / ".localstore/manifest.jsonl"
    row = orjson.loads(manifest.read_bytes().splitlines()[-1])
    manifest.write_bytes(manifest.read_bytes() + orjson.dumps({**row, "session_id": "evil", "path": path}) + b"\n")
    before = (tmp_path / "outside.json").read_bytes()
    opened = type(storage)(storage.root)
    assert opened.read("evil") is None
    assert ids(opened) == {"s1", "s2"}
    assert not opened.delete_session("evil")
    assert (tmp_path / "outside.json").read_bytes() == before


# Other things in the place of files


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(path.parent)  # the path of a socket is short
        try:
            listening.bind(path.name)
        finally:
            os.chdir(here)


KINDS: dict[str, Plant] = {"folder": os.mkdir, "pipe": os.mkfifo, "socket": bound}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_no_document(storage: Storage, kind: str) -> None:
    """A folder or a pipe of that name vanished from the listing without a word; to drop failed half way."""
    path = storage.path("s1")
    path.unlink()
    KINDS[kind](path)
    for opened in (storage, type(storage)(storage.root)):
        assert ids(opened) == {"s2"}
        assert "not a regular file" in opened.unreadable_files()[path]
        for call in (*everything(opened),)[:5]:
            with pytest.raises(DocumentBroken, match="not a regular file"):
                call()
        with pytest.raises(DocumentBroken, match="not a regular file"):
            opened.delete_session("s1")
    assert "is not a regular file" in problems(storage.root).values()
    storage.drop()
    assert not storage.list_sessions()
    assert path.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_missing_once_the_scan_of_its_folder_is_kept(storage: Storage, kind: str) -> None:
    """A listing after 50 ms stored the scan, and then saw what was there: `delete_session` said that there is none."""
    path = storage.path("s1")
    path.unlink()
    KINDS[kind](path)
    a_minute_ago = time.time_ns() - 60 * 10**9
    os.utime(path.parent, ns=(a_minute_ago, a_minute_ago))
    for opened in (storage, type(storage)(storage.root)):
        assert ids(opened) == {"s2"}
        with pytest.raises(DocumentBroken, match="not a regular file"):
            opened.delete_session("s1")


@pytest.mark.parametrize("kind", [*KINDS, "link", "dangling link"])
@pytest.mark.parametrize("same", [True, False], ids=["the same process", "another"])
def test_a_manifest_that_is_no_file_is_done_without(storage: Storage, tmp_path: Path, kind: str, same: bool) -> None:
    """Every call failed; `check` waited for ever at a named pipe."""
    manifest = storage.root / ".localstore/manifest.jsonl"
    if kind == "link":
        move_out(manifest, tmp_path / "outside")
    else:
        manifest.unlink()
        plant: Plant = KINDS.get(kind, lambda path: path.symlink_to(tmp_path / "nowhere"))
        plant(manifest)
    outside = bytes_below(tmp_path / "outside") if kind == "link" else {}
    opened = storage if same else type(storage)(storage.root)
    session = opened.read("s1")
    assert session is not None
    opened.append("s1", question("r2"))
    opened.append("s3", question("r1"))
    assert {info.session_id: info.runs for info in opened.list_sessions()} == {"s1": 2, "s2": 1, "s3": 1}
    assert problems(storage.root)[".localstore/manifest.jsonl"].startswith("is not a regular file")
    assert opened.delete_session("s1")
    assert ids(opened) == {"s2", "s3"}
    assert (bytes_below(tmp_path / "outside") if kind == "link" else {}) == outside


@pytest.mark.parametrize("kind", KINDS)
def test_a_marker_that_is_no_file_is_refused(storage: Storage, kind: str) -> None:
    """A named pipe was waited for, for ever."""
    marker = storage.root / "localstore.json"
    marker.unlink()
    KINDS[kind](marker)
    with pytest.raises(StoreNotFound, match="not a regular file"):
        type(storage)(storage.root)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_that_is_no_file_holds_nobody_up(storage: Storage, kind: str) -> None:
    for lock in (storage.root / ".localstore" / "locks").iterdir():
        lock.unlink()
        KINDS[kind](lock)
    opened = type(storage)(storage.root, lock_timeout=1)
    assert opened.read("s1") is not None
    with contextlib.suppress(OSError):  # a pipe can be locked
        opened.append("s1", question("r2"))
    assert ids(opened) == {"s1", "s2"}


def test_a_store_that_everybody_may_write_works_and_is_named(storage: Storage) -> None:
    for path in (storage.root, *storage.root.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    opened = type(storage)(storage.root)
    opened.append("s1", question("r2"))
    assert any("gives others access" in problem for problem in problems(storage.root).values())


# As another user

AS_NOBODY = """
# Before the folders of the interpreter may be closed:
import os, sys, ctypes, encodings.utf_8_sig, filelock, logging, random, yaml, localstore.index.index_tables
from localstore import JsonStorage, Message, Run
import localstore.storage.upsert, localstore.models.session
import localstore.format.yaml_writer, localstore.format.yaml_reader
os.setgid(65534); os.setuid(65534)
storage = JsonStorage(sys.argv[1], lock_timeout=1)
"""


def as_nobody(root: Path, code: str) -> str:
    """What the code says when another user runs it on the store."""
    open_the_way(root)
    command = [sys.executable, "-c", AS_NOBODY + code, str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def open_the_way(root: Path) -> None:
    """Let another user come to the store, and to the package where it stands in a temporary folder."""
    package = Path(localstore.__file__)
    temporary = Path(tempfile.gettempdir())
    for folder in (*root.parents, *(package.parents if package.is_relative_to(temporary) else ())):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)


def share(root: Path, *, write: bool = False) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod((0o777 if write else 0o755) if path.is_dir() else (0o666 if write else 0o644))


WRITES = """
for call in (
    lambda: storage.append("s1", Run(messages=[Message(role="user", content="x")])),
    lambda: storage.append("new", Run(messages=[Message(role="user", content="x")])),
    lambda: storage.update("s1", name="n"),
    lambda: storage.delete_session("s1"),
):
    try:
        call()
    except OSError as error:
        assert error.filename and error.filename.startswith(sys.argv[1]), error
    else:
        raise AssertionError("it was written")
"""


@as_another_user
@pytest.mark.parametrize("machine", ["with .localstore", "without"])
def test_a_store_that_may_only_be_read_is_read(storage: Storage, machine: str) -> None:
    share(storage.root)
    if machine == "without":
        shutil.rmtree(storage.root / ".localstore")
    before = bytes_below(storage.root)
    code = "print(len(storage.read('s1').runs), sorted(i.session_id for i in storage.list_sessions()))"
    assert as_nobody(storage.root, code + WRITES) == "1 ['s1', 's2']\n"
    assert bytes_below(storage.root) == before


@as_another_user
def test_a_copy_that_may_not_be_read_stays_and_says_what_to_do(storage: Storage) -> None:
    document = storage.path("s1")
    copy = document.with_stem("s1 2")
    shutil.copy2(document, copy)
    share(storage.root, write=True)
    copy.chmod(0)
    code = """
for merged in storage.merge_copies():
    print(*(one.problem for one in merged.copies))
"""
    problem = f"{copy}: Permission denied. Check the permissions and try again.\n"
    assert as_nobody(storage.root, code) == problem
    assert copy.exists()


@as_another_user
def test_a_document_that_may_not_be_read_is_named(storage: Storage) -> None:
    share(storage.root, write=True)
    storage.path("s1").chmod(0)
    code = """
print(sorted((i.session_id, bool(i.problem)) for i in storage.list_sessions()))
try:
    print(storage.read("s1"))
except PermissionError as error:
    print("refused", error.filename.startswith(sys.argv[1]))
"""
    assert as_nobody(storage.root, code) == "[('s1', True), ('s2', False)]\nrefused True\n"
    (storage.root / ".localstore/manifest.jsonl").unlink()
    code = code.replace("list_sessions()))", "list_sessions()), len(storage.unreadable_files()))")
    assert as_nobody(storage.root, code) == "[('s2', False)] 1\nrefused True\n"


@as_another_user
def test_a_month_that_may_not_be_looked_into_is_named(storage: Storage, month: Path) -> None:
    share(storage.root, write=True)
    month.chmod(0)
    code = """
storage.list_sessions()
print([path.name for path in storage.unreadable_files()] == os.listdir(storage.root / "sessions"))
try:
    print(storage.read("s1"))
except PermissionError:
    print("refused")
"""
    assert as_nobody(storage.root, code) == "True\nrefused\n"


COMMANDS_AS_NOBODY = """
# before the folders of the interpreter are closed
import os, sys, ctypes, filelock, logging, yaml, json, encodings.utf_8_sig
import click, click.testing
import localstore.maintenance.check, localstore.maintenance.repair, localstore.maintenance.rescue
import localstore.storage.upsert, localstore.index.index_tables
import localstore.format.yaml_writer, localstore.format.yaml_reader
from localstore_cli.group import cli
context = click.Context(cli)
for name in cli.list_commands(context):
    cli.get_command(context, name)
os.setgid(65534); os.setuid(65534)
def invoke(command):
    done = click.testing.CliRunner().invoke(cli, ["--store", sys.argv[1], *command])
    return done.exit_code, done.stdout, done.stderr
print(json.dumps([invoke(command) for command in json.loads(sys.argv[2])]))
"""

READS = (["ls"], ["show", "s1"], ["path", "s1"], ["rescue"], ["check"])
CLOSED: dict[str, tuple[str, str]] = {
    # What is closed, by its pattern: the exit codes of READS, and of putting back a run that was kept
    "": ("00001", "5"),
    ".localstore/manifest.jsonl": ("55501", "5"),
    "localstore.json": ("55555", "5"),
    "sessions": ("55501", "5"),
    "sessions/*": ("05001", "5"),
    "sessions/*/*": ("05001", "5"),
    ".localstore": ("55551", "5"),
    ".localstore/rescue": ("00051", "5"),
    ".localstore/locks": ("00001", "5"),
    ".localstore/locks/*": ("00001", "5"),
}
"""The command `check` reports what it cannot look into; the listing, which sessions cannot be read."""


@as_another_user
@pytest.mark.parametrize("closed", sampled(CLOSED, 10))
def test_the_command_says_in_one_line_what_another_user_may_not_do(storage: Storage, closed: str) -> None:
    path = storage.path("s2")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"role", b"\0ole"))
    with pytest.raises(DocumentBroken) as broken:
        storage.append("s2", question("r2"))
    assert broken.value.rescued is not None
    path.write_bytes(whole)
    share(storage.root, write=bool(closed))
    for one in storage.root.glob(closed) if closed else ():
        one.chmod(0)
    before = bytes_below(storage.root / "sessions")
    codes, errors = "", []
    restore = ["rescue", Path(broken.value.rescued).name, "--restore"]
    for code, output, error in commands_as_nobody(storage.root, [*READS, restore]):
        assert "Traceback" not in error
        if code == 5:
            assert output == ""
            assert error.startswith(f"localstore: {storage.root}/")
            assert error.endswith(": Permission denied. Check the permissions and try again.\n")
            assert error.count("\n") == 1
        codes += str(code)
        errors.append(error)
    assert (codes[:-1], codes[-1]) == CLOSED[closed], errors
    assert bytes_below(storage.root / "sessions") == before


def commands_as_nobody(root: Path, commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Return the exit code, the output and the error output of each command that another user gives."""
    open_the_way(root)
    words = [sys.executable, "-c", COMMANDS_AS_NOBODY, str(root), json.dumps(commands)]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return [(code, output, error) for code, output, error in json.loads(done.stdout)]
