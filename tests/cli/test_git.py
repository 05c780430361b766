"""A store in a git repository: what is tracked, clones, and merge conflicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localstore import DocumentBroken, JsonStorage, YamlStorage
from localstore.disk import store_tree
from tests.crashes import restart_machine
from tests.git.repository import git, git_environment, needs_git
from tests.unit.raw import Storage, question

from .conftest import Command, Finished

pytestmark = needs_git


@pytest.fixture(params=[JsonStorage, YamlStorage])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return a store that is committed to a repository."""
    made: Storage = request.param(tmp_path / "mine")
    made.append("trip", question("r1"))
    made.append("other", question("r1"))
    git(made.root, "init", "-q")
    git(made.root, "add", "-A")
    git(made.root, "commit", "-qm", "first")
    return made


def conflicting(storage: Storage, tmp_path: Path, *, in_header: bool = False) -> Path:
    """Change a session in the store and in a clone, and merge. Return the path of the document with the conflict."""
    git(tmp_path, "clone", "-q", storage.root, "theirs")
    theirs = type(storage)(tmp_path / "theirs")
    for store, name in ((storage, "mine"), (theirs, "theirs")):
        if in_header:
            store.update("trip", name=name)
        else:
            store.append("trip", question(name))
        git(store.root, "commit", "-qam", name)
    git(storage.root, "pull", "-q", "--no-rebase", theirs.root, fails=True)
    return storage.root / "sessions" / theirs.path("trip").parent.name / theirs.path("trip").name


def test_only_portable_files_are_tracked(storage: Storage) -> None:
    """`manifest.jsonl` was tracked: each read changed it, and each merge had a conflict in it."""
    month = storage.path("trip").parent.name
    documents = [f"sessions/{month}/{storage.path(name).name}" for name in ("other", "trip")]
    tracked = git(storage.root, "ls-files").splitlines()
    assert tracked == [".gitignore", "localstore.json", "schemas/session-1.schema.json", *documents]


def test_a_fresh_clone_works_and_reads_leave_it_clean(storage: Storage, tmp_path: Path, run: Command) -> None:
    """`check` failed in every clone, because git does not keep permissions."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", storage.root, "clone", private=False)
    assert sorted(line.split("\t")[0] for line in run("ls", "--store", clone).stdout.splitlines()) == ["other", "trip"]
    assert run("show", "trip", "--store", clone).returncode == 0
    done = run("check", "--json", "--store", clone)
    assert done.returncode == 0
    assert {finding["severity"] for finding in json.loads(done.stdout)} == {"note"}
    assert git(clone, "status", "--short") == ""
    type(storage)(clone).append("trip", question("r2"))
    assert git(clone, "status", "--short").split()[0] == "M"


def test_the_ignore_file_is_made_again_and_never_changed(storage: Storage) -> None:
    """A store of an earlier release has none. A file that a person changed stays, even an empty one."""
    path = storage.root / ".gitignore"
    first = path.read_bytes()
    path.unlink()
    type(storage)(storage.root)
    assert path.read_bytes() == first
    path.write_bytes(b"")
    type(storage)(storage.root)
    assert path.read_bytes() == b""


def test_a_conflict_is_named_until_it_is_resolved(storage: Storage, tmp_path: Path, run: Command) -> None:
    """The error was about a character at some position, and a person had to find out that git had been there."""
    path = conflicting(storage, tmp_path)
    lines = path.read_text().splitlines()
    first = next(number for number, line in enumerate(lines, 1) if line.startswith("<<<<<<<"))
    with pytest.raises(DocumentBroken, match="merge conflict") as caught:
        storage.read("trip")
    assert caught.value.line == first
    assert "<<<<<<<" in str(caught.value)
    listed = run("ls", "--store", storage.root)
    assert f"line {first}: this is a merge conflict" in listed.stdout
    shown = run("show", "trip", "--store", storage.root)
    assert shown.returncode != 0
    assert f"line {first}: this is a merge conflict" in shown.stderr
    checked = run("check", "--store", storage.root)
    assert checked.returncode == 1
    assert f"{path}:{first}\terror\tthis is a merge conflict" in checked.stdout
    git(storage.root, "checkout", "--theirs", path)
    session = storage.read("trip")
    assert session is not None
    assert [entry.run_id for entry in session.runs] == ["r1", "theirs"]
    storage.append("trip", question("r3"))
    assert run("check", "--store", storage.root).returncode == 0


def test_a_conflict_in_the_header_keeps_the_session_listed(storage: Storage, tmp_path: Path, run: Command) -> None:
    """The session vanished from the listing of a new clone, because its id could not be read."""
    path = conflicting(storage, tmp_path, in_header=True)
    (storage.root / ".localstore/manifest.jsonl").unlink()
    done = run("ls", "--store", storage.root)
    assert any(line.startswith("trip\t") and "merge conflict" in line for line in done.stdout.splitlines())
    assert path.read_text().count("<<<<<<<") == 1


def test_a_conflict_is_not_taken_for_the_work_of_a_power_cut(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the machine, the next write "repaired" the document and took both sides out of it."""
    relaxed = type(storage)(storage.root, durability="relaxed")
    relaxed.append("trip", question("r2"))
    git(storage.root, "commit", "-qam", "second")
    path = conflicting(relaxed, tmp_path)
    before = path.read_bytes()
    restart_machine(storage.root, monkeypatch)
    opened = type(storage)(storage.root)
    with pytest.raises(DocumentBroken, match="merge conflict"):
        opened.append("trip", question("r9"))
    assert path.read_bytes() == before


