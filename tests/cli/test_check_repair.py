"""`localstore check --repair`: each kind of damage is repaired, nothing is lost, and `--dry-run` changes nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run
from localstore.disk import filesystem
from tests import oracle
from tests.crashes import tear
from tests.effort import ci_only, sampled

from .conftest import Command
from .test_check import document, edit, state_of

Invoke = Callable[..., Result]
Damage = Callable[[Path], None]
posix = pytest.mark.skipif(os.name != "posix", reason="permissions and terminals of POSIX")


# What can be repaired


def torn(store: Path) -> None:
    tear(store, document(store), "graz-1")


def torn_yaml(store: Path) -> None:
    tear(store, document(store, "linz-1"), "linz-1")


def torn_and_unknown(store: Path) -> None:
    torn(store)
    (store / ".localstore/manifest.jsonl").unlink()


def copied(store: Path) -> None:
    path = document(store)
    shutil.copy2(path, path.with_name("copy.json"))


def copied_yaml_twice(store: Path) -> None:
    path = document(store, "linz-1")
    shutil.copy2(path, path.with_name("a copy.yaml"))
    (store / "sessions" / "2025-12").mkdir(mode=0o700)
    shutil.copy2(path, store / "sessions" / "2025-12" / path.name)


def left(store: Path) -> None:
    for place in ("sessions/2026-01/.graz-1.json.0123456789ab.tmp", ".localstore/.manifest.jsonl.0123456789ab.tmp"):
        (store / place).write_text("half")
        (store / place).chmod(0o600)
        os.utime(store / place, (1, 1))


def open_to_others(store: Path) -> None:
    for path in [*store.glob("sessions/*/*"), *store.glob("sessions/*"), store / ".localstore/manifest.jsonl"]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def without_manifest(store: Path) -> None:
    (store / ".localstore/manifest.jsonl").unlink()


def broken_manifest(store: Path) -> None:
    manifest = store / ".localstore/manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([lines[0], "garbage\n", *lines[1:], '{"session_id": "cut o']))


def gone(store: Path) -> None:
    document(store).unlink()


def unknown(store: Path) -> None:
    path = document(store)
    path.with_name("added.json").write_text(path.read_text().replace('"graz-1"', '"added"'))
    path.with_name("added.json").chmod(0o600)


def edited(store: Path) -> None:
    edit(document(store), '"alice"', '"carol"')


def lying_manifest(store: Path) -> None:
    manifest = store / ".localstore/manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"user_id":"alice"', '"user_id":"mallory"'))


def another_file(store: Path) -> None:
    """Swap the file names of two documents, without changing the manifest."""
    one, other = document(store), document(store, "vienna-trip")
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


DAMAGES: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        *(torn, torn_yaml, torn_and_unknown, copied, copied_yaml_twice, left, without_manifest),
        *(broken_manifest, gone, unknown, edited, lying_manifest, another_file),
        *((open_to_others,) if os.name == "posix" else ()),
    )
}


def everything(store: Path) -> None:
    for name in ("torn", "copied_yaml_twice", "left", "unknown", "broken_manifest", "open_to_others"):
        if name in DAMAGES:
            DAMAGES[name](store)


DAMAGES["everything"] = everything


def findings(done: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def repairs(done: Result) -> list[dict[str, Any]]:
    return [finding for finding in findings(done) if finding["severity"] == "repair"]


def contents(store: Path) -> list[bytes]:
    """Return all bytes in the store, whatever their files are called now."""
    return [path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_repaired_once_as_the_dry_run_said(invoke: Invoke, store: Path, damage: Damage) -> None:
    """The dry run changes no byte and says what would be done. A second repair has nothing to do."""
    damage(store)
    check = ("check", "--json", "--store", store)
    repairable = sum(finding["kind"] is not None for finding in findings(invoke(*check)))
    before = state_of(store)
    planned = invoke(*check, "--repair", "--dry-run")
    assert state_of(store) == before
    done = invoke(*check, "--repair")
    assert (done.exit_code, planned.exit_code) == (0, 0), done.stdout
    assert len(repairs(done)) == repairable > 0
    assert repairs(planned) == repairs(done)
    left_over = [finding for finding in findings(done) if finding["severity"] != "repair"]
    for one in left_over:
        assert one["path"].startswith(str(store / ".localstore" / "rescue")) or "not named after" in one["problem"]
    repaired = state_of(store)
    again = invoke(*check, "--repair")
    assert findings(again) == left_over == findings(invoke(*check))
    assert state_of(store) == repaired


@pytest.mark.filterwarnings("ignore:Session .* not read")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_readable_sessions_stay_readable(invoke: Invoke, store: Path, damage: Damage) -> None:
    """After the repair, the store returns what its files contain."""
    damage(store)
    known = {
        session.session_id: [run.run_id for run in session.runs] for session in JsonStorage(store).get_all_sessions()
    }
    assert invoke("check", "--repair", "--store", store).exit_code == 0
    for storage in (JsonStorage(store), JsonStorage(store)):
        for session_id, runs in known.items():
            session = storage.read(session_id)
            assert session is not None
            assert [run.run_id for run in session.runs][: len(runs)] == runs
            storage.append(session_id, Run(run_id="next", messages=[Message(role="user", content="on")]))
    assert all(one.run_ids[-1] == "next" for key, one in oracle.sessions(store).items() if key in known)


def test_a_torn_tail_is_kept_in_the_rescue_folder(invoke: Invoke, store: Path) -> None:
    """The repair does what the next write would do."""
    whole = document(store).read_bytes()
    rest = tear(store, document(store), "graz-1")
    (repair, note) = findings(invoke("check", "--repair", "--json", "--store", store))
    assert repair["path"] == str(document(store))
    assert repair["line"] == whole.count(b"\n") + 1
    assert document(store).read_bytes() == whole
    (record,) = oracle.rescued(store)
    assert record["text"] == rest.decode()
    assert note["advice"] == f"See it with: localstore rescue {Path(note['path']).name}"


def test_a_temporary_file_is_moved_unchanged(invoke: Invoke, store: Path) -> None:
    """The file is moved, not copied, and its new name contains the old one."""
    left(store)
    path = store / "sessions" / "2026-01" / ".graz-1.json.0123456789ab.tmp"
    inode = path.stat().st_ino
    assert invoke("check", "--repair", "--store", store).exit_code == 0
    assert not list(store.rglob("*.tmp"))
    (moved,) = (store / ".localstore" / "rescue").glob("graz-1.json.*.part")
    assert (moved.stat().st_ino, moved.read_text()) == (inode, "half")


def test_a_recent_temporary_file_stays(invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An active writer still finds its temporary file."""
    monkeypatch.setattr("localstore.maintenance.check._PATIENCE", 0.01)
    path = store / "sessions" / "2026-01" / ".graz-1.json.0123456789ab.tmp"
    path.write_text("half")
    done = invoke("check", "--repair", "--store", store)
    assert done.exit_code == 1
    assert "Check again in a minute" in done.stdout
    assert path.exists()


