"""`localstore convert`: wiring, output, exit codes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage
from tests import oracle

from .agno_folders import agno_bytes, folder_of_agno, in_month, into_a_closed_pipe, old_session, tree_of
from .conftest import Command

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(os.name != "posix", reason="pipes and terminals of POSIX")


def suffixes(store: Path) -> dict[str, str]:
    return {session_id: one.path.suffix for session_id, one in oracle.sessions(store).items()}


def test_the_whole_store(run: Command, store: Path) -> None:
    """The result goes to the standard output; the command that undoes it goes to the standard error."""
    done = run("convert", "--to", "yaml", "--store", store)
    assert (done.returncode, done.stdout) == (0, "Converted 2 documents to YAML.\n")
    (name,) = os.listdir(store / ".localstore" / "backups")
    undo = f"localstore upgrade --undo {store}"
    assert done.stderr == f"localstore: The old documents are in backup {name}. Undo with: {undo}\n"
    assert set(suffixes(store).values()) == {".yaml"}
    again = run("convert", "--to", "yaml", "--store", store)
    assert (again.returncode, again.stdout, again.stderr) == (0, "Nothing to do.\n", "")
    assert run(*undo.split()[1:]).stdout == f"Restored 2 documents of backup {name}.\n"
    assert suffixes(store) == {"graz-1": ".json", "vienna-trip": ".json", "linz-1": ".yaml"}


def test_named_sessions(run: Command, store: Path) -> None:
    """Sessions are found by id, name or beginning of the id."""
    done = run("convert", "--to", "yaml", "Trip to Vienna", "--store", store)
    assert done.stdout == "Converted 1 document to YAML.\n"
    assert run("convert", "--to", "json", "lin", "vienna-trip", "--store", store).stdout.startswith("Converted 2")
    assert suffixes(store) == {"graz-1": ".json", "vienna-trip": ".json", "linz-1": ".json"}
    before = tree_of(store, without=[".localstore/index.sqlite"])
    unknown = run("convert", "--to", "yaml", "graz-1", "nobody", "--store", store)
    assert (unknown.returncode, unknown.stdout) == (3, "")
    assert tree_of(store, without=[".localstore/index.sqlite"]) == before


def test_documents_that_are_not_converted_are_named(run: Command, store: Path) -> None:
    """The error names file, line and reason; the exit code is 1."""
    broken = in_month(JsonStorage(store), "broken.json", b'{\n  "session_id": "broken",\n  "kind" "agent"\n}\n')
    old = in_month(JsonStorage(store), "old.json", agno_bytes(old_session("old"), ".json"))
    done = run("convert", "--to", "yaml", "--json", "--store", store)
    assert done.returncode == 1
    value = json.loads(done.stdout)
    assert value["documents"] == 2
    assert [problem["path"] for problem in value["problems"]] == [str(broken), str(old)]
    assert value["problems"][0]["line"] == 3
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"localstore: {broken}, line 3, column ")
    assert lines[1].startswith(f"localstore: {old}: has schema version 0")
    assert len(lines) == 2


@pytest.mark.parametrize(
    "args", [(), ("--to", "xml"), ("--to", "yaml", ""), ("--to", "yaml", "--jobs", "0"), ("--to", "yaml", "--nonsense")]
)
def test_wrong_usage(run: Command, store: Path, args: tuple[str, ...]) -> None:
    """The error is one line that names the help, and nothing is converted."""
    before = tree_of(store, without=[".localstore/index.sqlite"])
    done = run("convert", *args, "--store", store)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore convert --help'.\n")
    assert tree_of(store, without=[".localstore/index.sqlite"]) == before


def test_without_a_store_or_sessions(run: Command, tmp_path: Path) -> None:
    """No store is exit code 3, a folder of agno gets the command that upgrades it, an empty store has nothing to do."""
    (tmp_path / "nothing").mkdir()
    assert run("convert", "--to", "yaml", cwd=tmp_path / "nothing").returncode == 3
    agno = folder_of_agno(tmp_path / "agno")
    refused = run("convert", "--to", "yaml", "--store", agno)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert f"localstore upgrade {agno}" in refused.stderr
    JsonStorage(tmp_path / "store")
    done = run("convert", "--to", "yaml", "--store", tmp_path / "store", "--jobs", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Nothing to do.\n", "")


@posix
def test_a_terminal_gets_the_same_words(store: Path, tmp_path: Path) -> None:
    """A terminal gets the same words as a pipe."""
    from .pseudo_terminal import on_terminal

    screen = on_terminal("convert", "--to", "yaml", "--store", store, cwd=tmp_path, columns=400)
    assert screen.code == 0
    assert "Converted 2 documents to YAML.\n" in screen.text
    assert "Undo with: localstore upgrade --undo" in screen.text


@posix
def test_a_closed_pipe(store: Path, tmp_path: Path) -> None:
    """The conversion is done even if the reader has gone."""
    code, errors = into_a_closed_pipe(["convert", "--to", "yaml", "--store", store], tmp_path)
    assert code == 141
    assert "Traceback" not in errors
    assert set(suffixes(store).values()) == {".yaml"}


def test_the_missing_format_is_named_in_one_line(run: Command, store: Path) -> None:
    done = run("convert", "--store", store)
    assert (done.returncode, done.stdout) == (2, "")
    expected = "localstore: Missing option '--to'. Choose from: json, yaml. See 'localstore convert --help'.\n"
    assert done.stderr == expected
