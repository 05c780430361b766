"""What a `LocalDb` does not store. Which methods a database of agno must have differs between its releases."""

from collections.abc import Callable
from typing import Any

_ELSEWHERE = {
    "knowledge": "`Knowledge(contents_db=SqliteDb(...))`",
    "eval": "an evaluation with `db=SqliteDb(...)`",
    "trace": "`setup_tracing(db=SqliteDb(...))`",
    "span": "`setup_tracing(db=SqliteDb(...))`",
    "metrics": "the metrics in each run and in `session_data`, or `SqliteDb`",
    "learning": "a learning machine with `db=SqliteDb(...)`",
    "cultural": "a culture manager with `db=SqliteDb(...)`",
}


def elsewhere(name: str) -> Callable[..., Any]:
    """A method that raises NotImplementedError and says where else to store it."""
    advice = next((advice for word, advice in _ELSEWHERE.items() if word in name), "agno's `SqliteDb`")

    def method(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"LocalDb stores sessions, runs and user memories, and has no {name}. Use {advice} for it."
        )

    method.__name__ = name
    method.__doc__ = f"Not stored here: raises NotImplementedError, which names {advice}."
    return method