def test_a_copy_is_united_with_the_document(run: Command, store: Path) -> None:
    """Both machines had added runs."""
    copy = document(store).with_name("graz-1 (1).json")
    copy.write_text(document(store).read_text().replace('"run_id": "', '"run_id": "other-'))
    copy.chmod(0o600)
    raw, runs = copy.read_bytes(), oracle.parse(document(store)).run_ids
    done = run("check", "--repair", "--store", store)
    assert (done.returncode, done.stderr) == (0, "localstore: 3 sessions, 1 repaired, 1 note\n")
    place, severity, problem, advice = done.stdout.splitlines()[0].split("\t")
    assert (place, severity) == (str(copy), "repair")
    assert problem == f"has the same session_id as {document(store)} (a copy made by Google Drive or a browser)"
    assert advice == f"Unite it with {document(store)}, and move it to .localstore/rescue."
    assert sorted(oracle.parse(document(store)).run_ids) == sorted([*runs, *(f"other-{one}" for one in runs)])
    (kept,) = (store / ".localstore" / "rescue").glob("*.copy")
    assert kept.read_bytes() == raw


def test_a_duplicate_that_a_rewrite_would_damage_is_not_changed(invoke: Invoke, store: Path) -> None:
    """A rewrite would round a number beyond 64 bits."""
    path = document(store)
    copy = path.with_name("copy.json")
    copy.write_text(path.read_text().replace('"kind"', '"big": 123456789012345678901234567890,\n  "kind"'))
    copy.chmod(0o600)
    before = state_of(store)
    done = invoke("check", "--repair", "--store", store)
    assert done.exit_code == 1
    assert "repair" not in done.stdout
    assert state_of(store) == before


