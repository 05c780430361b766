"""Schema version 1 stays what it was: frozen documents are read and written as on the first day."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
import yaml12

from localstore import JsonStorage, Message, Run, Session
from localstore.disk import store_tree
from localstore.format import document
from localstore.format.document import LAYOUTS
from localstore.format.values import to_json_value

FROZEN = Path(__file__).parent / "schema-1"
DOCUMENTS = sorted(path.name for path in FROZEN.iterdir() if path.suffix in LAYOUTS)
PACKAGE = Path(store_tree.__file__).parent.parent
SCHEMA = json.loads((PACKAGE / "models" / "session-1.schema.json").read_bytes())


def expected(name: str) -> dict[str, Any]:
    """What a frozen document says, written down independently of its format."""
    value: dict[str, Any] = json.loads((FROZEN / name).with_suffix(".expected").read_bytes())
    return value


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_frozen_document_says_what_it_said(name: str) -> None:
    path = FROZEN / name
    parsed = document.parse_document(path.read_bytes(), LAYOUTS[path.suffix], path)
    assert parsed.in_layout
    assert {**parsed.header, "history": parsed.entries} == expected(name)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_same_bytes_are_written_today(name: str) -> None:
    layout = LAYOUTS[Path(name).suffix]
    header = expected(name)
    entries = header.pop("history")
    raw = layout.assemble(layout.head(header), [layout.entry(entry) for entry in entries])
    assert raw == (FROZEN / name).read_bytes()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_models_keep_every_key(name: str) -> None:
    wanted = expected(name)
    session = Session.model_validate(wanted)
    assert {**to_json_value(session), "history": to_json_value(session.history)} == wanted


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.endswith(".json")])
def test_other_json_parsers_read_the_same_and_the_schema_holds(name: str) -> None:
    value = json.loads((FROZEN / name).read_bytes())
    jsonschema.validate(value, SCHEMA)
    assert value.pop("$schema") == "../../schemas/session-1.schema.json"
    assert value == expected(name)


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.endswith(".yaml")])
def test_yaml_1_1_and_1_2_parsers_read_the_same(name: str) -> None:
    text = (FROZEN / name).read_text(encoding="utf-8")
    assert yaml.safe_load(text) == expected(name)
    # py-yaml12 reads integers beyond 2**63 as floats.
    assert yaml12.parse_yaml(text.replace("18446744073709551615", "1")) == json.loads(
        json.dumps(expected(name)).replace("18446744073709551615", "1")
    )


def test_a_frozen_document_continues(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path / "store")
    for name in ("full.json", "team.yaml"):
        folder = tmp_path / "store" / "sessions" / "2026-11"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes((FROZEN / name).read_bytes())
    storage.append(
        "Trip to Wien/2026",
        Run(run_id="r3", messages=[Message(role="user", content=""), Message(role="assistant", content="Yes.")]),
    )
    storage.append("team-1", Run(run_id="t2"))
    session = storage.read("Trip to Wien/2026")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1", "r2", "r3"]
    assert session.runs[-1].answer == "Yes."
    assert session.session_state == {"visited": ["Berlin", "Wien"]}
    assert session.instructions == "Answer briefly.\n"
    assert (folder / "team.yaml").read_bytes().startswith((FROZEN / "team.yaml").read_bytes().removesuffix(b"...\n"))
