"""Runs and messages of agno become entries, and come back unchanged. These tests need no agno."""

import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from localstore.format.agno_db.history import (
    NeedsWholeDocument,
    extract_system,
    refer_to_history,
    restore_messages,
)
from localstore.format.agno_db.messages import from_message, to_message
from localstore.format.agno_db.runs import contains_run, run_indexes, to_entry, to_run
from localstore.models.session import Run

DEFAULTS = {"from_history": False, "stop_after_tool_call": False}
RUN: dict[str, Any] = {
    "run_id": "r1",
    "agent_id": "a1",
    "session_id": "s1",
    "content": "Paris.",
    "content_type": "str",
    "created_at": 1_700_000_000,
    "status": "COMPLETED",
    "metrics": {"input_tokens": 7, "duration": 0.5},
    "messages": [
        {"role": "user", "content": "Where?", "created_at": 1_700_000_000, **DEFAULTS},
        {"role": "assistant", "content": "Paris.", **DEFAULTS},
    ],
    "input": {"input_content": "Where?"},
}


def test_a_run_is_an_entry_that_people_can_read() -> None:
    assert to_entry(RUN, "s1") == {
        "type": "run",
        "run_id": "r1",
        "agent_id": "a1",
        "created_at": "2023-11-14T22:13:20.000Z",
        "messages": [
            {"role": "user", "content": "Where?", "created_at": "2023-11-14T22:13:20.000Z"},
            {"role": "assistant", "content": "Paris."},
        ],
        "metrics": {"input_tokens": 7, "duration_seconds": 0.5},
        "status": "completed",
    }


def test_the_defaults_of_agno_come_back() -> None:
    """Rows lacked `from_history: false` and `stop_after_tool_call: false`, which agno writes into every message."""
    assert to_run(to_entry(RUN, "s1"), "s1") == RUN
    native = {"role": "user", "content": "hi"}
    assert from_message(native) == native | DEFAULTS
    bare = {**RUN, "messages": [native | {"stop_after_tool_call": False}]}
    entry = to_entry(bare, "s1")
    assert entry["messages"] == [native | {"agno_absent": ["from_history"]}]
    assert to_run(entry, "s1") == bare


def test_the_index_of_a_run_follows_from_those_before() -> None:
    entries = [{"type": "run", **more} for more in ({}, {"agno_run_index": 7}, {}, {"agno_run_index": 2}, {})]
    assert run_indexes([*entries, {"type": "update"}]) == [0, 7, 8, 2, 9]


def test_a_run_contains_another_form_of_it() -> None:
    """Which runs are kept when agno replaces them: those with messages, steps or members that the new form lacks."""
    paused = to_entry({**RUN, "status": "PAUSED", "content": None, "messages": RUN["messages"][:1]}, "s1")
    done, other = to_entry(RUN, "s1"), to_entry({**RUN, "messages": [RUN["messages"][1]]}, "s1")
    assert contains_run(done, paused)
    assert not contains_run(paused, done)
    assert not contains_run(other, done)
    assert not contains_run({**done, "agno_run": {**RUN, "messages": []}}, done)
    team = to_entry({"run_id": "r1", "team_id": "t", "created_at": 1, "member_responses": [RUN]}, "s1")
    scrubbed = to_entry({"run_id": "r1", "team_id": "t", "created_at": 1}, "s1")
    replaced = to_entry(
        {"run_id": "r1", "team_id": "t", "created_at": 1, "member_responses": [{**RUN, "run_id": 2}]}, "s1"
    )
    assert contains_run(scrubbed, team)
    assert not contains_run(replaced, team)


def test_what_failed_says_why() -> None:
    entry = to_entry({**RUN, "status": "ERROR", "content": "no such model"}, "s1")
    assert (entry["status"], entry["error"]) == ("error", "no such model")
    assert to_run(entry, "s1")["content"] == "no such model"


def test_a_run_that_waits_is_unfinished() -> None:
    entry = to_entry({**RUN, "status": "PAUSED"}, "s1")
    assert (entry["status"], entry["agno_status"]) == ("unfinished", "PAUSED")
    assert to_run(entry, "s1")["status"] == "PAUSED"


