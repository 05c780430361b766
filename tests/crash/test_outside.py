"""Real processes are attacked from outside while they write: each system call fails, waits while somebody saves the
document, or is the last one before SIGKILL. Nothing acknowledged and nothing typed is lost.

The operations are those of `test_faults.py`. `--log-cli-level=INFO` shows how many attacks there were.
"""

import itertools
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from localstore import JsonStorage, YamlStorage
from tests import oracle
from tests.crash.outside import CALLS, Victim
from tests.crash.test_faults import OPERATIONS, Operation, documents, run
from tests.crash.writer import STORAGES
from tests.effort import ci_only, rounds

pytestmark = [ci_only, pytest.mark.filterwarnings("ignore:Session 's' has .* not read")]
Storage = JsonStorage | YamlStorage
Save = Literal["renamed over", "in place", "moved aside"]
_log = logging.getLogger(__name__)
_ERRORS = ("EIO", "ENOSPC", "EACCES")
_FOR_EVER = 600_000_000
"""Microseconds that a call is delayed, unless strace is taken away."""
_BY_NAME = {operation.name: operation for operation in OPERATIONS}
SAVED = (
    "append", "append relaxed", "append the question", "finish", "finish later", "grow an answer", "finish an answer",
    "add a step", "append with a state", "update state", "update header", "upsert by appending", "upsert by rewriting",
    "rewrite a foreign layout", "append without manifest", "add a tag", "rate a run", "move to the trash",
    "merge copies",
)  # fmt: skip
"""The operations beside which a person saves. The others remove the newest run, which would be the person's."""
each_format = pytest.mark.parametrize(
    "suffix", [pytest.param(suffix, marks=pytest.mark.xdist_group(f"outside{suffix}")) for suffix in STORAGES]
)
"""Each in one process, which counts the calls of an operation once."""


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with Victim() as process:
        yield process


def _attacks(victim: Victim, operation: Operation, suffix: str, folder: Path, step: int) -> Iterator[tuple[str, int]]:
    """Yield every `step`-th system call that the operation makes: its name, and its number among those of the name."""
    if (operation.name, suffix) not in victim.counts:
        victim.ask(prepare=operation.name, root=str(folder / "counted"), suffix=suffix)
        victim.counts[operation.name, suffix] = victim.calls(folder / "calls.log", work=True)
    counts = victim.counts[operation.name, suffix]
    every = [(call, number + 1) for call in CALLS for number in range(min(counts[call], 30))]
    offset = OPERATIONS.index(operation) % step
    yield from every[offset::step]


@each_format
def test_a_system_call_that_fails_loses_nothing(victim: Victim, suffix: str, tmp_path: Path) -> None:
    errors = itertools.cycle(_ERRORS)
    attacks = 0
    for operation in OPERATIONS:
        folder = tmp_path / operation.name
        folder.mkdir()
        for call, number in _attacks(victim, operation, suffix, folder, rounds(80, 60, 1)):
            error, root = next(errors), folder / f"{call}-{number}"
            where = f"{operation.name}, {error} at {call} {number}"
            assert victim.ask(prepare=operation.name, root=str(root), suffix=suffix) == {}, where
            before = documents(root)
            with victim.attacked(call, number, f"error={error}"):
                answer = victim.ask(work=True)
            assert answer is not None, f"{where}: the process died"
            assert "failed" not in answer or answer["named"], f"{where}: {answer} names nothing"
            if not answer:
                assert operation.done(documents(root)), f"{where}: said that it was done"
            assert victim.ask(append=21) == {}, where
            if call not in ("unlink", "rename", "renameat2"):
                oracle.assert_no_temporary_files(root)
            _judge(root, suffix, operation, before, where)
            attacks += 1
    _log.info("%s system calls failed", attacks)


@each_format
def test_a_process_killed_at_a_system_call_loses_nothing(victim: Victim, suffix: str, tmp_path: Path) -> None:
    attacks = 0
    for operation in OPERATIONS:
        folder = tmp_path / operation.name
        folder.mkdir()
        for call, number in _attacks(victim, operation, suffix, folder, rounds(400, 300, 3)):
            root = folder / f"{call}-{number}"
            where = f"{operation.name}, killed at {call} {number}"
            assert victim.ask(prepare=operation.name, root=str(root), suffix=suffix) == {}, where
            before = documents(root)
            with victim.attacked(call, number, "signal=KILL"):
                victim.ask(work=True)
            _judge(root, suffix, operation, before, where)
            attacks += 1
    _log.info("%s processes were killed", attacks)


