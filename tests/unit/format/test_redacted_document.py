"""Whole documents: redacted, redacted again, and as they were."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localstore import DocumentBroken
from localstore.format.document import LAYOUTS, Layout, ParsedDocument, parse_document
from localstore.format.redacted_document import redacted_document, unredacted
from localstore.format.redaction import SECRETS, Redactor, rule_of, saved_rules
from localstore.format.values import json_equal
from tests.effort import rounds

TIME = "2026-11-22T07:01:20.123Z"
HEADER = {"schema_version": 1, "session_id": "s", "kind": "agent"}
_texts = st.text(alphabet="ab#@.: -[]red\n\"'ü🚄", max_size=12) | st.sampled_from(
    ["[redacted]", "[redacted email]", "a@b.cc", "# a@b.cc", "ab", "  # ab"]
)
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_messages = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": _texts}), max_size=2)
_runs = st.builds(
    lambda number, messages, more: {
        "type": "run",
        "run_id": f"r{number}",
        "created_at": TIME,
        "messages": messages,
        **more,
        "status": "completed",
    },
    st.integers(0, 3),
    _messages,
    st.dictionaries(st.sampled_from(["xa", "xb", "a"]), _values, max_size=2),
)
_updates = st.builds(
    lambda state: {"type": "update", "created_at": TIME, "session_state": state},
    st.dictionaries(_texts, _values, max_size=2),
)
_items = st.builds(lambda value: {**value, "type": "item"}, st.dictionaries(_texts, _values, max_size=2))
_patterns = st.sampled_from(["a", "b+", "[a-z]+", r"\w", "(?s).+", "#", "re", r"\d+", "(?P<secret>a)b", " ", r"\n"])


def document(layout: Layout, header: dict[str, Any], entries: list[dict[str, Any]]) -> ParsedDocument:
    raw = layout.assemble(layout.head(header), [layout.entry(entry) for entry in entries])
    return parse_document(raw, layout, "s")


@settings(
    deadline=None,
    max_examples=rounds(40, 400, 10_000),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(
    st.sampled_from(sorted(LAYOUTS)),
    st.lists(_runs | _updates | _items, max_size=4),
    st.dictionaries(st.sampled_from(["name", "za", "b b"]), _texts, max_size=2),
    st.lists(_patterns, min_size=1, max_size=2),
    st.lists(_runs, max_size=1),
)
def test_what_is_redacted_comes_back_and_a_second_time_nothing_is_found(
    suffix: str, entries: list[Any], extra: dict[str, Any], patterns: list[str], added: list[Any]
) -> None:
    """Also after more was added, and when it is back already."""
    layout = LAYOUTS[suffix]
    old = document(layout, {**HEADER, **extra, "created_at": TIME}, entries)
    rules = (*map(rule_of, patterns), *SECRETS)
    redactor = Redactor(rules)
    new = redacted_document(old, redactor, "s")
    if new is None:
        assert all(one.is_id for one in redactor.found)
        return
    assert redacted_document(new, Redactor(rules), "s") is None
    longer = document(layout, new.header, [*new.entries, *added])
    for current in (new, old, longer):
        back = unredacted(old, current, saved_rules(rules), "s")
        assert json_equal(back.header, old.header)
        assert json_equal(back.entries[: len(old.entries)], old.entries)
        assert json_equal(back.entries[len(old.entries) :], added if current is longer else [])


def test_an_entry_that_only_looks_redacted_stays_in_its_place() -> None:
    """Both entries were brought back from the same old one: the other was lost."""
    entries = [{"type": "item", "a": "[redacted]"}, {"type": "item", "a": "b"}, {"type": "item", "a": "[redacted]"}]
    old = document(LAYOUTS[".json"], {**HEADER, "created_at": TIME}, entries)
    rules = [rule_of("b")]
    new = redacted_document(old, Redactor(rules), "s")
    assert new is not None
    for current in (new, old):
        assert unredacted(old, current, saved_rules(rules), "s").entries == entries


def test_what_was_changed_where_it_was_redacted_is_not_brought_back() -> None:
    old = document(LAYOUTS[".yaml"], {**HEADER, "created_at": TIME, "x b": 1}, [{"type": "item", "a": "b"}])
    rules = [rule_of("b")]
    new = redacted_document(old, Redactor(rules), "s")
    assert new is not None
    for header, entries in (
        ({**new.header, "x [redacted]": 2}, new.entries),
        (new.header, []),
        (new.header, [{"type": "item", "a": "[redacted]", "more": 1}]),
    ):
        current = document(LAYOUTS[".yaml"], header, entries)
        with pytest.raises(DocumentBroken, match="changed where it was redacted"):
            unredacted(old, current, saved_rules(rules), "s")


def test_numbered_marks_keep_many_keys_apart_in_linear_time() -> None:
    state = {f"{number}@b.cc": number for number in range(2000)}
    redacted = Redactor(SECRETS).value(state, "")
    assert list(redacted)[:3] == ["[redacted email]", "[redacted email 2]", "[redacted email 3]"]
    assert list(redacted.values()) == list(range(2000))
    assert Redactor(SECRETS).value(redacted, "") == redacted
