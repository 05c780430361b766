"""Runs of our own agents, in the form of agno."""

from typing import Any

from localstore import Metrics, Run
from localstore.format.agno_db.runs import to_run
from localstore.format.values import to_json_value


def test_cached_tokens_have_agnos_name() -> None:
    """agno makes its metrics from all keys, and raises TypeError for `cached_tokens`: the session could not be read."""
    metrics = Metrics(input_tokens=3, cached_tokens=2, output_tokens=1, reasoning_tokens=1, duration_seconds=0.5)
    entry: Any = to_json_value(Run(metrics=metrics))
    assert to_run(entry, "s")["metrics"] == {
        "input_tokens": 3,
        "cache_read_tokens": 2,
        "output_tokens": 1,
        "reasoning_tokens": 1,
        "duration": 0.5,
    }
