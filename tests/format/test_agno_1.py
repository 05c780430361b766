"""What agno 1.x wrote becomes the same documents for ever, and finds its way back."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from localstore.format import yaml_reader
from localstore.format.values import to_json_value
from localstore.format.versions import downgraded, upgraded, version_of
from localstore.format.versions.values import identity
from localstore.models.session import Session
from tests.format.test_schema_1 import SCHEMA

FROZEN = Path(__file__).parent / "agno-1"
FILES = sorted(path.name for path in FROZEN.iterdir() if path.suffix in (".json", ".yaml"))


def written_by_agno(name: str) -> dict[str, Any]:
    raw = (FROZEN / name).read_bytes()
    value: dict[str, Any] = json.loads(raw) if name.endswith(".json") else yaml_reader.load(raw, by_pyyaml=True)
    return value


def expected(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((FROZEN / name).with_suffix(".expected").read_bytes())
    return value


@pytest.mark.parametrize("name", FILES)
def test_a_frozen_session_becomes_what_it_became(name: str) -> None:
    raw = written_by_agno(name)
    before = deepcopy(raw)
    assert version_of(raw) == 0
    document = upgraded(raw, 0)
    assert json.dumps(document) == json.dumps(expected(name))  # the order of the keys as well
    assert raw == before


@pytest.mark.parametrize("name", FILES)
def test_it_is_a_document_of_version_1(name: str) -> None:
    document = expected(name)
    assert version_of(document) == 1
    jsonschema.validate(document, SCHEMA)
    session = Session.model_validate(document)
    assert {**to_json_value(session), "history": to_json_value(session.history)} == document


@pytest.mark.parametrize("name", FILES)
def test_the_way_back_is_exact(name: str) -> None:
    document = expected(name)
    back = downgraded(document, 0)
    assert back is not None
    assert version_of(back) == 0
    assert identity(upgraded(back, 0)) == identity(document)
    assert document == expected(name)


@pytest.mark.parametrize("name", ["full.expected", "team.expected", "workflow.expected", "empty.expected"])
def test_documents_of_our_own_go_to_agno_and_back(name: str) -> None:
    document = json.loads((FROZEN.parent / "schema-1" / name).read_bytes())
    back = downgraded(document, 0)
    assert back is not None
    assert identity(upgraded(back, 0)) == identity(document)


def test_every_file_has_its_expectation() -> None:
    assert {Path(name).with_suffix(".expected").name for name in FILES} == {p.name for p in FROZEN.glob("*.expected")}
