"""`localstore prune`, and `rm` with filters: what the criteria select goes to the trash, after a question."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run
from localstore.maintenance.trash import trashed
from tests import oracle

from .test_check import state_of

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")


@pytest.fixture
def aged(tmp_path: Path) -> Path:
    """A store with four sessions, `s1` the least recently active; `s3` is large and not alice's."""
    storage = JsonStorage(tmp_path / "store", durability="relaxed")
    for number in range(1, 5):
        text = "long " * 500 if number == 3 else "short"
        run = Run(messages=[Message(role="user", content=text)], created_at=f"2026-01-0{number}T10:00:00.000Z")
        storage.append(f"s{number}", run, user_id="bob" if number == 3 else "alice")
    return storage.root


def left(store: Path) -> set[str]:
    return set(oracle.sessions(store))


@pytest.mark.parametrize(
    ("args", "gone"),
    [
        (("--older-than", "1h"), {"s1", "s2", "s3", "s4"}),
        (("--older-than", "9999w"), set()),
        (("--keep", "3"), {"s1"}),
        (("--keep", "1", "--user", "alice"), {"s1", "s2"}),
        (("--keep", "9"), set()),
        (("--larger-than", "2kB"), {"s3"}),
        (("--larger-than", "0.0001 GiB"), set()),
        (("--older-than", "1h", "--keep", "1", "--larger-than", "2KiB"), {"s3"}),
        (("--until", "2026-01-02T12:00Z"), {"s1", "s2"}),
        (("--until", "2026-01-02T12:00Z", "--older-than", "1h"), {"s1", "s2"}),
    ],
)
def test_the_sessions_that_match_all_criteria_are_moved(
    invoke: Invoke, aged: Path, args: tuple[str, ...], gone: set[str]
) -> None:
    """A dry run names them and changes nothing."""
    before = state_of(aged)
    dry = invoke("prune", *args, "--dry-run", "--json", "--store", aged)
    assert {one["session_id"] for one in json.loads(dry.stdout)} == gone
    assert state_of(aged) == before
    done = invoke("prune", *args, "--yes", "--store", aged)
    assert done.exit_code == 0
    assert left(aged) == {"s1", "s2", "s3", "s4"} - gone
    assert {one.session_id for one in trashed(aged)} == gone


def test_a_dry_run_lists_the_sessions_and_adds_up_their_bytes(invoke: Invoke, aged: Path) -> None:
    done = invoke("prune", "--keep", "2", "--dry-run", "--store", aged)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:3] for row in rows] == [
        ["s2", "short", "2026-01-02T10:00:00.000Z"],
        ["s1", "short", "2026-01-01T10:00:00.000Z"],
    ]
    assert (
        done.stderr == f"localstore: Would move 2 sessions ({sum(int(row[3]) for row in rows):,} bytes) to the trash.\n"
    )


@pytest.mark.parametrize("args", [("prune", "--keep", "2"), ("rm", "--user", "alice"), ("rm", "s1", "--user", "alice")])
def test_without_a_terminal_it_needs_yes(invoke: Invoke, aged: Path, args: tuple[str, ...]) -> None:
    before = state_of(aged)
    refused = invoke(*args, "--store", aged)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "No terminal to ask on. Add --yes to move " in refused.stderr
    assert state_of(aged) == before
    assert invoke(*args, "--yes", "--store", aged).exit_code == 0
    assert "s1" not in left(aged)


def test_many_sessions_are_one_line(invoke: Invoke, aged: Path) -> None:
    for args in (("prune", "--keep", "2", "--yes"), ("rm", "s3", "s4")):
        done = invoke(*args, "--store", aged)
        assert done.stdout == "2 sessions are in the trash. 'localstore restore' lists what is there.\n"
        assert done.stderr == ""


def test_rm_takes_sessions_and_filters_together(invoke: Invoke, aged: Path) -> None:
    done = invoke("rm", "s2", "s3", "--user", "alice", "--yes", "--store", aged)
    assert done.stdout.startswith("s2 is in the trash.")
    assert left(aged) == {"s1", "s3", "s4"}
    again = invoke("rm", "--user", "carol", "--store", aged)  # nothing to ask about
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "localstore: No sessions match. Nothing was moved.\n"


def test_a_document_that_cannot_be_read_is_not_pruned(invoke: Invoke, aged: Path) -> None:
    path = JsonStorage(aged).path("s1")
    path.write_bytes(path.read_bytes()[:-9])
    assert invoke("prune", "--older-than", "1h", "--yes", "--store", aged).exit_code == 0
    assert path.exists()
    assert len(trashed(aged)) == 3


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--yes", "--dry-run"),
        ("--keep", "0"),
        ("--older-than", "90"),
        ("--older-than", "90y"),
        ("--larger-than", "big"),
        ("--larger-than", "-1"),
        ("--since", "soon"),
    ],
)
def test_wrong_usage(invoke: Invoke, aged: Path, args: tuple[str, ...]) -> None:
    before = state_of(aged)
    done = invoke("prune", *args, "--store", aged)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore prune --help'.\n")
    assert state_of(aged) == before


@posix
@pytest.mark.parametrize(("typed", "gone"), [(b"y\n", True), (b"\n", False)])
def test_a_terminal_asks_with_the_count_and_the_bytes(aged: Path, typed: bytes, gone: bool) -> None:
    from .pseudo_terminal import on_terminal

    screen = on_terminal("prune", "--keep", "2", cwd=aged, typed=typed)
    assert "Move 2 sessions (" in screen.text
    assert (left(aged) == {"s3", "s4"}) == gone
    assert ("Nothing was moved." in screen.text) != gone