def test_a_wrong_edit_is_not_repaired(run: Command, store: Path) -> None:
    """The rest is repaired, and the exit code says that a finding is left."""
    edit(document(store, "vienna-trip"), '"question 1"', "question 1")
    edit(document(store, "linz-1"), "schema_version: 1", "schema_version: 2")
    broken = {path: path.read_bytes() for path in (document(store, "vienna-trip"), document(store, "linz-1"))}
    torn(store)
    done = run("check", "--repair", "--store", store)
    assert done.returncode == 1
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["repair", "note", "error", "error"]
    assert done.stderr == "localstore: 3 sessions, 1 repaired, 2 errors, 1 note\n"
    assert {path: path.read_bytes() for path in broken} == broken


def test_a_failed_sync_is_kept_in_the_manifest(invoke: Invoke, store: Path) -> None:
    """Only the manifest records it: the next write must be a complete one."""

    class NoSync(filesystem.System):
        def sync(self, fd: int) -> None:
            raise OSError(errno.EIO, "injected")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filesystem, "system", NoSync())
        with pytest.raises(OSError, match="did not keep the last write"):
            JsonStorage(store).append("graz-1", Run())
    broken_manifest(store)
    lying_manifest(store)
    assert invoke("check", "--repair", "--store", store).exit_code == 0
    assert oracle.manifest(store)["graz-1"]["rewrite"] is True
    assert oracle.manifest(store)["graz-1"]["user_id"] == "alice"
    inode = document(store).stat().st_ino
    JsonStorage(store).append("graz-1", Run())
    assert document(store).stat().st_ino != inode


def test_check_says_that_repair_is_possible(run: Command, store: Path) -> None:
    """The summary names the option, so a person need not read the help."""
    edit(document(store, "linz-1"), "content: Linz?", "content: [Linz?")
    torn(store)
    done = run("check", "--store", store)
    assert done.stderr == (
        "localstore: 3 sessions, 2 errors\n"
        "localstore: 'localstore check --repair' repairs 1 finding; add --dry-run to see how.\n"
    )


def test_the_summary_of_a_dry_run_says_that_nothing_was_done(run: Command, store: Path) -> None:
    """The lines are the same as those of a repair."""
    torn(store)
    done = run("check", "--repair", "--dry-run", "--store", store)
    assert (done.returncode, done.stderr) == (0, "localstore: 3 sessions, 1 to repair\n")


def test_a_dry_run_alone_is_wrong_usage(run: Command, store: Path) -> None:
    """`check` changes nothing anyway."""
    done = run("check", "--dry-run", "--store", store)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("localstore: --dry-run needs --repair.")


def test_a_sound_and_an_empty_store_need_no_repair(run: Command, store: Path, tmp_path: Path) -> None:
    """A repair without damage writes nothing, not even a lock file."""
    JsonStorage(tmp_path / "empty")
    for root, sessions in ((store, 3), (tmp_path / "empty", 0)):
        before = state_of(root)
        done = run("check", "--repair", "--store", root)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{sessions} sessions, no findings\n", "")
        assert state_of(root) == before


