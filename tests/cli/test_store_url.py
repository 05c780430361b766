"""Commands with `--store URL`: sessions in a database are listed, shown and changed like those in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from pymongo import MongoClient

from localstore import Run, open_storage
from tests.cli.database_urls import postgres
from tests.contract.storages import name_of
from tests.effort import ci_only
from tests.mongo import mongo_url
from tests.postgres import PASSWORD
from tests.unit.databases.test_sql_upgrade import first_rows
from tests.unit.maintenance.importing.test_agno import database

Invoke = Callable[..., Result]


def done(result: Result) -> str:
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return result.stdout


def test_what_looks_prints_the_same_as_for_a_folder(invoke: Invoke, url: str, store: Path) -> None:
    for args in (
        ["ls"],
        ["ls", "--user", "alice", "--sort", "runs"],
        ["show", "linz", "--last", "1", "--messages"],
        ["show", "vienna-trip", "--run", "-1", "--tools"],
        ["search", "Fog"],
        ["stats", "--by", "user,entity"],
        ["export", "--format", "markdown"],
        ["export", "--format", "json", "--user", "bob"],
        ["state", "vienna-trip"],
        ["tag", "vienna-trip"],
    ):
        assert done(invoke(*args, "--store", url)) == done(invoke(*args, "--store", store)), args


def test_sessions_are_changed(invoke: Invoke, url: str) -> None:
    done(invoke("rename", "graz-1", "Rain in Graz", "--store", url))
    done(invoke("tag", "graz-1", "rain", "--store", url))
    done(invoke("rate", "graz-1", "1", "good", "--note", "true", "--store", url))
    done(invoke("archive", "linz-1", "--store", url))
    with open_storage(url) as storage:
        session = storage.read("graz-1")
        assert session is not None
        assert (session.name, session.tags) == ("Rain in Graz", ["rain"])
        assert (session.runs[0].rating, session.runs[0].rating_note) == ("good", "true")
    assert [line.split("\t")[0] for line in done(invoke("ls", "--store", url)).splitlines()] == [
        "vienna-trip",
        "graz-1",
    ]


def test_the_state_is_replaced(invoke: Invoke, url: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"city": "Graz"}')
    result = invoke("state", "graz-1", "--set", tmp_path / "state.json", "--store", url)
    assert result.stderr == "localstore: The session_state of graz-1 was stored.\n"
    assert json.loads(done(invoke("state", "graz-1", "--store", url))) == {"city": "Graz"}


def test_sessions_go_to_the_trash_and_come_back(invoke: Invoke, url: str) -> None:
    assert "is in the trash. Restore it with: localstore restore" in done(invoke("rm", "graz-1", "--store", url))
    assert done(invoke("rm", "--user", "bob", "--yes", "--store", url)).startswith("linz-1 is in the trash.")
    assert len(done(invoke("restore", "--store", url)).splitlines()) == 2
    assert done(invoke("restore", "graz-1", "--store", url)) == "graz-1 is back\n"
    assert done(invoke("rm", "--empty-trash", "--yes", "--store", url)) == "1 document deleted permanently\n"
    assert len(done(invoke("ls", "--store", url)).splitlines()) == 2


def test_old_sessions_are_pruned(invoke: Invoke, url: str, store: Path) -> None:
    for args in (["--keep", "1", "--dry-run"], ["--user", "bob", "--dry-run", "--json"]):
        found, expected = (invoke("prune", *args, "--store", one) for one in (url, store))
        assert found.exit_code == expected.exit_code == 0
        assert [line.split("\t")[0] for line in found.stdout.splitlines() if "\t" in line] == [
            line.split("\t")[0] for line in expected.stdout.splitlines() if "\t" in line
        ]
    assert done(invoke("prune", "--keep", "1", "--yes", "--store", url)).startswith("2 sessions are in the trash.")
    assert len(done(invoke("ls", "--store", url)).splitlines()) == 1


def test_sessions_of_other_programs_are_imported(invoke: Invoke, url: str, store: Path, tmp_path: Path) -> None:
    done(invoke("export", "--format", "atif", "--user", "alice", "--output", tmp_path / "atif.jsonl", "--store", store))
    other = f"sqlite:///{tmp_path}/imported.db"
    args = ["import", "atif", tmp_path / "atif.jsonl"]
    assert invoke(*args, "--dry-run", "--store", other).stdout.startswith("Would import 2 new sessions")
    assert done(invoke(*args, "--store", other)).startswith("Imported 2 new sessions")
    assert done(invoke(*args, "--store", other)).startswith("Imported 0 new sessions")
    assert len(done(invoke("ls", "--store", other)).splitlines()) == 2


def test_it_is_checked_and_upgraded(invoke: Invoke, url: str) -> None:
    assert done(invoke("check", "--store", url)) == "3 sessions, no findings\n"
    assert done(invoke("check", "--json", "--store", url)) == "[]\n"
    assert done(invoke("upgrade", "--store", url)) == "Nothing to do.\n"
    assert done(invoke("upgrade", "--dry-run", "--store", url)) == "version\t1\t3\n"
    result = invoke("upgrade", "--undo", "--store", url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "was not upgraded, so there is nothing to undo" in result.stderr


def test_a_fork_is_compared(invoke: Invoke, url: str) -> None:
    with open_storage(url) as storage:
        storage.fork("vienna-trip", new_id="fork")
    assert done(invoke("diff", "fork", "--store", url)) == ""


def test_copies_go_in_all_directions(invoke: Invoke, url: str, store: Path, tmp_path: Path) -> None:
    assert done(invoke("copy", store, url)) == "Copied 0 new sessions (0 runs). 3 sessions had nothing new.\n"
    assert "Copied 3 new sessions (14 runs).\n" in invoke("copy", url, tmp_path / "back").stdout
    assert done(invoke("copy", url, store, "--dry-run")).startswith("Would copy 0 new sessions")
    other = f"sqlite:///{tmp_path}/other.db"
    assert done(invoke("copy", url, other)) == "Copied 3 new sessions (14 runs).\n"
    refused = invoke("copy", url, url)
    assert (refused.exit_code, "FROM and TO are the same store" in refused.stderr) == (2, True)


@ci_only
def test_no_command_shows_the_password(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    url = postgres(tmp_path)
    shown = ""
    for args in (
        ["copy", store, url, "--dry-run"],
        ["ls", "--store", url],
        ["copy", store, url],
        ["rm", "--user", "alice", "--user", "bob", "--yes", "--store", url],
        ["check", "--store", url],
        ["path", "linz-1", "--store", url],
        ["edit", "linz-1", "--store", url],
        ["merge", "--store", url],
        ["merge", url, "--store", store],
        ["stats", "--user", "nobody", "--store", url],
        ["show", "nobody", "--store", url],
        ["copy", url, url],
    ):
        result = invoke(*args)
        assert "bug in localstore" not in result.stderr
        shown += result.output
    assert "There is no store in" in shown
    assert PASSWORD not in shown


@pytest.mark.parametrize(
    "args",
    [
        ["path", "graz-1"],
        ["convert", "--to", "yaml"],
        ["rescue"],
        ["backups"],
        ["restore", "--kind", "backup"],
        ["check", "--repair"],
        ["diff", "graz-1", "--backup", "x"],
    ],
    ids=" ".join,
)
def test_what_needs_files_says_so(invoke: Invoke, args: list[str], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    with open_storage(url) as storage:
        storage.append("graz-1", Run(run_id="r1"))
    result = invoke(*args, "--store", url)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "has no file" in result.stderr or "works on a folder" in result.stderr
    assert "localstore " in result.stderr.partition("localstore: ")[2]
    if args[0] in ("restore", "check", "diff"):  # without this option they work on databases, too
        assert {"--kind", "--repair", "--backup"}.intersection(args).pop() in result.stderr


def test_a_table_of_agno_is_previewed_upgraded_and_brought_back(invoke: Invoke, tmp_path: Path) -> None:
    url = f"sqlite:///{database(tmp_path / 'agno.db', agent_sessions=first_rows(2))}"
    result = invoke("ls", "--store", url)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "localstore upgrade --store URL" in result.stderr
    assert "--jobs cannot be combined with a database" in invoke("upgrade", "--jobs", "2", "--store", url).stderr
    assert done(invoke("upgrade", "--dry-run", "--store", url)).startswith("version\t0\t2\nstep\t1\t")
    assert invoke("upgrade", "--dry-run", url).stdout == invoke("upgrade", "--dry-run", "--store", url).stdout
    plan = json.loads(done(invoke("upgrade", "--dry-run", "--json", "--store", url)))
    assert (plan["documents"], plan["problems"]) == (2, [])
    diff = done(invoke("upgrade", "--diff", "--store", url))
    assert diff.startswith("--- a/s000.json\n+++ b/s000.json\n")
    assert '+  "schema_version": 1,' in diff
    result = invoke("upgrade", "--store", url)
    assert (result.exit_code, result.stdout) == (0, "Upgraded 2 documents to version 1.\n")
    assert "are in table agent_sessions_agno. Undo with: localstore upgrade --undo --store sqlite:" in result.stderr
    assert done(invoke("upgrade", "--store", url)) == "Nothing to do.\n"
    assert done(invoke("check", "--store", url)) == "2 sessions, no findings\n"
    assert done(invoke("upgrade", "--undo", "--store", url)) == "Restored 2 documents of table agent_sessions_agno.\n"
    result = invoke("upgrade", "--undo", "--store", url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nothing to undo" in result.stderr


@ci_only
def test_a_collection_of_agno_is_upgraded_and_brought_back(invoke: Invoke, tmp_path: Path) -> None:
    url = f"{mongo_url()}/{name_of(tmp_path)}"
    with MongoClient[dict[str, Any]](mongo_url()) as client:
        client[name_of(tmp_path)]["agent_sessions"].insert_many(first_rows(2))
    assert done(invoke("upgrade", "--dry-run", "--store", url)).startswith("version\t0\t2\nstep\t1\t")
    assert '+  "schema_version": 1,' in done(invoke("upgrade", "--diff", "--store", url))
    result = invoke("upgrade", "--store", url)
    assert (result.exit_code, result.stdout) == (0, "Upgraded 2 documents to version 1.\n")
    assert (
        "are in collection agent_sessions_agno. Undo with: localstore upgrade --undo --store mongodb:" in result.stderr
    )
    undone = "Restored 2 documents of collection agent_sessions_agno.\n"
    assert done(invoke("upgrade", "--undo", "--store", url)) == undone
    assert invoke("upgrade", "--undo", "--store", url).exit_code == 3


def test_the_environment_variable_takes_a_url(
    invoke: Invoke, url: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = done(invoke("ls", "--store", store))
    monkeypatch.setenv("LOCALSTORE_DIR", url)
    assert done(invoke("ls")) == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://alice:s3cret@127.0.0.1:1/db?connect_timeout=1", "postgresql://alice@127.0.0.1:1/db"),
        ("mongodb://alice:s3cret@127.0.0.1:1/db?serverSelectionTimeoutMS=300", "mongodb://127.0.0.1:1/db"),
        ("redis://alice:s3cret@host/1", "redis://alice:***@host/1 is not the URL of a store"),
        ("sqlite://", "names no file, so nothing would be kept. Use sqlite:///FILE, postgresql://"),
        ("mongodb://alice:s3cret@", "is not the URL of a store"),
        ("postgresql://alice:s3cret@host:port/db", "is not the URL of a store"),
        ("sqlite:////nowhere/at/all/s3.db", ""),
    ],
)
@pytest.mark.parametrize("args", [["ls"], ["copy", "{store}", "{url}"], ["path", "x"]], ids=lambda args: args[0])
def test_a_wrong_url_is_one_error_without_the_password(
    invoke: Invoke, store: Path, url: str, problem: str, args: list[str]
) -> None:
    given = [arg.format(store=store, url=url) for arg in args]
    result = invoke(*given) if args[0] == "copy" else invoke(*given, "--store", url)
    assert result.exit_code in (3, 4, 5)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "s3cret" not in result.stderr
    assert "bug in localstore" not in result.stderr
    if args[0] != "path":
        assert problem in result.stderr
