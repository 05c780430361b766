"""`localstore archive` and `unarchive`: archived sessions stay, and `ls`, `rm` and `prune` leave them out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import Filter, JsonStorage
from tests import oracle

from .test_check import document, state_of

Invoke = Callable[..., Result]


def listed(invoke: Invoke, store: Path, *args: str) -> list[str]:
    done = invoke("ls", "--json", *args, "--store", store)
    assert done.exit_code == 0
    return [row["session_id"] for row in json.loads(done.stdout)]


def test_an_archived_session_is_listed_on_request_only(invoke: Invoke, store: Path) -> None:
    """The library lists it as before. Its activity is the same, and so is the document afterwards."""
    before, raw = listed(invoke, store), document(store, "vienna-trip").read_bytes()
    done = invoke("archive", "Trip to Vienna", "--store", store)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "vienna-trip is archived\n", "")
    assert listed(invoke, store) == ["linz-1", "graz-1"]
    assert listed(invoke, store, "--archived") == before == JsonStorage(store).get_all_session_ids()
    assert listed(invoke, store, "--tag", "archived") == ["vienna-trip"]
    assert listed(invoke, store, "--user", "alice") == ["graz-1"]
    assert invoke("path", "@1", "--store", store).stdout.endswith("linz-1.yaml\n")
    assert "linz-1" in invoke("show", "--last", "0", "--store", store).stdout
    assert invoke("search", "question", "--limit", "1", "--store", store).stdout.startswith("vienna-trip")
    again = invoke("unarchive", "vienna-trip", "--store", store)
    assert (again.exit_code, again.stdout) == (0, "vienna-trip is no longer archived\n")
    assert listed(invoke, store) == before
    assert document(store, "vienna-trip").read_bytes() == raw


def test_several_sessions(invoke: Invoke, store: Path) -> None:
    """If all are archived, ls says so."""
    done = invoke("archive", "graz-1", "linz-1", "vienna-trip", "--store", store)
    assert done.stdout == "3 sessions are archived\n"
    empty = invoke("ls", "--store", store)
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert empty.stderr == "localstore: All of them are archived. 'localstore ls --archived' lists them.\n"
    assert invoke("show", "--last", "0", "--store", store).exit_code == 0
    assert JsonStorage(store).count(Filter(archived=True)) == 3
    assert JsonStorage(store).count(Filter(archived=False)) == 0


@pytest.mark.parametrize("command", ["archive", "unarchive"])
def test_a_wrong_name_changes_nothing(invoke: Invoke, store: Path, command: str) -> None:
    before = state_of(store)
    done = invoke(command, "graz-1", "nobody", "--store", store)
    assert (done.exit_code, done.stdout) == (3, "")
    assert invoke(command, "--store", store).exit_code == 2
    assert state_of(store) == before


@pytest.mark.parametrize("args", [("prune", "--older-than", "1h"), ("rm", "--until", "yesterday")])
def test_what_filters_remove_does_not_include_archived_sessions(
    invoke: Invoke, store: Path, args: tuple[str, ...]
) -> None:
    invoke("archive", "graz-1", "--store", store)
    assert invoke(*args, "--yes", "--store", store).exit_code == 0
    assert set(oracle.sessions(store)) == {"graz-1"}
    assert invoke(*args, "--archived", "--yes", "--store", store).exit_code == 0
    assert set(oracle.sessions(store)) == set()
    assert invoke("rm", "--archived", "--yes", "--store", store).exit_code == 2


def test_a_filter_for_archived_sessions(store: Path) -> None:
    storage = JsonStorage(store)
    storage.archive("graz-1")
    storage.archive(["graz-1"])
    assert [info.session_id for info in storage.sessions(Filter(archived=True))] == ["graz-1"]
    assert storage.list_sessions(where=Filter(archived=True))[0].tags == ("archived",)
    storage.unarchive("graz-1")
    assert storage.count(Filter(archived=True)) == 0
    with pytest.raises(TypeError, match="archived must be"):
        Filter(archived="yes")  # type: ignore[arg-type]