def test_an_undone_upgrade_leaves_no_ignore_file(tmp_path: Path) -> None:
    """`remove_store_files` turns the folder into an ordinary one again, except for a file that a person changed."""
    root = store_tree.open_store(tmp_path / "store", create=True)
    assert store_tree.remove_store_files(root)
    assert not (root / ".gitignore").exists()


def set_up(storage: Storage, run: Command) -> Finished:
    return run("git", "init", "--store", storage.root, env=git_environment())


def test_git_init_says_what_it_did_and_what_to_do(storage: Storage, run: Command) -> None:
    done = set_up(storage, run)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"Added the documents to {storage.root}/.gitattributes. Commit this file.",
        f"Registered the merge driver and the diff in the repository {storage.root}",
    ]
    assert set_up(storage, run).stdout == f"The repository {storage.root} is set up already.\n"
    as_json = run("git", "init", "--json", "--store", storage.root, env=git_environment())
    assert json.loads(as_json.stdout) == {
        "attributes": f"{storage.root}/.gitattributes",
        "repository": str(storage.root),
        "wrote_attributes": False,
        "wrote_config": False,
    }


def test_git_alone_shows_its_help_and_refuses_other_words(run: Command) -> None:
    done = run("git")
    assert (done.returncode, done.stderr) == (0, "")
    assert "init      Set up the git repository that holds the store." in done.stdout
    assert "textconv  Print a document as text for a diff." in done.stdout
    done = run("git", "clone")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "localstore: No such command 'clone'. See 'localstore git --help'.\n"


def test_merge_install_is_git_init(storage: Storage, run: Command) -> None:
    done = run("merge", "--install", "--store", storage.root, env=git_environment())
    assert done.stdout.startswith("Added the documents to")
    assert set_up(storage, run).stdout == f"The repository {storage.root} is set up already.\n"
    for words in (["--dry-run"], ["other"]):
        refused = run("merge", "--install", *words, "--store", storage.root)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "cannot be combined" in refused.stderr


def test_git_init_needs_a_folder(run: Command) -> None:
    done = run("git", "init", "--store", "sqlite:///sessions.db")
    assert (done.returncode, done.stdout) == (4, "")
    assert "works on a folder" in done.stderr


