"""Runs for the tests of the contract."""

from typing import Any

from localstore import Message, Metrics, Run, Session, SessionStorage
from localstore.format.values import to_json_value


def answered(run_id: str, question: str = "hi", answer: str = "Hello!", **fields: Any) -> Run:
    """Return a completed run with a question and an answer."""
    messages = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Run(run_id=run_id, messages=messages, **fields)


def asked(run_id: str, question: str = "hi", **fields: Any) -> Run:
    """Return an unfinished run with a question."""
    return Run(run_id=run_id, messages=[Message(role="user", content=question)], status="unfinished", **fields)


def costly(run_id: str, model: str, tokens: int, created_at: str, **fields: Any) -> Run:
    """Return a completed run that a model answered."""
    metrics = Metrics(input_tokens=tokens, output_tokens=1, duration_seconds=0.5)
    return answered(run_id, model=model, metrics=metrics, created_at=created_at, **fields)


def read(storage: SessionStorage, session_id: str) -> Session:
    """Read a session that exists."""
    session = storage.read(session_id)
    assert session is not None
    return session


def run_ids(storage: SessionStorage, session_id: str) -> list[str]:
    """Return the ids of the runs of a session that exists."""
    return [run.run_id for run in read(storage, session_id).runs]


def document(storage: SessionStorage, session_id: str) -> list[Any]:
    """Return the header and the entries of a session as plain values, as lists of pairs: the order of keys counts."""
    session = read(storage, session_id)
    return _pairs([to_json_value(session), *map(to_json_value, session.history)])  # type: ignore[no-any-return]


def _pairs(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _pairs(item)) for key, item in value.items()]
    return [_pairs(item) for item in value] if isinstance(value, list) else value
