"""`localstore rate`: find a run and rate it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run
from tests import oracle

from .test_check import state_of

Invoke = Callable[..., Result]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


def ratings(store: Path, session_id: str) -> list[tuple[object, object]]:
    history = oracle.sessions(store)[session_id].history
    return [(run.get("rating"), run.get("rating_note")) for run in history if run["type"] == "run"]


@pytest.fixture
def ids(store: Path) -> Path:
    """Store a session `ids` whose runs have similar ids."""
    for run_id in ("abc1", "abc2", "b\x1b", "77", "9x"):
        JsonStorage(store).append("ids", Run(run_id=run_id, messages=[Message(role="user", content=f"q {run_id}")]))
    return store


@pytest.mark.parametrize("session_id", ["graz-1", "linz-1"])
def test_a_run_is_rated_and_shown_with_it(invoke: Invoke, store: Path, session_id: str) -> None:
    done = invoke("rate", session_id, "1", "good", "--note", "well\nsaid", "--store", store)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"Run 1 of {session_id} is now rated good\n", "")
    assert ratings(store, session_id) == [("good", "well\nsaid")]
    shown = invoke("show", session_id, "--store", store).stdout
    assert "\n  rating  good\n  rating_note\n    well\n    said\n" in shown
    (run,) = json.loads(invoke("show", session_id, "--json", "--store", store).stdout)["history"]
    assert list(run)[-3:] == ["rating", "rating_note", "status"]
    done = invoke("rate", session_id, "-1", "--remove", "--store", store)
    assert (done.exit_code, done.stdout) == (0, f"Run 1 of {session_id} no longer has a rating\n")
    assert ratings(store, session_id) == [(None, None)]


@pytest.mark.parametrize(
    ("named", "number"),
    [
        ("abc1", 0),
        ("abc2", 1),
        ("b", 2),
        ("b\\x1b", 2),
        ("77", 3),
        ("9x", 4),
        ("1", 0),
        ("5", 4),
        ("-5", 0),
        ("-1", 4),
    ],
)
def test_a_run_is_found_by_id_number_or_beginning_of_the_id(invoke: Invoke, ids: Path, named: str, number: int) -> None:
    done = invoke("rate", "ids", named, "bad", "--store", ids)
    assert done.exit_code == 0, done.stderr
    assert [place for place, (rating, _) in enumerate(ratings(ids, "ids")) if rating == "bad"] == [number]


@pytest.mark.parametrize("number", ["7", "9", "1234567"])
def test_a_number_that_no_run_has_is_not_the_beginning_of_an_id(invoke: Invoke, ids: Path, number: str) -> None:
    """`edit --drop-run 7` took another run out of a session with five, one time in sixteen."""
    JsonStorage(ids).append("ids", Run(run_id="12345678-a"))
    done = invoke("rate", "ids", number, "good", "--store", ids)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith(f"localstore: No run of 'ids' matches '{number}'. Give the number or the id of one:")
    assert invoke("rate", "ids", "12345678", "good", "--store", ids).exit_code == 0


def test_an_ambiguous_run_lists_candidates(invoke: Invoke, ids: Path) -> None:
    before = state_of(ids)
    done = invoke("rate", "ids", "abc", "good", "--store", ids)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        "localstore: 2 runs have an id that begins with 'abc'. Give the whole id of one:\n"
        "    1  abc1  q abc1\n    2  abc2  q abc2\n"
    )
    for named in ("x", "6", "-6", "0", "٣"):
        done = invoke("rate", "ids", named, "good", "--store", ids)
        assert (done.exit_code, done.stdout) == (3, "")
        lines = done.stderr.splitlines()
        assert lines[0] == f"localstore: No run of 'ids' matches '{named}'. Give the number or the id of one:"
        assert lines[1:3] == ["    5  9x  q 9x", "    4  77  q 77"]
        assert "\x1b" not in done.stderr
    assert state_of(ids) == before


def test_json_prints_the_new_rating(invoke: Invoke, store: Path) -> None:
    done = invoke("rate", "graz-1", "1", "bad", "--note", "no", "--json", "--store", store)
    run_id = oracle.sessions(store)["graz-1"].history[0]["run_id"]
    said = {"session_id": "graz-1", "run_id": run_id, "rating": "bad", "rating_note": "no"}
    assert json.loads(done.stdout) == said
    done = invoke("rate", "graz-1", run_id[:8], "--remove", "--json", "--store", store)
    assert json.loads(done.stdout) == {"session_id": "graz-1", "run_id": run_id}


@pytest.mark.parametrize(
    "args",
    [
        ("graz-1", "1"),
        ("graz-1", "1", "great"),
        ("graz-1", "1", "good", "--remove"),
        ("graz-1", "1", "--remove", "--note", "x"),
        ("graz-1", "", "good"),
        ("graz-1", "1", "good", "--nonsense"),
        ("graz-1",),
    ],
)
def test_wrong_usage(invoke: Invoke, store: Path, args: tuple[str, ...]) -> None:
    done = invoke("rate", *args, "--store", store)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore rate --help'.\n")
    assert ratings(store, "graz-1") == [(None, None)]


def test_a_session_without_runs_and_a_missing_session(invoke: Invoke, store: Path) -> None:
    JsonStorage(store).append("bare", Run(run_id="r"))
    session = JsonStorage(store).read("bare")
    assert session is not None
    session.history.clear()
    JsonStorage(store).upsert(session)
    done = invoke("rate", "bare", "1", "good", "--store", store)
    assert (done.exit_code, done.stderr) == (3, "localstore: Session 'bare' has no runs.\n")
    assert invoke("rate", "nobody", "1", "good", "--store", store).exit_code == 3


@posix
def test_a_narrow_terminal_shows_the_candidates(store: Path) -> None:
    from .pseudo_terminal import on_terminal

    screen = on_terminal("rate", "vienna-trip", "x", "good", "--store", store, cwd=store, columns=40)
    assert screen.code == 3
    assert screen.lines[0].startswith("localstore: No run of 'vienna-trip' matches 'x'.")
    assert "question 12" in screen.lines[1]
    assert screen.lines[-1] == "  … and 2 more"
