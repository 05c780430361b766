"""`localstore redact`, and `export --redact`: wiring, output, exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from localstore import JsonStorage, Message, Run
from tests.effort import ci_only

from .conftest import Command

ADDRESS = "alice@example.com"
posix = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")


@pytest.fixture
def leaky(store: Path) -> Path:
    """The store of these tests, with an address in two sessions."""
    storage = JsonStorage(store)
    question = Message(role="user", content=f"mail {ADDRESS}\n\x1b[31m or {ADDRESS} 🚄")
    storage.append("graz-1", Run(messages=[question, Message(role="assistant", content="Done.")]))
    storage.append("own", Run(messages=[Message(role="user", content="hi")]), user_id=ADDRESS)
    storage.update("own", name=f"of {ADDRESS}")
    return store


def test_a_dry_run_in_a_pipe(run: Command, leaky: Path) -> None:
    """One line for each place, and nothing is changed; ids are named and left alone."""
    done = run("redact", "graz-1", "own", "--secrets", "--dry-run", "--store", leaky)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "graz-1\thistory[1].messages[0].content\temail\t2\tmail [redacted email] \\x1b[31m or [redacted emai…",
        "own\tname\temail\t1\tof [redacted email]",
    ]
    assert done.stderr.splitlines() == [
        "localstore: user_id of own matches email. Ids are not changed.",
        "localstore: Would replace 3 matches in 2 documents.",
    ]
    assert ADDRESS in JsonStorage(leaky).path("graz-1").read_text()


def test_what_is_replaced_is_in_a_backup_that_restore_brings_back(run: Command, leaky: Path) -> None:
    path = JsonStorage(leaky).path("graz-1")
    before = path.read_bytes()
    done = run("redact", "graz-1", "own", "--secrets", "--yes", "--store", leaky)
    (name,) = os.listdir(leaky / ".localstore" / "backups")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Replaced 3 matches in 2 documents.")
    assert f"localstore: The old documents, with the secrets, are in backup {name}." in done.stderr.splitlines()
    assert ADDRESS not in path.read_text()
    assert run("search", "alice", "--store", leaky).stdout == ""
    assert run("backups", "--store", leaky).stdout.split("\t")[1] == "redact"
    refused = run("upgrade", "--undo", "--store", leaky)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert f"'localstore restore --kind backup {name}'" in refused.stderr
    assert run("restore", "--kind", "backup", name, "--yes", "--store", leaky).returncode == 0
    assert path.read_bytes() == before


def test_a_session_that_an_agent_may_be_writing_to_is_named_before(run: Command, leaky: Path) -> None:
    run_now = Run(messages=[Message(role="user", content=ADDRESS)], status="unfinished")
    JsonStorage(leaky).append("own", run_now)
    done = run("redact", "own", "graz-1", "--secrets", "--dry-run", "--store", leaky)
    lines = [line for line in done.stderr.splitlines() if "unfinished" in line]
    assert [line.partition(". If ")[0] for line in lines] == ["localstore: The last run of own is unfinished"]


def test_json(run: Command, leaky: Path) -> None:
    args = ("redact", "own", "--pattern", "of", "--pattern", "H|h", "--json", "--store", leaky)
    found = json.loads(run(*args, "--dry-run").stdout)
    place = {"session_id": "own", "rule": "pattern", "count": 1, "is_id": False}
    assert found["places"] == [
        {**place, "place": "name", "excerpt": f"[redacted] {ADDRESS}"},
        {**place, "place": "history[0].messages[0].content", "excerpt": "[redacted]i"},
    ]
    assert (found["documents"], found["backup"], found["problems"]) == (1, None, [])
    done = json.loads(run(*args, "--yes").stdout)
    assert done["places"] == found["places"]
    assert done["backup"] is not None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("own",), "Give --pattern REGEX, --secrets, or both."),
        (("own", "--secrets"), "No terminal to ask on. Add --yes to redact, or --dry-run to look first."),
        (("own", "--secrets", "--yes", "--dry-run"), "--dry-run and --yes cannot be combined."),
        (("@1", "--secrets", "--yes"), "@1 may be another session by now."),
        (("own", "--pattern", "(", "--yes"), "'(' is not a regular expression:"),
        (("--secrets", "--yes"), "Missing argument 'SESSION...'."),
    ],
)
def test_wrong_usage_is_one_line(run: Command, leaky: Path, args: tuple[str, ...], said: str) -> None:
    done = run("redact", *args, "--store", leaky)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"localstore: {said}")
    assert done.stderr.endswith("See 'localstore redact --help'.\n")
    assert done.stderr.count("\n") == 1


def test_nothing_found_and_nobody_there(run: Command, leaky: Path) -> None:
    done = run("redact", "linz-1", "--secrets", "--yes", "--store", leaky)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "localstore: No secrets were found.\n")
    done = run("redact", "linz-1", "--pattern", "xyz", "--dry-run", "--store", leaky)
    assert (done.returncode, done.stderr) == (0, "localstore: Nothing matches.\n")
    assert run("redact", "linz-1", "nobody", "--secrets", "--yes", "--store", leaky).returncode == 3


def test_a_document_that_cannot_be_redacted_is_named(run: Command, leaky: Path) -> None:
    path = JsonStorage(leaky).path("own")
    path.write_text(path.read_text().replace('"history"', '"n": 1e400, "history"'))
    done = run("redact", "own", "graz-1", "--secrets", "--yes", "--store", leaky)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"localstore: {path}")
    assert "Replaced 2 matches in 1 document." in done.stdout


def test_an_export_has_no_secrets_and_changes_nothing(run: Command, leaky: Path) -> None:
    """Neither in texts nor in ids, in every format."""
    for form in ("markdown", "html", "json", "openai-jsonl", "atif"):
        plain, redacted = (
            run("export", "own", "graz-1", "--format", form, *more, "--store", leaky).stdout
            for more in ((), ("--redact",))
        )
        assert ADDRESS in plain
        assert ADDRESS not in redacted
        assert "redacted email" in redacted
    assert ADDRESS in JsonStorage(leaky).path("own").read_text()


@ci_only
@posix
@pytest.mark.parametrize("typed", ["y\n", "n\n"])
def test_a_terminal_shows_the_places_and_asks(leaky: Path, tmp_path: Path, typed: str) -> None:
    from .pseudo_terminal import on_terminal

    args = ("redact", "graz-1", "own", "--secrets", "--store", leaky)
    screen = on_terminal(*args, cwd=tmp_path, columns=140, typed=typed.encode())
    assert screen.code == 0
    assert "Replace 3 matches in 2 documents? [y/N]" in screen.text
    assert ("Nothing was changed." in screen.text) == (typed == "n\n")
    assert (ADDRESS in JsonStorage(leaky).path("graz-1").read_text()) == (typed == "n\n")
    assert "\x1b[31m or" not in screen.raw