def test_a_tool_call_is_an_object() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city":  "Wien"}'}}
    message = to_message({"role": "assistant", "tool_calls": [call]})
    assert message["tool_calls"] == [
        {"id": "c1", "name": "f", "arguments": {"city": "Wien"}, "agno_arguments": '{"city":  "Wien"}'}
    ]
    assert from_message(message)["tool_calls"] == [call]
    message["tool_calls"][0]["arguments"]["city"] = "Linz"  # by hand, in the document
    assert from_message(message)["tool_calls"][0]["function"]["arguments"] == '{"city": "Linz"}'


_text = st.text(string.ascii_letters + " {}\"'é\n", max_size=12)
_value: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_function = st.fixed_dictionaries({"name": _text, "arguments": _text | st.just("{}")})
_call = st.fixed_dictionaries(
    {"type": st.just("function"), "function": _function},
    optional={"id": _text, "index": st.integers(0, 3)},
)
_message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
    optional={
        "content": _text | _value,
        "tool_calls": st.lists(_call, max_size=2) | _value,
        "created_at": st.integers(0, 2**33) | _value,
        "from_history": st.booleans(),
        "name": _value,
        "metrics": _value,
    },
)
_run = st.fixed_dictionaries(
    {"run_id": st.just("r1")},
    optional={
        "agent_id": _text,
        "team_id": _text,
        "parent_run_id": _text,
        "session_id": st.sampled_from(["s1", "s2"]),
        "content": _value,
        "content_type": _value,
        "input": _value | st.fixed_dictionaries({"input_content": _text}),
        "created_at": st.integers(0, 2**33) | _value,
        "status": st.sampled_from(["COMPLETED", "ERROR", "PAUSED", "odd", "completed"]) | _value,
        "messages": st.lists(_message, max_size=4) | _value,
        "member_responses": _value,
        "step_results": _value,
        "step_executor_runs": _value,
        "session_state": _value,
        "metrics": _value,
        "error": _value,
        "type": _value,
        "instructions": _value,
        "agno_status": _value,
    },
)


@given(_run)
def test_every_run_comes_back_as_it_was(data: dict[str, Any]) -> None:
    entry = to_entry(data, "s1")
    Run.model_validate(entry)
    assert to_run(entry, "s1") == data


def history(number: int, *earlier: dict[str, Any], system: str = "S") -> dict[str, Any]:
    """Return a run with a system prompt, copies of earlier messages, and its own question and answer."""
    own = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": f"a{number}"}]
    said = [message for run in earlier for message in run["messages"] if not message.get("from_history")]
    copies = [{**message, "from_history": True} for message in said if message["role"] != "system"]
    messages = [{"role": "system", "content": system, "id": f"m{number}"}, *copies, *own]
    return {"type": "run", "run_id": f"r{number}", "created_at": "2026-11-22T07:01:20.123Z", "messages": messages}


def stored(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    holds = None
    for run in runs:
        entry = dict(run)
        text = extract_system(entry)
        refer_to_history(entry, reversed(entries))
        if text != holds:
            entry["instructions"] = holds = text
        entries.append(entry)
    return entries


def test_what_is_repeated_is_said_once() -> None:
    runs: list[dict[str, Any]] = []
    for number in range(5):
        runs.append(history(number, *runs[-3:], system="S" if number < 3 else "T"))
    entries = stored(runs)
    assert [len(entry["messages"]) for entry in entries] == [2] * 5
    assert [entry.get("instructions") for entry in entries] == ["S", None, None, "T", None]
    back = restore_messages(entries, {}, whole=True)
    assert [run["messages"] for run in back] == [run["messages"] for run in runs]


def test_the_last_runs_tell_when_they_do_not_tell_it_all() -> None:
    runs = [history(0), history(1), history(2, system="T"), history(3, system="T")]
    entries = stored(runs)
    current = {"instructions": "T"}
    for last in (1, 2):
        assert [run["messages"] for run in restore_messages(entries[-last:], current, whole=False)] == [
            run["messages"] for run in runs[-last:]
        ]
    for part in (entries[-3:], [stored([history(0), history(1, history(0))])[1]]):
        try:
            restore_messages(part, current, whole=False)
        except NeedsWholeDocument:
            continue
        raise AssertionError("the entries before were not asked for")


def test_a_copy_whose_original_a_person_removed_is_left_out() -> None:
    entries = stored([history(0), history(1, history(0))])
    (run,) = restore_messages(entries[1:], {"instructions": "S"}, whole=True)
    assert [message["content"] for message in run["messages"]] == ["", "q1", "a1"]