def test_git_init_without_a_repository_is_one_clear_error(storage: Storage, run: Command, tmp_path: Path) -> None:
    (storage.root / ".git").rename(tmp_path / "gone")
    done = run("git", "init", "--store", storage.root, env={"GIT_CEILING_DIRECTORIES": str(tmp_path)})
    assert (done.returncode, done.stdout) == (4, "")
    assert "Make one with: git init" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_git_init_works_as_git_calls_it(storage: Storage, tmp_path: Path, run: Command) -> None:
    """Through the shell, by the interpreter of this environment; `localstore` need not be on git's PATH."""
    set_up(storage, run)
    git(storage.root, "add", "-A")
    git(storage.root, "commit", "-qm", "set up")
    git(tmp_path, "clone", "-q", storage.root, "theirs")
    theirs = type(storage)(tmp_path / "theirs")
    for store, name in ((storage, "mine"), (theirs, "theirs")):
        store.append("trip", question(name))
        git(store.root, "commit", "-qam", name)
    git(storage.root, "pull", "-q", "--no-rebase", "--no-edit", theirs.root)
    assert run("show", "trip", "--store", storage.root, "--json").stdout.count('"run_id"') == 3
    assert run("check", "--store", storage.root).returncode == 0


def test_textconv_prints_a_document_as_text(storage: Storage, run: Command, tmp_path: Path) -> None:
    path = storage.path("trip")
    done = run("git", "textconv", path)
    header, entry = done.stdout.split("\n\n")
    assert header.splitlines()[:3] == ["schema_version  1", "session_id  trip", "kind  agent"]
    assert entry.splitlines()[1:] == ["  user", "    hello"]
    for name, text in {f"broken{path.suffix}": "{ [", "notes.txt": "a\tb\n", f"empty{path.suffix}": ""}.items():
        (tmp_path / name).write_text(text)
        assert run("git", "textconv", tmp_path / name).stdout == text
    missing = run("git", "textconv", tmp_path / "missing.json")
    assert (missing.returncode, missing.stdout) == (5, "")
    assert "No such file" in missing.stderr


def test_textconv_shows_no_control_character(storage: Storage, run: Command) -> None:
    storage.append("trip", question("r2", "a\x1b[31mred"))
    assert "a\\x1b[31mred" in run("git", "textconv", storage.path("trip")).stdout


def test_merge_driver_writes_the_second_file_and_needs_no_store(storage: Storage, run: Command, tmp_path: Path) -> None:
    base = storage.path("trip").read_bytes()
    versions = {"base": base}
    for name in ("ours", "theirs"):
        storage.path("trip").write_bytes(base)
        storage.append("trip", question(name))
        versions[name] = storage.path("trip").read_bytes()
    for name, raw in versions.items():
        (tmp_path / name).write_bytes(raw)
    path = f"sessions/2026-11/trip{storage.path('trip').suffix}"
    done = run("merge-driver", "base", "ours", "theirs", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    merged = (tmp_path / "ours").read_text()
    assert "ours" in merged
    assert "theirs" in merged
    assert (tmp_path / "theirs").read_bytes() == versions["theirs"]
    missing = run("merge-driver", "base", "ours", "gone", path)
    assert missing.returncode == 5
    assert (tmp_path / "ours").read_text() == merged


def test_merge_driver_lets_git_merge_what_it_cannot_read(run: Command, tmp_path: Path) -> None:
    for name, text in {"base": "a\nb\nc\n", "ours": "A\nb\nc\n", "theirs": "a\nb\nC\n", "other": "x\nb\nc\n"}.items():
        (tmp_path / name).write_text(text)
    done = run("merge-driver", "base", "ours", "theirs", "notes.txt")
    assert done.returncode == 0
    assert done.stderr == "localstore: notes.txt is not named like a document. So git merges notes.txt line by line.\n"
    assert (tmp_path / "ours").read_text() == "A\nb\nC\n"
    done = run("merge-driver", "base", "ours", "other", "notes.json")
    assert done.returncode == 1
    assert (tmp_path / "ours").read_text().startswith("<<<<<<< ours\nA\n")
    (tmp_path / "other").write_bytes(b"\0")
    kept = (tmp_path / "ours").read_bytes()
    assert run("merge-driver", "base", "ours", "other", "notes.json").returncode == 1
    assert (tmp_path / "ours").read_bytes() == kept
