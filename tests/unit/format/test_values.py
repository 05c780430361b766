"""Every Python value has one form in a document, or is refused with an error that names its place."""

import enum
import uuid
from collections import OrderedDict, UserString
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path, PureWindowsPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import orjson
import pytest
from pydantic import BaseModel, ConfigDict

from localstore import Run, UnstorableValue
from localstore.format.values import MAX_DEPTH, MAX_INTEGER, MIN_INTEGER, to_json_value


class Colour(enum.Enum):
    RED = "red"
    DEEP = (1, Decimal("2"))


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


@dataclass
class Point:
    x: int
    y: Any = None
    tags: set[str] = field(default_factory=set)


class Pair(NamedTuple):
    left: int
    right: str


class Cart(BaseModel):
    model_config = ConfigDict(extra="allow")
    items: list[Point]
    note: str | None = None


class Text(str):
    pass


class Number(int):
    pass


IDENTITY = uuid.UUID("0f8c5a52-7c3e-4c41-8f5a-000000000000")


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ({"a": [1, 2.5, True, None, "é😀", {"b": {}}], "": 1}, {"a": [1, 2.5, True, None, "é😀", {"b": {}}], "": 1}),
        (datetime(2026, 11, 22, 7, 1, 20, tzinfo=UTC), "2026-11-22T07:01:20+00:00"),
        (date(2026, 11, 22), "2026-11-22"),
        (IDENTITY, "0f8c5a52-7c3e-4c41-8f5a-000000000000"),
        (Decimal("1.10"), "1.10"),
        (Path("/a/b"), "/a/b"),
        (PureWindowsPath("C:\\a"), "C:\\a"),
        (Colour.RED, "red"),
        (Colour.DEEP, [1, "2"]),
        (Level.HIGH, 3),
        (Word.YES, "yes"),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({3, 1, 2.5}), [1, 2.5, 3]),
        ({"a", 1, None, (2, 3)}, [1, None, [2, 3], "a"]),
        ((1, (2, 3)), [1, [2, 3]]),
        (Pair(1, "r"), [1, "r"]),
        (Point(1, Point(2), {"z", "a"}), {"x": 1, "y": {"x": 2, "y": None, "tags": []}, "tags": ["a", "z"]}),
        (Cart(items=[Point(1)], colour=Colour.RED), None),  # type: ignore[call-arg]
        (Text("t"), "t"),
        (Number(5), 5),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        ({Text("key"): 1}, {"key": 1}),
        (MIN_INTEGER, MIN_INTEGER),
        (MAX_INTEGER, MAX_INTEGER),
        (-0.0, -0.0),
        (Decimal("NaN"), "NaN"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_has_one_form(value: Any, form: Any) -> None:
    if isinstance(value, Cart):
        form = {"items": [{"x": 1, "y": None, "tags": []}], "note": None, "colour": "red"}
    result = to_json_value(value)
    assert result == form
    assert repr(to_json_value(result)) == repr(result)
    assert orjson.loads(orjson.dumps(result)) == form
    assert_only_plain_types(result)


def assert_only_plain_types(value: Any) -> None:
    assert type(value) in (dict, list, str, int, float, bool, type(None))
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_only_plain_types(item)


def test_the_order_of_keys_is_kept() -> None:
    assert list(to_json_value(dict.fromkeys("zyxab", 1))) == list("zyxab")


def test_the_result_shares_no_mutable_value_with_its_source() -> None:
    value: dict[str, Any] = {"a": [{"b": []}]}
    result = to_json_value(value)
    value["a"][0]["b"].append(1)
    value["a"].append({})
    assert result == {"a": [{"b": []}]}


def nested(levels: int) -> Any:
    value: Any = 1
    for number in range(levels):
        value = [value] if number % 2 else {"k": value}
    return value


def test_the_depth_is_limited() -> None:
    assert to_json_value(nested(MAX_DEPTH))
    with pytest.raises(UnstorableValue, match="nested more than 200 levels deep"):
        to_json_value(nested(MAX_DEPTH + 1))
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnstorableValue, match="Flatten it or remove the cycle"):
        to_json_value(loop)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "is nan"),
        (float("inf"), "is inf"),
        (float("-inf"), "is -inf"),
        (MAX_INTEGER + 1, "beyond 64 bits"),
        (MIN_INTEGER - 1, "beyond 64 bits"),
        (Number(MAX_INTEGER + 1), "beyond 64 bits"),
        ("a\ud800b", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        ({1: 2}, "the key 1, which is not text"),
        ({None: 2}, "the key None"),
        ({Word.YES: 2}, "which is not text"),
        ({("a", "b"): 2}, "which is not text"),
        ({float("nan")}, "is nan"),
        (b"bytes", "is a builtins.bytes"),
        (object(), "is a builtins.object"),
        (Point, "is a builtins.type"),
        (time(12, 30), "is a datetime.time"),
        (1j, "is a builtins.complex"),
        (SimpleNamespace(a=1), "is a types.SimpleNamespace"),
        (UserString("u"), "is a collections.UserString"),
        (iter([1]), "is a builtins.list_iterator"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_a_form_is_refused(value: Any, problem: str) -> None:
    with pytest.raises(UnstorableValue) as caught:
        to_json_value({"session_state": {"cart": [1, 2, {"when": value}]}})
    assert problem in str(caught.value)
    assert caught.value.where.startswith("session_state.cart[2].when")
    assert str(caught.value).startswith(caught.value.where)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a b": {"c.d": [object()]}}, "['a b']['c.d'][0]"),
        ({"": object()}, "['']"),
        ([[[object()]]], "[0][0][0]"),
        ({"a": Point(1, {"b": object()})}, "a.y.b"),
        ({"a": {object}}, "a[0]"),
        (Run(session_state={"x": [object()]}), "session_state.x[0]"),
    ],
)
def test_the_error_names_the_path_of_the_value(value: Any, where: str) -> None:
    with pytest.raises(UnstorableValue) as caught:
        to_json_value(value)
    assert caught.value.where == where


def test_the_error_starts_with_the_callers_name_for_the_value() -> None:
    with pytest.raises(UnstorableValue, match=r"^history\[1\]\.a is a") as caught:
        to_json_value([1, {"a": object()}], "history")
    assert caught.value.where == "history[1].a"
    with pytest.raises(UnstorableValue, match=r"^The value is a"):
        to_json_value(object())


class Lazy(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Any:
        return iter("ab")

    def __len__(self) -> int:
        return 2


def test_any_mapping_is_accepted() -> None:
    assert to_json_value(Lazy()) == {"a": 1, "b": 1}
