"""Methods for the data that `LocalDb` does not store: those that read return nothing, and those that write raise.

They are generated because releases of agno differ in the methods that a database must have.
"""

from collections.abc import Callable
from typing import Any

_ALTERNATIVES = {
    "knowledge": "`Knowledge(contents_db=SqliteDb(...))`",
    "eval": "an evaluation with `db=SqliteDb(...)`",
    "trace": "`setup_tracing(db=SqliteDb(...))`",
    "span": "`setup_tracing(db=SqliteDb(...))`",
    "metrics": "the metrics in each run and in `session_data`, or `SqliteDb`",
    "learning": "a learning machine with `db=SqliteDb(...)`",
    "cultural": "a culture manager with `db=SqliteDb(...)`",
}
_NOTHING: dict[str, Callable[[], Any]] = {
    "get_metrics": lambda: ([], None),
    "calculate_metrics": list,
    "get_knowledge_content": lambda: None,
    "get_knowledge_contents": lambda: ([], 0),
    "get_eval_run": lambda: None,
    "get_eval_runs": list,
    "get_trace": lambda: None,
    "get_traces": lambda: ([], 0),
    "get_trace_stats": lambda: ([], 0),
    "get_span": lambda: None,
    "get_spans": list,
    "get_span_stats": lambda: ([], 0),
    "get_learning": lambda: None,
    "get_learnings": list,
    "get_cultural_knowledge": lambda: None,
    "get_all_cultural_knowledge": list,
}
"""What the reading methods return if nothing is stored. AgentOS calls them for its pages."""


def unsupported_method(name: str) -> Callable[..., Any]:
    """Return a method called `name`.

    If it reads, it returns what agno's databases return if nothing is stored. Otherwise, it raises NotImplementedError
    with a message that says what to use instead.
    """
    alternative = next((use for word, use in _ALTERNATIVES.items() if word in name), "agno's `SqliteDb`")

    def read(*_: Any, deserialize: bool | None = True, **__: Any) -> Any:
        nothing = _NOTHING[name]()
        return (nothing, 0) if not deserialize and isinstance(nothing, list) else nothing

    def refuse(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"LocalDb stores sessions, runs and user memories, and has no {name}. Use {alternative} for it."
        )

    if name in _NOTHING:
        method: Callable[..., Any] = read
        doc = f"Return nothing: LocalDb does not store this. Use {alternative}."
    else:
        method = refuse
        doc = f"Not supported: raises NotImplementedError. Use {alternative}."
    method.__name__ = name
    method.__doc__ = doc
    return method
