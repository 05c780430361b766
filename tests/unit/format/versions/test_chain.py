"""The upgrade steps follow each other, and each document has a version."""

from typing import Any

import pytest

from localstore.format.versions import STEPS, CannotUpgrade, Step, chain, downgraded, upgraded, version_of
from localstore.models.schema import SCHEMA_VERSION
from tests.unit.format.versions.sessions_of_agno import session


def test_the_steps_lead_from_version_0_to_the_current_one() -> None:
    assert [step.version for step in STEPS] == list(range(1, SCHEMA_VERSION + 1))
    assert all(step.title and "\n" not in step.title for step in STEPS)


@pytest.mark.parametrize(
    ("document", "version"),
    [
        ({"schema_version": 1}, 1),
        ({"schema_version": 99, "history": []}, 99),
        ({"schema_version": 0}, 0),
        ({"schema_version": True}, None),
        ({"schema_version": -1}, None),
        ({"schema_version": "1"}, None),
        ({"schema_version": 1.0, "session_id": "s", "memory": {}, "agent_id": "a"}, None),
        ({}, None),
        ({"session_id": "s"}, None),
        ({"session_id": 1, "memory": {}, "agent_id": "a"}, None),
        ({"session_id": "s", "memory": None, "agent_id": None}, 0),
        ({"session_id": "s", "memory": {}, "team_data": {}}, 0),
        ({"session_id": "s", "runs": [], "workflow_id": "w"}, 0),
        ({"session_id": "s", "memory": {}, "agent_id": "a", "history": []}, None),
        ({"session_id": "s", "kind": "agent", "agent_id": "a", "history": []}, None),
    ],
)
def test_the_version_of_a_document(document: dict[str, Any], version: int | None) -> None:
    assert version_of(document) == version


def test_a_document_of_the_current_version_does_not_change() -> None:
    document = upgraded(session(), 0)
    assert upgraded(document, SCHEMA_VERSION) == document
    assert downgraded(document, SCHEMA_VERSION) == document


@pytest.mark.parametrize("version", [-1, SCHEMA_VERSION + 1])
def test_a_version_without_a_step_is_refused(version: int) -> None:
    with pytest.raises(CannotUpgrade, match="schema_version: expected a version from 0"):
        upgraded(session(), version)
    with pytest.raises(CannotUpgrade, match="schema_version: expected a version from 0"):
        downgraded(session(), version)


def test_a_step_without_a_way_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "STEPS", (Step(1, "One way", lambda document: document, None),))
    assert downgraded({}, 0) is None
