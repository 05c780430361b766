"""Two processes are killed one after the other, at any operation on the disk of the first, and inside the append of the
second: what was acknowledged before is there, and the session can be read and written.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import JsonStorage, Message, Run, YamlStorage
from tests import oracle
from tests.crash.faults import Stopped, StoppingSystem, UnsyncedSystem, installed
from tests.crash.writer import STORAGES
from tests.effort import ci_only, rounds

Storage = JsonStorage | YamlStorage
_BEFORE = ["r0", "asked", "r1", "last"]
_SHARES = (0.5, 1.0, 0.0)[: rounds(1, 2, 3)]
"""How much of an operation is done. A write that is done is the same as the next operation not begun."""

pytestmark = ci_only


def _run(run_id: str, *, finished: bool = True) -> Run:
    messages = [Message(role="user", content=f"question of {run_id}")]
    messages += [Message(role="assistant", content="answer " * 20)] * finished
    return Run(run_id=run_id, messages=messages, status="completed" if finished else "unfinished")


def _remove_a_run(storage: Storage) -> None:
    session = storage.read("s")
    assert session is not None
    session.history = [entry for entry in session.history if getattr(entry, "run_id", None) != "r0"]
    storage.upsert(session)


OPERATIONS: dict[str, Callable[[Storage], None]] = {
    "append": lambda storage: storage.append("s", _run("first")),
    "ask": lambda storage: storage.append("s", _run("first", finished=False)),
    "finish the last run": lambda storage: storage.append("s", _run("last")),
    "finish an earlier run": lambda storage: storage.append("s", _run("asked")),
    "change the state": lambda storage: storage.update("s", session_state={"n": 1}),
    "change the name": lambda storage: storage.update("s", name="a longer name than the session had before"),
    "remove a run": _remove_a_run,
}


@pytest.mark.parametrize("suffix", sorted(STORAGES))
@pytest.mark.parametrize("unfinished", [("asked",), ("asked", "last")], ids=["", "and the last run is unfinished"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_append_that_is_killed_after_another_kill_breaks_no_session(
    operation: str, unfinished: tuple[str, ...], suffix: str, tmp_path: Path
) -> None:
    """A process was killed between the replace of a document and the manifest's line. The next one read the document
    whole and appended in place, and was killed inside that: the manifest knew neither document, so that the torn tail
    passed for a person's edit, and the session could no longer be used."""
    with installed(UnsyncedSystem()):
        storage = STORAGES[suffix](tmp_path / "before")
        for run_id in _BEFORE:
            storage.append("s", _run(run_id, finished=run_id not in unfinished))
    number, happened = 0, True
    while happened:
        number += 1
        for share in _SHARES:
            root = tmp_path / f"{number}-{share}"
            shutil.copytree(tmp_path / "before", root)
            storage = STORAGES[suffix](root)
            assert storage.read("s") is not None  # what is known of the copy is in its manifest
            first = StoppingSystem(number, share)
            with installed(first), contextlib.suppress(Stopped):
                OPERATIONS[operation](STORAGES[suffix](root))
            happened = first.happened
            _kill_the_next(root, suffix)
            shutil.rmtree(root)


def _kill_the_next(root: Path, suffix: str) -> None:
    number, happened = 0, True
    while happened:
        number += 1
        for share in _SHARES:
            copy = root.with_name("copy")
            shutil.copytree(root, copy)
            second = StoppingSystem(number, share)
            with installed(second), contextlib.suppress(Stopped):
                STORAGES[suffix](copy).append("s", _run("second"))
            happened = second.happened
            with installed(UnsyncedSystem()):
                storage = STORAGES[suffix](copy)
                session = storage.read("s")
                assert session is not None
                storage.append("s", _run("third"))
            document = oracle.sessions(copy)["s"]
            assert document.run_ids == [*(run.run_id for run in session.runs), "third"]
            there = [run_id for run_id in document.run_ids if run_id in _BEFORE]
            assert there in (_BEFORE, _BEFORE[1:])
            assert set(document.run_ids) <= {*_BEFORE, "first", "second", "third"}
            assert happened or "second" in document.run_ids
            oracle.assert_own_layout(document)
            shutil.rmtree(copy)
