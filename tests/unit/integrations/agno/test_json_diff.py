"""A difference turns one JSON value into another."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore.format.versions.values import identity, is_empty
from localstore.integrations.agno.json_diff import applied, difference

scalars = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "is", "set"]) | st.floats(0, 1)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab") | st.just("in"), inner, max_size=3)
    ),
    max_leaves=12,
)


def filled(value: Any) -> Any:
    """Return the value without empty keys."""
    if isinstance(value, dict):
        return {key: inner for key, item in value.items() if not is_empty(inner := filled(item))}
    return [filled(item) for item in value] if isinstance(value, list) else value


@given(values, values)
def test_applied_to_one_value_it_gives_the_other(base: Any, wanted: Any) -> None:
    changes = difference(base, wanted)
    assert identity(filled(applied(deepcopy(base), changes))) == identity(filled(wanted))


@given(values)
def test_equal_values_have_none(value: Any) -> None:
    assert difference(value, deepcopy(value)) == {}


def test_it_is_no_larger_than_what_differs() -> None:
    base = {"messages": [{"role": "user", "content": "a long text"}, {"role": "assistant", "content": "b"}], "n": 1}
    wanted = {"messages": [{"role": "user", "content": "a long text"}, {"role": "assistant", "content": "c"}], "n": 1.0}
    changes = difference(base, wanted)
    assert changes == {"set": {"n": 1.0}, "in": {"messages": {"in": {"1": {"set": {"content": "c"}}}}}}


@pytest.mark.parametrize(
    "changes", [None, 3, [], {"in": 3}, {"set": 3, "drop": 3}, {"in": {"9": {"is": 1}, "x": {"is": 1}, "-1": {}}}]
)
def test_what_a_person_made_of_it_does_no_harm(changes: Any) -> None:
    for base in ({"a": 1}, [1, 2], "text", None):
        assert applied(deepcopy(base), changes) == base
