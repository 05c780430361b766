"""Summarise the runs of a session: question, status, tokens, seconds, ratings. Nothing here touches a file."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from localstore.format.item_messages import item_messages
from localstore.models.excerpt import one_line

RUNS, FAILED, INPUT, OUTPUT, CACHED, MILLISECONDS = range(6)
"""The positions of the numbers in a list of `usage`."""

_MOST = 2**53 - 1
"""The largest number that is counted, and the largest sum: all readers of JSON can read it."""
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])\Z")
_NOTHING: dict[str, list[int]] = {}
_ONE_RUN = (1, 0, 0, 0, 0, 0)
_Numbers = tuple[int, int, int, int]
"""Tokens in, out and from the cache, and milliseconds."""


class Overview(TypedDict, total=False):
    """The summary of a session's runs in its row. Keys without a value are absent, but `usage` is always there.

    `question` is the first question on one line. `status` is that of the last run. `usage` maps the month (`YYYY-MM` in
    UTC, or "") and the model (or "") of runs to their numbers: runs, failed runs, tokens in, out and from the cache,
    milliseconds. `ratings` maps ratings to numbers of runs. `parent` is the session that this one was forked from.
    """

    question: str
    status: str
    usage: dict[str, dict[str, list[int]]]
    ratings: dict[str, int]
    parent: str


def new_overview(header: Mapping[str, Any]) -> Overview:
    """Return the overview of a session without runs."""
    overview: Overview = {"usage": {}}
    origin = header.get("forked_from")
    if isinstance(origin, dict) and isinstance(origin.get("session_id"), str):
        overview["parent"] = origin["session_id"]
    return overview


def with_header(overview: Overview, of_header: Overview) -> Overview:
    """Return the overview with what `of_header`, made by `new_overview`, says of another header."""
    changed = overview.copy()
    changed.pop("parent", None)
    if "parent" in of_header:
        changed["parent"] = of_header["parent"]
    return changed


def with_run(overview: Overview, run: Mapping[str, Any], month_source: str, *, replaces_unfinished: bool) -> Overview:
    """Return the overview with `run` counted, which is the last run.

    Of an unfinished run, only the question, the status and the month count: tokens, seconds, model and rating may still
    change. If `replaces_unfinished` is true, an unfinished form of this run was counted before. `month_source` is the
    time of the run in UTC, as text.
    """
    counted = overview.copy()
    if "question" not in counted and (question := question_of(run)):
        counted["question"] = question
    status = run.get("status")
    counted["status"] = status = status if isinstance(status, str) else "completed"
    if status == "unfinished" and replaces_unfinished:
        return counted
    month = month_source[:7]
    if not _MONTH.match(month):
        month = ""
    usage = counted["usage"] = counted["usage"].copy()
    models = usage[month] = usage.get(month, _NOTHING).copy()
    if replaces_unfinished:
        _add(models, "", (-1, 0, 0, 0, 0, 0))
        if not any(models[""]):
            del models[""]
    if status == "unfinished":
        _add(models, "", (1, 0, 0, 0, 0, 0))
        return counted
    failed = int(status == "error")
    if "member_runs" in run or "steps" in run:
        (model, own), *members = _usage_by_model(run)
        _add(models, model, (1, failed, *own))
        for model, numbers in members:
            if model or any(numbers):  # otherwise the end of another run would remove what this one added
                _add(models, model, (0, 0, *numbers))
    else:
        _add(models, _model(run), (1, failed, *_numbers(run)))
    rating = run.get("rating")
    if isinstance(rating, str):
        ratings = counted.get("ratings", {})
        counted["ratings"] = {**ratings, rating: ratings.get(rating, 0) + 1}
    return counted


def _add(models: dict[str, list[int]], model: str, numbers: tuple[int, ...]) -> None:
    before = models.get(model)
    if before is None:
        models[model] = list(numbers)
    elif numbers == _ONE_RUN:  # the usual case of a model that reports no tokens
        models[model] = [before[0] + 1, *before[1:]]
    else:
        added = [a + b for a, b in zip(before, numbers, strict=True)]
        models[model] = added if max(added) <= _MOST else [min(number, _MOST) for number in added]


def _usage_by_model(run: Mapping[str, Any]) -> list[tuple[str, _Numbers]]:
    """Return the model of a run with tokens and milliseconds, then those of its member runs, without milliseconds.

    The metrics of a run include those of its members, so the tokens of the members are subtracted from the run's own.
    """
    tokens_in, tokens_out, cached, milliseconds = _numbers(run)
    members = [
        (model, (numbers[0], numbers[1], numbers[2], 0))
        for member in _members(run)
        for model, numbers in _usage_by_model(member)
    ]
    tokens_in -= sum(numbers[0] for _, numbers in members)
    tokens_out -= sum(numbers[1] for _, numbers in members)
    cached -= sum(numbers[2] for _, numbers in members)
    return [(_model(run), (max(0, tokens_in), max(0, tokens_out), max(0, cached), milliseconds)), *members]


def _model(run: Mapping[str, Any]) -> str:
    model = run.get("model")
    return model if isinstance(model, str) else ""


def _members(run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from _mappings(run.get("member_runs"))
    for step in _mappings(run.get("steps")):
        yield from _mappings(step.get("member_runs"))


def _mappings(values: Any) -> list[dict[str, Any]]:
    """Return the mappings in a list. Nothing else is counted: documents may be edited by hand."""
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _numbers(run: Mapping[str, Any]) -> _Numbers:
    metrics = run.get("metrics")
    if not isinstance(metrics, dict):
        return 0, 0, 0, 0
    seconds = metrics.get("duration_seconds")
    return (
        _countable(metrics.get("input_tokens")),
        _countable(metrics.get("output_tokens")),
        _countable(metrics.get("cached_tokens")),
        round(seconds * 1000) if isinstance(seconds, (int, float)) and 0 <= seconds < _MOST / 1000 else 0,
    )


def _countable(value: Any) -> int:
    """Return a number in a document, or 0 if the value is not a whole number, negative or too large to be a count."""
    return value if type(value) is int and 0 <= value <= _MOST else 0


def with_item(overview: Overview, entry: Mapping[str, Any]) -> Overview:
    """Return the overview with an item of another framework: its chat message may be the first question."""
    if "question" in overview or not (question := question_of({"messages": item_messages({**entry})})):
        return overview
    counted = overview.copy()
    counted["question"] = question
    return counted


def question_of(run: Mapping[str, Any]) -> str:
    """Return the question of a run, else its input, on one line and shortened; "" if it has neither."""
    for message in _mappings(run.get("messages")):
        if message.get("role") == "user":
            return one_line(_text(message.get("content")))
    return one_line(_input_text(run.get("input")))


def _input_text(value: Any) -> str:
    """Return the input of a workflow as text: `city: Linz, days: 3` for a mapping."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text}" for key, item in value.items() if (text := _input_text(item)))
    if isinstance(value, list):
        return ", ".join(filter(None, map(_input_text, value)))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in _mappings(content) if isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def is_overview(value: Any) -> bool:
    """Return whether a value of a manifest line is a valid overview."""
    if type(value) is not dict:
        return False
    usage, ratings = value.get("usage"), value.get("ratings", _NOTHING)
    # Written out, because a manifest may have very many lines.
    return (
        type(usage) is dict
        and _are_usages(usage)
        and type(ratings) is dict
        and _INTEGERS.issuperset(map(type, ratings.values()))
        and type(value.get("question", "")) is str
        and type(value.get("status", "")) is str
        and type(value.get("parent", "")) is str
    )


_INTEGERS = {int}
_SIX_INTEGERS: list[type] = [int] * (MILLISECONDS + 1)


def _are_usages(usage: dict[str, Any]) -> bool:
    for models in usage.values():
        if type(models) is not dict:
            return False
        for numbers in models.values():
            if type(numbers) is not list or list(map(type, numbers)) != _SIX_INTEGERS:
                return False
    return True
