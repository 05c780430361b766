"""Callers that hand in anything: each call gets one clear error and changes no byte, or works and reads back."""

import dataclasses
import enum
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from localstore import JsonStorage, LocalstoreError, Run, YamlStorage
from localstore.errors import UnstorableValue
from tests.effort import sampled
from tests.unit.raw import Storage, question


class Text(str):
    __slots__ = ()


class NoItems(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no")


class NoText:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class NoFields(BaseModel):
    x: int = 1

    def __iter__(self) -> Any:
        raise RuntimeError("no")


class Odd(enum.Enum):
    THING = object()
    NOT_A_NUMBER = float("nan")


@dataclasses.dataclass
class Circle:
    me: Any = None


def circle() -> Circle:
    one = Circle()
    one.me = one
    return one


def in_itself() -> dict[str, Any]:
    one: dict[str, Any] = {}
    one["me"] = one
    return one


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


UNSTORABLE: dict[str, Callable[[], Any]] = {
    "a key that is a number": lambda: {1: 2},
    "a key that is None": lambda: {None: 2},
    "a key that has no text": lambda: {NoText(): 2},
    "a dict in itself": in_itself,
    "a dataclass in itself": circle,
    "a dict that raises": lambda: NoItems(a=1),
    "a model that raises": NoFields,
    "an object without text": NoText,
    "an enum of an object": lambda: Odd.THING,
    "an enum of no number": lambda: Odd.NOT_A_NUMBER,
    "201 levels": lambda: nested(201),
    "100,000 levels": lambda: nested(100_000),
    "a generator": lambda: (number for number in range(2)),
    "65 bits": lambda: 2**64,
    "65 bits below": lambda: -(2**63) - 1,
    "no number": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "bytes": lambda: b"x",
    "a memoryview": lambda: memoryview(b"x"),
    "a lone surrogate": lambda: "\ud800",
    "a type": lambda: int,
}


@pytest.fixture(params=[JsonStorage, YamlStorage], ids=["json", "yaml"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    opened: Storage = request.param(tmp_path / "store", durability="relaxed")
    opened.append("s1", question("r1"))
    return opened


def content(root: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


def refused(storage: Storage, call: Callable[[], object], kind: Any = (TypeError, ValueError, LocalstoreError)) -> None:
    storage.list_sessions()
    before = content(storage.root)
    with pytest.raises(kind):
        call()
    assert content(storage.root) == before


@pytest.mark.parametrize("name", sampled(UNSTORABLE, 3))
def test_a_value_without_a_form_is_refused_everywhere(storage: Storage, name: str) -> None:
    """What an object of the caller's raised when it was looked at came out as it was."""
    value = UNSTORABLE[name]()
    session = storage.read("s1")
    assert session is not None
    session.session_summary = value
    for call in (
        lambda: storage.update("s1", session_state={"v": value}),
        lambda: storage.update("s1", session_summary=value),
        lambda: storage.update("s1", session_data={"v": value}),
        lambda: storage.update("s1", metadata={"v": value}),
        lambda: storage.append("s1", question("r2", input=value)),
        lambda: storage.append("s1", question("r2", unknown=value)),
        lambda: storage.append("new", question("r2", input=[value])),
        lambda: storage.upsert(session),
    ):
        refused(storage, call, UnstorableValue)
    anything: Any = value
    refused(storage, lambda: storage.append("s1", anything))
    refused(storage, lambda: storage.upsert(anything))
    refused(storage, lambda: storage.update("s1", tags=[anything]))
    refused(storage, lambda: storage.rate("s1", "r1", anything))
    refused(storage, lambda: storage.rate("s1", "r1", "good", anything))
    refused(storage, lambda: storage.rate("s1", anything, "good"))
    refused(storage, lambda: storage.examples(anything))


@pytest.mark.parametrize("session_id", [b"a", 1, None, [], "", "\ud800"], ids=repr)
def test_an_id_that_is_none_is_refused(storage: Storage, session_id: Any) -> None:
    for call in (
        lambda: storage.append(session_id, question("r2")),
        lambda: storage.read(session_id),
        lambda: storage.update(session_id, name="n"),
        lambda: storage.path(session_id),
        lambda: storage.rate(session_id, "r1", "good"),
        lambda: storage.delete_session(session_id),
    ):
        refused(storage, call)


@pytest.mark.parametrize(
    "session_id",
    ["x" * 1_000_000, "a\0b", "\x01\x1f\n", "../x", "/etc/passwd", ".", "..", " ", "a\\b", Text("abc")],
    ids=lambda value: repr(value)[:20],
)
def test_any_text_is_an_id(storage: Storage, session_id: str) -> None:
    storage.append(session_id, question("r2"))
    for opened in (storage, type(storage)(storage.root)):
        session = opened.read(session_id)
        assert session is not None
        assert (session.session_id, [run.run_id for run in session.runs]) == (session_id, ["r2"])
        assert opened.path(session_id).resolve().is_relative_to(storage.root / "sessions")
    assert storage.delete_session(session_id)
    assert storage.read(session_id) is None


def test_deep_nesting_reads_back(storage: Storage) -> None:
    storage.update("s1", session_summary=nested(150))
    session = storage.read("s1")
    assert session is not None
    assert session.session_summary == nested(150)


@pytest.mark.parametrize("number", [-1, True, 1.0, "1", b"1", [], -0.5], ids=repr)
def test_a_count_that_is_none_is_refused(storage: Storage, number: Any) -> None:
    refused(storage, lambda: storage.read("s1", last_runs=number), ValueError)
    refused(storage, lambda: storage.list_sessions(limit=number), ValueError)
    refused(storage, lambda: storage.examples(limit=number), ValueError)
    refused(storage, lambda: storage.get_recent_sessions(limit=number), ValueError)


@pytest.mark.parametrize("value", [1, b"x", [], {}, 1.5], ids=repr)
def test_a_keyword_of_the_wrong_type_is_refused(storage: Storage, value: Any) -> None:
    for call in (
        lambda: storage.append("new", question("r2"), user_id=value),
        lambda: storage.append("new", question("r2"), entity_id=value),
        lambda: storage.append("new", question("r2"), kind=value),
        lambda: storage.list_sessions(kind=value),
        lambda: storage.append("new", value),
        lambda: storage.upsert(value),
        lambda: storage.append("s1", Run.model_construct(run_id=value)),
    ):
        refused(storage, call)
    for name in ("name", "instructions"):
        refused(storage, partial(storage.update, "s1", **{name: value}))
