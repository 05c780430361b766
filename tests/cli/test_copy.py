"""`localstore copy`: copy sessions from one store to another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run
from localstore.databases.opening import open_storage
from tests.cli.conftest import ENTRY_POINT
from tests.cli.database_urls import postgres
from tests.effort import ci_only

Invoke = Callable[..., Result]


def test_one_line_says_what_was_copied(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    for done, note, line in (
        (
            invoke("copy", store, new, "--dry-run"),
            f"localstore: There is no store in {new} yet.\n",
            "Would copy 3 new sessions (14 runs).",
        ),
        (invoke("copy", store, new), f"localstore: Created a store in {new}\n", "Copied 3 new sessions (14 runs)."),
        (invoke("copy", store, new), "", "Copied 0 new sessions (0 runs). 3 sessions had nothing new."),
    ):
        assert (done.exit_code, done.stderr, done.stdout) == (0, note, f"{line}\n")
    assert invoke("ls", "--store", new).stdout == invoke("ls", "--store", store).stdout


def test_each_document_keeps_its_format_unless_another_is_asked_for(
    invoke: Invoke, store: Path, tmp_path: Path
) -> None:
    for option, endings in (([], {".json", ".yaml"}), (["--format", "yaml"], {".yaml"})):
        new = tmp_path / f"new{len(option)}"
        invoke("copy", store, new, *option)
        assert {path.suffix for path in (new / "sessions").rglob("*.*")} == endings


def test_only_sessions_that_match_are_copied(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    done = invoke("copy", store, tmp_path / "new", "--user", "bob", "--json")
    assert json.loads(done.stdout) == {
        "dry_run": False,
        "added": ["linz-1"],
        "extended": [],
        "unchanged": 0,
        "runs": 1,
        "differences": [],
        "skipped": [],
    }


def test_what_is_not_copied_is_named_and_the_exit_code_is_1(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    path = JsonStorage(store).path("graz-1")
    path.write_bytes(b"{")
    done = invoke("copy", store, tmp_path / "new")
    assert (done.exit_code, done.stdout) == (1, "Copied 2 new sessions (13 runs).\n")
    assert f"localstore: Not copied: session 'graz-1': {path}, line 1" in done.stderr


def test_a_dry_run_names_what_would_be_refused(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    """It counted a number that only a document can hold as copied, whether the other store existed or not."""
    path = JsonStorage(store).path("graz-1")
    path.write_text(path.read_text().replace('"kind"', '"x": 100000000000000000000,\n  "kind"', 1))
    for to in ([f"sqlite:///{tmp_path}/new.db"], [tmp_path / "new", "--format", "yaml"]):
        for _ in range(2):
            planned, done = invoke("copy", store, *to, "--dry-run"), invoke("copy", store, *to)
            assert planned.exit_code == done.exit_code == 1
            assert planned.stdout == done.stdout.replace("Copied", "Would copy")
            assert "Not copied: session 'graz-1'" in planned.stderr
    assert invoke("copy", store, tmp_path / "other", "--dry-run").stdout == "Would copy 3 new sessions (14 runs).\n"


def test_different_forms_of_a_run_are_named(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    other = JsonStorage(tmp_path / "other")
    run_id = json.loads(JsonStorage(store).path("graz-1").read_bytes())["history"][0]["run_id"]
    other.append(
        "graz-1",
        Run(run_id=run_id, messages=[Message(role="user", content="other")]),
        user_id="alice",
        entity_id="guide",
    )
    done = invoke("copy", store, tmp_path / "other")
    assert done.exit_code == 0
    assert f"localstore: session 'graz-1': run {run_id} is different in both stores. The other store" in done.stderr


def test_wrong_places_are_refused(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    for source, target, code, problem in (
        (tmp_path / "nowhere", store, 3, f"FROM names '{tmp_path / 'nowhere'}', which does not exist"),
        (store, store, 2, "FROM and TO are the same store."),
        (store, "", 2, "'' is not a folder name"),
        (store, "~/copies", 2, "'~/copies' is not a folder name"),
        (tmp_path, store, 3, "There is no store at"),
    ):
        done = invoke("copy", source, target)
        assert (done.exit_code, done.stdout) == (code, ""), done.stderr
        assert problem in done.stderr


@ci_only
def test_a_killed_copy_is_continued(store: Path, tmp_path: Path) -> None:
    """A process is killed at any moment: the next copy does the rest, and nothing is there twice."""
    storage = JsonStorage(store)
    for number in range(300):
        storage.append(f"many-{number}", Run(run_id=f"r{number}"))
    target = JsonStorage(tmp_path / "target")
    for wanted in (20, 120):
        process = subprocess.Popen(
            [ENTRY_POINT, "copy", store, target.root], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 60
        while len(list(target.root.glob("sessions/*/*"))) < wanted and process.poll() is None:
            assert time.monotonic() < end
        process.kill()
        process.wait()
    done = storage.copy_to(target)
    assert not done.skipped
    assert {info.session_id: info.runs for info in target.sessions()} == {
        info.session_id: info.runs for info in storage.sessions()
    }
    assert not list(storage.copy_to(target).added)


def _large(storage: JsonStorage) -> None:
    """Store so much that several processes copy it."""
    run = Run(run_id="r1", messages=[Message(role="user", content="x" * 210_000)])
    with storage.bulk():
        for number in range(160):
            storage.append(f"large-{number}", run)


@ci_only
@pytest.mark.parametrize("how", ["Ctrl-C", "kill"])
def test_a_copy_by_several_processes_that_is_stopped_leaves_none_and_is_continued(
    how: str, store: Path, tmp_path: Path
) -> None:
    """Ctrl-C reaches all processes of the group: exit code 130 and one line."""
    storage, url = JsonStorage(store), postgres(tmp_path)
    _large(storage)
    process = subprocess.Popen(
        [ENTRY_POINT, "copy", store, url, "--jobs", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    end = time.monotonic() + 60
    while len(others := _children(process.pid)) < 3 and process.poll() is None:  # with the tracker of multiprocessing
        assert time.monotonic() < end
    if how == "kill":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    if how == "Ctrl-C":
        assert "Traceback" not in errors
        assert (process.returncode, out, errors.splitlines()[-1]) == (130, "", "localstore: Interrupted.")
    while any(map(_is_running, others)):
        assert time.monotonic() < end
    done = subprocess.run([ENTRY_POINT, "copy", store, url], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open_storage(url) as target:
        assert sorted(target) == sorted(storage)
        assert storage.copy_to(target).unchanged == len(storage)


def _children(parent: int) -> list[int]:
    task = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in task.read_text().split()] if task.exists() else []


def _is_running(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False