@each_format
def test_a_save_while_a_system_call_waits_is_kept(victim: Victim, suffix: str, tmp_path: Path) -> None:
    saves: Iterator[Save] = itertools.cycle(("renamed over", "in place", "moved aside"))
    attacks = 0
    for name in SAVED:
        operation, folder = _BY_NAME[name], tmp_path / name
        folder.mkdir()
        for call, number in _attacks(victim, operation, suffix, folder, rounds(20, 12, 1)):
            save, root = next(saves), folder / f"{call}-{number}"
            if save == "in place" and call == "pwrite64":
                continue  # both write to the same bytes of the same file: no program can prevent that
            where = f"{name}, saved ({save}) while {call} {number} waits"
            assert victim.ask(prepare=name, root=str(root), suffix=suffix) == {}, where
            (path,) = [path for path in oracle.document_paths(root) if path.name == f"s{suffix}"]
            opened = path.read_text()
            with victim.attacked(call, number, f"delay_enter={_FOR_EVER}"):
                victim.send(work=True)
                is_saved = victim.wait_until_delayed()
                if is_saved:
                    is_over = _is_done(root, operation)
                    _save(path, opened, save)
            answer = victim.answer()
            assert answer is not None, f"{where}: the process died"
            if is_saved:  # otherwise it made fewer calls than when they were counted
                _judge_save(root, suffix, operation, answer, where, is_over=is_over)
                attacks += 1
    _log.info("%s saves", attacks)
    assert attacks > rounds(5, 6, 200)


def _save(path: Path, opened: str, how: Save) -> None:
    """Save the text of a document that a person opened before, with one more run typed at its end."""
    if path.suffix == ".json":
        document = json.loads(opened)
        message = {"role": "user", "content": "typed by hand"}
        typed = {"type": "run", "run_id": "typed", "created_at": "2026-11-22T07:02:00.000Z", "messages": [message]}
        document["history"].append({**typed, "status": "completed"})
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    else:
        text = opened.removesuffix("...\n") + (
            "- type: run\n  run_id: typed\n  created_at: '2026-11-22T07:02:00.000Z'\n  messages:\n    - role: user\n"
            "      content: typed by hand\n  status: completed\n...\n"
        )
    if how == "moved aside" and path.exists():
        path.rename(path.with_name(f"{path.name}~"))
    if how != "renamed over":
        path.write_text(text)
        return
    temporary = path.with_name(".saved-by-an-editor")
    temporary.write_text(text)
    os.replace(temporary, path)


def _is_done(root: Path, operation: Operation) -> bool:
    """Return whether the document already holds what the operation writes."""
    try:
        return operation.done(documents(root))
    except (KeyError, IndexError):  # it lacks what the operation adds
        return False


def _judge_save(
    root: Path, suffix: str, operation: Operation, answer: dict[str, Any], where: str, *, is_over: bool
) -> None:
    """Check that the typed run is there, and beside it what was acknowledged.

    If the save came after the operation had changed the document (`is_over`), it was one of a stale text: it may have
    removed what the operation wrote.
    """
    STORAGES[suffix](root, lock_timeout=5).list_sessions()
    found = documents(root)
    kept = oracle.kept(root).get("s", set())
    aside = [str(one) for one in oracle.rescued(root)]
    assert "typed" in kept or any("typed by hand" in one for one in aside), f"{where}: the typed run is lost ({answer})"
    if answer or is_over or "to the trash" in operation.name:
        return
    document = found["s"]
    entries = [entry for entry in document.history if entry.get("run_id") != "typed"]
    trimmed = oracle.Document(document.path, document.raw, document.header, entries)
    assert operation.done(found | {"s": trimmed}), f"{where}: acknowledged, and lost: {document.run_ids}"


def _judge(root: Path, suffix: str, operation: Operation, before: dict[str, oracle.Document], where: str) -> None:
    """Check with a new handle that everything acknowledged is there, once and in order, and can be continued."""
    storage = STORAGES[suffix](root, lock_timeout=5)
    removing = operation.name.startswith(("delete", "drop")) or "to the trash" in operation.name
    storage.list_sessions()
    known = [] if removing or "s" not in before else before["s"].run_ids
    session = storage.read("s")
    ids = [] if session is None else [run.run_id for run in session.runs]
    if operation.takes_out in known and operation.takes_out not in ids:
        aside = [one["entry"]["run_id"] for one in oracle.rescued(root) if "entry" in one]
        assert operation.takes_out in aside, f"{where}: {operation.takes_out} is gone"
        known = [one for one in known if one != operation.takes_out]
    assert [one for one in ids if one in known] == known, f"{where}: {ids} instead of {known}"
    storage.append("s", run(22), kind="agent")
    document = oracle.sessions(root)["s"]
    assert document.run_ids == [*ids, "r22"], f"{where}: {document.run_ids}"
    oracle.assert_own_layout(document)
    oracle.assert_locks_free(root)
