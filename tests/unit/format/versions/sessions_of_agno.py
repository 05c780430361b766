"""Sessions of agno for tests: the frozen files, and strategies that generate others."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from localstore.format import yaml_reader

FROZEN = Path(__file__).parents[3] / "format" / "agno-1"


def frozen() -> list[dict[str, Any]]:
    files = sorted(path for path in FROZEN.iterdir() if path.suffix in (".json", ".yaml"))
    return [
        json.loads(path.read_bytes()) if path.suffix == ".json" else yaml_reader.load(path.read_bytes(), by_pyyaml=True)
        for path in files
    ]


def session(*runs: Any, **more: Any) -> dict[str, Any]:
    """Return a session of an agent with these runs."""
    return {
        "session_id": "s1",
        "user_id": None,
        "memory": {"runs": list(runs)},
        "session_data": {},
        "agent_id": "a",
        "agent_data": {"name": "A"},
        "created_at": 1_795_331_432,
        "updated_at": 1_795_331_440,
        **more,
    }


def run(*messages: Any, **more: Any) -> dict[str, Any]:
    return {
        "run_id": "r1",
        "status": "RUNNING",
        "created_at": 1_795_331_400,
        "session_id": "s1",
        "agent_id": "a",
        "messages": list(messages),
        **more,
    }


def message(role: str, content: Any, at: int = 1_795_331_432, **more: Any) -> dict[str, Any]:
    return {
        "role": role,
        "content": content,
        "from_history": False,
        "stop_after_tool_call": False,
        "created_at": at,
        **more,
    }


# Generated: any session that agno could have written, and some that it could not

_words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_ids = st.sampled_from(["r1", "r2", "r3", "s1", ""])
_times = st.one_of(st.none(), st.integers(1_795_331_400, 1_795_331_500), st.just(1_795_331_432.25))
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(-4, 4), _words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_words, inner, max_size=3)),
    max_leaves=5,
)
_mappings = st.dictionaries(_words, _values, max_size=3)


def _some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


_counts = st.one_of(st.integers(0, 99), st.lists(st.integers(0, 99), max_size=3))
_metrics = st.one_of(
    st.none(),
    _some(
        {},
        {
            "input_tokens": _counts,
            "output_tokens": _counts,
            "time": st.lists(st.floats(0, 9), max_size=2),
            "duration_seconds": st.just(1.5),
            "cost": _values,
            "prompt_tokens_details": st.lists(st.fixed_dictionaries({"cached_tokens": st.integers(0, 9)}), max_size=3),
        },
    ),
)
_calls = st.lists(
    _some(
        {
            "function": _some(
                {"name": st.sampled_from(["f", "transfer_task_to_member"])},
                {
                    "arguments": st.sampled_from(
                        [None, "", "{}", '{"member_id": "m"}', "[1]", "{", '{"a": 1e999}', '{"x": {"y": [1.0]}}']
                    ),
                    "strict": st.booleans(),
                },
            )
        },
        {"id": st.sampled_from(["c1", "c2"]), "type": st.sampled_from(["function", "other"]), "more": _values},
    ),
    max_size=2,
)
_messages = st.lists(
    _some(
        {"role": st.sampled_from(["system", "user", "assistant", "tool", "model"])},
        {
            "content": st.one_of(
                st.none(), st.sampled_from(["hi", "yes", ""]), st.lists(st.one_of(_words, _mappings), max_size=2)
            ),
            "from_history": st.booleans(),
            "stop_after_tool_call": st.booleans(),
            "created_at": _times,
            "tool_calls": _calls,
            "tool_call_id": st.just("c1"),
            "metrics": _metrics,
            "name": st.just("n"),
            "images": st.just([{"url": "https://example.org/a.png"}]),
            "extra": _values,
        },
    ),
    max_size=4,
)
_run = {
    "run_id": _ids,
    "status": st.sampled_from(["RUNNING", "PENDING", "PAUSED", "COMPLETED", "CANCELLED", "ERROR", "OTHER", None]),
    "created_at": _times,
    "session_id": st.sampled_from(["s1", "s2"]),
    "agent_id": st.sampled_from(["a", "m", None]),
    "agent_name": st.sampled_from(["A", "M"]),
    "team_id": st.sampled_from(["t", "m", None]),
    "workflow_id": st.sampled_from(["w", None]),
    "content": st.one_of(st.sampled_from(["hi", "yes", ""]), _values),
    "content_type": st.sampled_from(["str", "Answer"]),
    "messages": _messages,
    "metrics": _metrics,
    "model": st.just("m"),
    "tools": st.lists(_mappings, max_size=1),
    "input": _values,
    "steps": _values,
    "instructions": _values,
    "error": _values,
    "agno_status": _values,
    "odd": _values,
}
_member_runs = st.recursive(
    _some({}, _run),
    lambda inner: _some({}, {**_run, "member_responses": st.lists(inner, max_size=2)}),
    max_leaves=3,
)
_step_metrics = st.one_of(
    _metrics,
    _some(
        {"step_name": st.sampled_from(["one", "two"])},
        {
            "executor_type": st.just("agent"),
            "executor_name": st.just("A"),
            "metrics": _metrics,
            "parallel_steps": st.dictionaries(
                _words, _some({}, {"metrics": _metrics, "step_name": _words}), max_size=2
            ),
        },
    ),
)
_steps = st.recursive(
    _some(
        {},
        {
            "step_name": st.sampled_from(["one", None]),
            "content": _values,
            "response": st.one_of(st.none(), _member_runs),
            "metrics": _step_metrics,
            "success": st.booleans(),
            "error": st.sampled_from([None, "no"]),
            "stop": st.booleans(),
            "created_at": _times,
            "input": _values,
            "output": _values,
            "name": _values,
            "executor_type": _values,
            "parallel_steps": _values,
        },
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.fixed_dictionaries(
            {"steps": st.lists(inner, max_size=2)},
            optional={
                "parallel_step_outputs": st.dictionaries(
                    _words, st.fixed_dictionaries({"content": _values}), max_size=2
                )
            },
        ),
    ),
    max_leaves=3,
)
_old_runs = _some(
    {"response": _member_runs},
    {"message": _messages.map(lambda m: m[0] if m else None), "messages": _messages, "input": _mappings},
)
_runs = st.lists(
    st.one_of(
        _member_runs,
        _old_runs,
        st.builds(lambda run, steps: {**run, "step_responses": steps}, _some({}, _run), st.lists(_steps, max_size=3)),
    ),
    max_size=4,
)
_memory = {
    "summaries": st.dictionaries(
        st.sampled_from(["default", "alice"]), st.dictionaries(st.sampled_from(["s1", "s2"]), _mappings), max_size=2
    ),
    "summary": _values,
    "memories": _mappings,
    "messages": _messages,
    "team_context": _values,
    "other": _values,
}
_header = {
    "user_id": st.sampled_from(["alice", None]),
    "session_data": _some({}, {"session_name": _words, "session_state": _mappings, "images": _values}),
    "extra_data": st.one_of(st.none(), _mappings, _values),
    "created_at": _times,
    "updated_at": _times,
    "workflow_name": st.just("W"),
    "kind": _values,
    "history_of": _values,
    "metadata": _values,
    "localstore": _values,
    "agno_mode": _values,
    "instructions": _values,
    "team_session_id": _values,
}
sessions = st.builds(
    lambda header, kind, data, runs, memory, on_top: {
        "session_id": "s1",
        f"{kind}_id": kind[0],
        f"{kind}_data": data,
        **header,
        **({"runs": runs} if on_top else {"memory": {**memory, "runs": runs}}),
    },
    _some({}, _header),
    st.sampled_from(["agent", "team", "workflow"]),
    st.one_of(st.none(), st.just({"name": "A"})),
    _runs,
    _some({}, _memory),
    st.booleans(),
)
