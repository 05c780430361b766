"""`localstore tag`: add, remove and print tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage
from tests import oracle
from tests.effort import rounds

from .conftest import Command
from .test_check import state_of

Invoke = Callable[..., Result]


def tags(store: Path, session_id: str = "graz-1") -> object:
    return oracle.sessions(store)[session_id].header.get("tags")


@pytest.mark.parametrize("session_id", ["graz-1", "linz-1"])
def test_tags_are_added_once_in_their_order(invoke: Invoke, store: Path, session_id: str) -> None:
    """The command prints the resulting tags."""
    assert invoke("tag", session_id, "b", "a", "b", "--store", store).stdout == "b\na\n"
    done = invoke("tag", session_id, "c", "a", "--store", store)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "b\na\nc\n", "")
    assert tags(store, session_id) == ["b", "a", "c"]
    assert json.loads(invoke("tag", session_id, "--json", "--store", store).stdout) == ["b", "a", "c"]


def test_tags_are_removed(invoke: Invoke, store: Path) -> None:
    """Removing a missing tag is no error; removing the last tag removes the key."""
    invoke("tag", "graz-1", "a", "b", "--store", store)
    assert invoke("tag", "graz-1", "--remove", "a", "x", "--store", store).stdout == "b\n"
    assert invoke("tag", "graz-1", "--remove", "b", "--json", "--store", store).stdout == "[]\n"
    assert tags(store) is None


def test_without_a_tag_nothing_is_written(invoke: Invoke, store: Path) -> None:
    """Nor is anything written for tags that the session already has."""
    invoke("tag", "graz-1", "a", "b", "--store", store)
    before = state_of(store)
    assert invoke("tag", "graz-1", "--store", store).stdout == "a\nb\n"
    assert invoke("tag", "graz-1", "b", "--store", store).stdout == "a\nb\n"
    assert state_of(store) == before
    assert invoke("tag", "linz-1", "--store", store).stdout == ""


def test_tags_with_control_characters_stay_on_their_lines(invoke: Invoke, store: Path) -> None:
    """A tag may also look like an option."""
    done = invoke("tag", "graz-1", "--store", store, "--", "a\nb\x1b", "ü", "--json")
    assert done.stdout == "a\\nb\\x1b\nü\n--json\n"
    assert tags(store) == ["a\nb\x1b", "ü", "--json"]


@pytest.mark.parametrize("args", [(), ("graz-1", ""), ("graz-1", "--remove"), ("", "x")])
def test_wrong_usage(invoke: Invoke, store: Path, args: tuple[str, ...]) -> None:
    done = invoke("tag", *args, "--store", store)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore tag --help'.\n")


def test_a_missing_session(invoke: Invoke, store: Path) -> None:
    assert invoke("tag", "nobody", "x", "--store", store).exit_code == 3


def test_processes_that_tag_at_the_same_time_lose_no_tag(run_process: Command, store: Path) -> None:
    """Threads ran the command in this process, and left it in the working directory of one of them."""
    many = rounds(2, 8, 8)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda n: run_process("tag", "graz-1", f"tag-{n}", "--store", store), range(many)))
    assert [one.returncode for one in done] == [0] * many
    session = JsonStorage(store).read("graz-1")
    assert session is not None
    assert sorted(session.tags) == [f"tag-{number}" for number in range(many)]
