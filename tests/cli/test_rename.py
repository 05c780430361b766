"""`localstore rename`: give a session a name, or remove it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from localstore import JsonStorage
from localstore.disk import filesystem
from tests import oracle

from .read_only import ReadOnlySystem
from .test_check import document, edit, state_of

Invoke = Callable[..., Result]


def header(store: Path, session_id: str) -> dict[str, object]:
    return oracle.sessions(store)[session_id].header


@pytest.mark.parametrize("session_id", ["graz-1", "linz-1"])
def test_a_session_gets_a_name_and_keeps_everything_else(invoke: Invoke, store: Path, session_id: str) -> None:
    """A second name replaces the first."""
    before = oracle.sessions(store)[session_id]
    for name in ("first", "Ünïcode and spaces"):
        done = invoke("rename", session_id[:4], name, "--store", store)
        assert (done.exit_code, done.stdout) == (0, f"{session_id} is now named {name}\n")
        after = oracle.sessions(store)[session_id]
        assert after.header == before.header | {"name": name}
        assert (after.history, after.path) == (before.history, before.path)
    assert invoke("path", name, "--store", store).stdout == f"{before.path}\n"


@pytest.mark.parametrize("args", [("",), ("  ",), ("--remove",)])
def test_a_name_is_removed(invoke: Invoke, store: Path, args: tuple[str, ...]) -> None:
    """An empty or a blank name, which no listing could show, removes it too. Removing it again changes nothing."""
    for _ in range(2):
        done = invoke("rename", "vienna-trip", *args, "--store", store)
        assert (done.exit_code, done.stdout) == (0, "vienna-trip no longer has a name\n")
        assert "name" not in header(store, "vienna-trip")


@pytest.mark.parametrize("args", [(), ("graz-1",), ("graz-1", "x", "--remove"), ("", "x"), ("graz-1", "x", "y")])
def test_wrong_usage(invoke: Invoke, store: Path, args: tuple[str, ...]) -> None:
    """Exactly one of a name and `--remove` is needed."""
    before = state_of(store)
    done = invoke("rename", *args, "--store", store)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("See 'localstore rename --help'.\n")
    assert state_of(store) == before


def test_a_missing_session(invoke: Invoke, store: Path, tmp_path: Path) -> None:
    """The same error comes in an empty store."""
    assert invoke("rename", "nobody", "x", "--store", store).exit_code == 3
    JsonStorage(tmp_path / "empty")
    done = invoke("rename", "nobody", "x", "--store", tmp_path / "empty")
    assert (done.exit_code, done.stderr.count("\n")) == (3, 1)


def test_control_characters_reach_no_terminal(invoke: Invoke, store: Path) -> None:
    """Neither the id nor the name can send them."""
    from .conftest import weather_run

    JsonStorage(store).append("odd\x1b[31m", weather_run("?", "!", created_at="2026-01-05T10:00:00.000Z"))
    done = invoke("rename", "odd\\x1b[31m", "new\nname\x9b", "--store", store)
    assert (done.exit_code, done.stdout) == (0, "odd\\x1b[31m is now named new\\nname\\x9b\n")
    assert header(store, "odd\x1b[31m")["name"] == "new\nname\x9b"


@pytest.mark.parametrize("command", [("rename", "graz-1", "x"), ("tag", "graz-1", "x")])
def test_a_document_that_cannot_be_written_is_left_alone(
    invoke: Invoke, store: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a broken document, a newer one and a read-only disk, the exit codes are 4, 4 and 5, with one line each."""
    path = document(store)
    whole = path.read_bytes()
    for old, new in (('"messages": [', '"messages": [['), ('"schema_version": 1', '"schema_version": 2')):
        edit(path, old, new)
        changed = path.read_bytes()
        done = invoke(*command, "--store", store)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (4, "", 1)
        assert str(path) in done.stderr
        assert path.read_bytes() == changed
        path.write_bytes(whole)
    monkeypatch.setattr(filesystem, "system", ReadOnlySystem())
    done = invoke(*command, "--store", store)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (5, "", 1)
    assert path.read_bytes() == whole
