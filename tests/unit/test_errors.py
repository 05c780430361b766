"""Every error is a standard type as well, carries path and id, pickles, and says what to do."""

import copy
import errno
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localstore
from localstore import JsonStorage, LocalstoreError, Run, Session, errors
from tests.unit.raw import answered, edit, question

STANDARD = {
    "OwnerMismatch": PermissionError,
    "KindMismatch": ValueError,
    "SessionNotFound": LookupError,
    "RunNotFound": LookupError,
    "BackupNotFound": LookupError,
    "StoreNotFound": FileNotFoundError,
    "DocumentBroken": ValueError,
    "NewerFormat": ValueError,
    "OlderFormat": ValueError,
    "LockTimeout": TimeoutError,
    "Conflict": RuntimeError,
    "UnstorableValue": ValueError,
}


def pickled(error: LocalstoreError) -> LocalstoreError:
    """As another process gets it."""
    again: LocalstoreError = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    return again


@pytest.mark.parametrize(("name", "standard"), STANDARD.items())
def test_an_error_is_the_root_and_a_standard_type(name: str, standard: type[Exception]) -> None:
    kind = getattr(localstore, name)
    assert issubclass(kind, LocalstoreError)
    assert issubclass(kind, standard)
    assert kind is getattr(errors, name)


@pytest.mark.parametrize("name", ["LocalstoreError", *STANDARD])
@pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
def test_an_error_survives_pickling_and_copying(name: str, again: Callable[[Any], Any]) -> None:
    error = getattr(errors, name)("What. Do that.", path="/a/b", session_id="s1")
    for attribute in {"line", "column", "rescued", "where", "run_id"} & error.__dict__.keys():
        setattr(error, attribute, f"its {attribute}")
    error.add_note("seen on a Monday")
    other = again(error)
    assert type(other) is type(error)
    assert str(other) == "What. Do that."
    assert other.args == ("What. Do that.",)
    assert other.__dict__ == error.__dict__


def test_an_error_of_the_system_kind_has_no_errno_to_mislead() -> None:
    error = errors.LockTimeout("It was locked. Try again.", path="/a/b")
    assert error.errno is None
    assert str(error) == "It was locked. Try again."


def owner(storage: JsonStorage) -> None:
    storage.append("s1", question("r2"), user_id="bob")


def owner_of_an_upsert(storage: JsonStorage) -> None:
    storage.upsert(Session(session_id="s1", user_id="bob"))


def kind(storage: JsonStorage) -> None:
    storage.append("s1", question("r2"), kind="team")


def missing(storage: JsonStorage) -> None:
    storage.append("other", question("r2"), create=False)


def deleted_since(storage: JsonStorage) -> None:
    session = storage.read("s1")
    assert session is not None
    storage.delete_session("s1")
    storage.upsert(session)


def no_store(storage: JsonStorage) -> None:
    JsonStorage(storage.root / "nowhere", create=False)


def broken(storage: JsonStorage) -> None:
    edit(storage.path("s1"), '"run_id"', '"run_id')
    storage.read("s1")


def newer(storage: JsonStorage) -> None:
    edit(storage.path("s1"), '"schema_version": 1', '"schema_version": 2')
    storage.read("s1")


def newer_store(storage: JsonStorage) -> None:
    (storage.root / "localstore.json").write_text('{"format": 2}')
    JsonStorage(storage.root)


def older(storage: JsonStorage) -> None:
    old = {"session_id": "s1", "agent_id": "a", "memory": {"runs": []}, "session_data": {}, "created_at": 1795331435}
    storage.path("s1").write_text(json.dumps(old))
    storage.append("s1", question("r2"))


def conflict(storage: JsonStorage) -> None:
    session = storage.read("s1")
    assert session is not None
    session.name = "mine"
    storage.update("s1", name="theirs")
    storage.upsert(session)


def unstorable(storage: JsonStorage) -> None:
    storage.append("s1", Run(session_state={"cart": [1, object()]}))


def locked(storage: JsonStorage) -> None:
    other = JsonStorage(storage.root, lock_timeout=0)
    with storage._engine.locks.session("s1", 1):
        other.append("s1", question("r2"))


SCENES: dict[Callable[[JsonStorage], None], type[LocalstoreError]] = {
    owner: errors.OwnerMismatch,
    owner_of_an_upsert: errors.OwnerMismatch,
    kind: errors.KindMismatch,
    missing: errors.SessionNotFound,
    deleted_since: errors.SessionNotFound,
    no_store: errors.StoreNotFound,
    broken: errors.DocumentBroken,
    newer: errors.NewerFormat,
    newer_store: errors.NewerFormat,
    older: errors.OlderFormat,
    conflict: errors.Conflict,
    unstorable: errors.UnstorableValue,
    locked: errors.LockTimeout,
}
TO_DO = (
    r"(Use|Check|Give|Read|Write|Fix|Update|Move|Try|Put|Convert)\b[^.]*"
    r"(, or [^.]*|\.[a-z][^.]*)*\.( [^.]*repeat[^.]*\.)?"
    r"|Upgrade the store with: localstore upgrade \S+"
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_an_error_ends_in_what_to_do_and_carries_what_it_is_about(
    tmp_path: Path, scene: Callable[[JsonStorage], None]
) -> None:
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", answered("r1"), user_id="alice")
    document = storage.path("s1")
    with pytest.raises(SCENES[scene]) as caught:
        scene(storage)
    error = caught.value
    assert type(error) is SCENES[scene]
    assert re.search(rf"[.)] ({TO_DO})\Z", str(error)), str(error)
    if isinstance(error, (errors.OwnerMismatch, errors.KindMismatch, errors.DocumentBroken)) or scene in (newer, older):
        assert error.path == str(document)
    elif isinstance(error, (errors.LockTimeout, errors.StoreNotFound, errors.NewerFormat)):
        assert error.path is not None
        assert error.path in str(error)
    if isinstance(error, (errors.OwnerMismatch, errors.KindMismatch, errors.SessionNotFound, errors.Conflict)):
        assert error.session_id == ("other" if scene is missing else "s1")
        assert repr(error.session_id) in str(error)
    assert pickled(error).__dict__ == error.__dict__


def test_a_list_of_problems_says_what_to_do_about_a_file_that_may_not_be_used() -> None:
    """`merge`, `copy` and `export` listed `[Errno 13] Permission denied: ...`."""
    refused = PermissionError(errno.EACCES, "Permission denied", "/a/b")
    assert errors.reason(refused) == "/a/b: Permission denied. Check the permissions and try again."
    assert errors.reason(PermissionError("refused")) == "refused"
    assert errors.reason(errors.OwnerMismatch("What. Do that.", path="/a/b")) == "What. Do that."
