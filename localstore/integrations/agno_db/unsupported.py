"""Methods for the data that `LocalDb` does not store.

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


def unsupported_method(name: str) -> Callable[..., Any]:
    """Return a method called `name` that raises NotImplementedError with a message that says what to use instead."""
    alternative = next((use for word, use in _ALTERNATIVES.items() if word in name), "agno's `SqliteDb`")

    def method(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"LocalDb stores sessions, runs and user memories, and has no {name}. Use {alternative} for it."
        )

    method.__name__ = name
    method.__doc__ = f"Not supported: raises NotImplementedError. Use {alternative}."
    return method