@pytest.mark.parametrize("damage", [torn, copied, left, without_manifest, open_to_others])
def test_a_store_that_cannot_be_written_to_is_one_clear_error(
    invoke: Invoke, store: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair that failed is never reported as done."""
    damage(store)

    class ReadOnly(filesystem.System):
        def open(self, path: str, flags: int) -> int:
            if flags & (os.O_RDWR | os.O_WRONLY):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
            return super().open(path, flags)

        def set_mode(self, path: str, mode: int) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    before = state_of(store)
    monkeypatch.setattr(filesystem, "system", ReadOnly())
    done = invoke("check", "--repair", "--store", store)
    assert done.exit_code == 5
    assert "repair" not in done.stdout
    assert "Read-only file system. Check the permissions and try again." in done.stderr
    assert state_of(store) == before


@posix
def test_permissions_that_only_another_user_may_set_stay_a_finding(
    invoke: Invoke, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is repaired, and the finding says why it is left."""
    open_to_others(store)
    path = document(store)
    path.chmod(0o664)

    class NotOurs(filesystem.System):
        def set_mode(self, path_: str, mode: int) -> None:
            if path_ == str(path):
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path_)
            super().set_mode(path_, mode)

    monkeypatch.setattr(filesystem, "system", NotOurs())
    done = invoke("check", "--repair", "--json", "--store", store)
    assert done.exit_code == 1
    (error,) = [finding for finding in findings(done) if finding["severity"] == "error"]
    assert error["path"] == str(path)
    assert error["problem"].endswith(
        "access, and cannot be repaired: it belongs to another user, or the system protects it"
    )


@posix
def test_permissions_are_never_set_through_a_link(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    """The target of a link does not belong to the store."""
    target = tmp_path / "mine.json"
    target.write_text("{}")
    target.chmod(0o644)
    link = store / "sessions" / "2026-01" / "link.json"
    link.symlink_to(target)
    assert invoke("check", "--repair", "--store", store).exit_code == 1
    with pytest.raises(OSError, match="symbolic link"):
        filesystem.system.set_mode(str(link), 0o600)
    assert target.stat().st_mode & 0o777 == 0o644


@posix
@pytest.mark.parametrize("columns", sampled([40, 100], 2))
def test_repairs_on_a_terminal(store: Path, columns: int) -> None:
    """A terminal shows the same lines with colours, and the summary at the end."""
    from .pseudo_terminal import on_terminal

    torn(store)
    screen = on_terminal("check", "--repair", cwd=store, columns=columns)
    assert screen.code == 0
    assert "\x1b[1;32m  repair: " in screen.raw
    assert "Rewrite it without the torn part" in " ".join(screen.text.split())
    assert screen.lines[-1] == "3 sessions, 1 repaired, 1 note"
    assert all(len(line) <= columns for line in screen.lines)


@ci_only
def test_repairing_during_writes_loses_nothing(store: Path) -> None:
    """Two processes write, remove and copy while the store is repaired again and again."""
    program = (
        "import itertools, sys\n"
        "from localstore import JsonStorage, Message, Run, YamlStorage\n"
        "for number in itertools.count(1):\n"
        "    for kind in (JsonStorage, YamlStorage):\n"
        "        storage = kind(sys.argv[1], durability='relaxed')\n"
        "        session_id = f'busy-{kind.__name__}'\n"
        "        run = Run(run_id=str(number), messages=[Message(role='user', content='x' * 20_000)])\n"
        "        storage.append(session_id, run)\n"
        "        if number % 10 == 0: storage.update(session_id, name=f'name {number}')\n"
        "        if number % 7 == 0: storage.append('short', run); storage.delete_session('short')\n"
        "    print(number, flush=True)\n"
    )
    from localstore.maintenance.repair import repair

    command = [sys.executable, "-c", program, str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        try:
            writer.stdout.readline()
            for round_ in range(12):
                copied(store) if round_ % 3 == 0 else None
                broken_manifest(store) if round_ % 4 == 1 else None
                left(store)
                errors = [finding for finding in repair(store) if finding.severity == "error"]
                assert errors == []
            assert writer.poll() is None, writer.stderr.read().decode()
        finally:
            writer.kill()
        last = int(writer.stdout.read().split()[-1])
    for name in ("busy-JsonStorage", "busy-YamlStorage"):
        ids = oracle.sessions(store)[name].run_ids
        assert ids[:last] == [str(number) for number in range(1, last + 1)]
        assert len(ids) <= last + 1
