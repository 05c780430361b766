"""The options that select sessions, in each command that has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage, Message, Run
from localstore.models.schema import Kind, RunStatus

Invoke = Callable[..., Result]
COMMANDS = {
    "ls": ("ls", "--json"),
    "search": ("search", "common", "--json", "--all"),
    "export": ("export", "--format", "json"),
    "prune": ("prune", "--larger-than", "0", "--dry-run", "--json"),
    "stats": ("stats", "--by", "entity", "--json"),
}


SESSIONS: tuple[tuple[int, str, Kind, RunStatus], ...] = (
    (1, "alice", "agent", "completed"),
    (2, "alice", "team", "error"),
    (3, "bob", "agent", "completed"),
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three sessions that differ in all that a filter knows. The entity of each is its id."""
    storage = JsonStorage(tmp_path_factory.mktemp("mixed") / "store")
    for number, user, kind, status in SESSIONS:
        run = Run(
            run_id="r",
            messages=[Message(role="user", content="common"), Message(role="assistant", content="Yes.")],
            model=f"m{number}",
            status=status,
            error="offline" if status == "error" else None,
            created_at=f"2026-01-0{number}T12:00:00Z",
        )
        storage.append(f"s{number}", run, user_id=user, entity_id=f"s{number}", kind=kind)
        storage.update(f"s{number}", name=f"Trip {number}", tags=["travel", f"t{number}"])
    storage.rate("s3", "r", "bad")
    return storage.root


def selected(command: str, output: str) -> list[str]:
    rows = json.loads(output)
    if command == "stats":
        return sorted(group["entity"] for group in rows["groups"])
    return sorted(row["session_id"] for row in rows)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), ["s1", "s2", "s3"]),
        (("--user", "alice"), ["s1", "s2"]),
        (("--entity", "s2"), ["s2"]),
        (("--kind", "agent"), ["s1", "s3"]),
        (("--name", "TRIP 1"), ["s1"]),
        (("--tag", "travel", "--tag", "t3"), ["s3"]),
        (("--model", "m2"), ["s2"]),
        (("--status", "error"), ["s2"]),
        (("--rating", "bad"), ["s3"]),
        (("--since", "2026-01-02T12:00Z"), ["s2", "s3"]),
        (("--until", "2026-01-02T12:00Z"), ["s1"]),
        (("--since", "1d"), []),
        (("--until", "yesterday"), ["s1", "s2", "s3"]),
        (("--user", "alice", "--kind", "agent", "--name", "trip", "--model", "m1"), ["s1"]),
        (("--user", "bob", "--kind", "team"), []),
    ],
)
def test_every_command_selects_the_same_sessions(
    invoke: Invoke, mixed: Path, command: str, options: tuple[str, ...], ids: list[str]
) -> None:
    done = invoke(*COMMANDS[command], "--store", mixed, *options)
    assert done.exit_code == 0
    assert selected(command, done.stdout) == ids


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--since", "soon"), "--since is not a time: 'soon'. Use 2026-11-01, 2026-11-01T10:00, 7d, 12h or yesterday."),
        (("--until", "2026-02-30"), "--until is not a time: '2026-02-30'."),
        (("--kind", "agnet"), "'agnet' is not one of"),
        (("--status", "done"), "'done' is not one of"),
        (("--rating", "5"), "'5' is not one of"),
        (
            ("--since", "1d", "--until", "2d"),
            "--since is '1d', which is not before until ('2d'). No session can match.",
        ),
        (("--user", ""), "--user is empty. See"),
        (("--tag", "travel", "--tag", ""), "--tag is empty. See"),
        (("--name", ""), "--name is empty. See"),
    ],
)
def test_a_value_that_no_session_can_have_is_refused(
    invoke: Invoke, mixed: Path, command: str, options: tuple[str, ...], problem: str
) -> None:
    done = invoke(*COMMANDS[command], "--store", mixed, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert problem in done.stderr


def test_an_export_with_a_limit_stops_there(invoke: Invoke, mixed: Path) -> None:
    """A document that cannot be read is named, and does not count."""
    for names, ids in (((), ["s2", "s3"]), (("s2", "s1", "s3"), ["s1", "s2"])):
        done = invoke("export", *names, "--format", "json", "--limit", "2", "--store", mixed)
        assert selected("export", done.stdout) == ids


def test_a_limit_of_more_than_64_bits_is_refused(invoke: Invoke, store: Path) -> None:
    """It ended in an OverflowError of SQLite."""
    result = invoke("ls", "--limit", "9" * 20, "--store", store)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not in the range" in result.stderr
