"""The models, the JSON Schema and the tables of FORMAT.md have the fields of `SHAPES`: keys, order, types, required."""

import json
from pathlib import Path
from typing import Any

import pytest

import localstore
from localstore.format.values import to_json_value
from localstore.models.record import Record
from localstore.models.schema import HEADER_ORDER, KINDS, SCHEMA_VERSION, SESSION_KEYS, SHAPES, RecordName
from localstore.models.session import ContentPart, Entry, Message, Metrics, Origin, Run, Session, Step, ToolCall, Update

PACKAGE = Path(localstore.__file__).parent
FORMAT = (PACKAGE / "FORMAT.md").read_text(encoding="utf-8")
SCHEMA = json.loads((PACKAGE / "models" / "session-1.schema.json").read_bytes())

MODELS: dict[RecordName, type[Record]] = {
    "header": Session,
    "origin": Origin,
    "entry": Entry,
    "run": Run,
    "update": Update,
    "message": Message,
    "content_part": ContentPart,
    "tool_call": ToolCall,
    "metrics": Metrics,
    "step": Step,
}
MINIMAL: dict[RecordName, dict[str, Any]] = {
    "origin": {"session_id": "s"},
    "entry": {"type": "note"},
    "message": {"role": "user"},
    "content_part": {"type": "text"},
    "tool_call": {"name": "f"},
    "step": {"name": "s"},
}
"""The fields that the models have no default for."""
TABLES: dict[RecordName, str] = {
    "header": "### Header",
    "run": "### Run",
    "update": "### Update",
    "message": "### Message",
    "content_part": "### Content part",
    "tool_call": "### Tool call",
    "metrics": "### Metrics",
    "step": "### Step",
}

Json = dict[str, Any]


def list_of(name: str) -> Json:
    return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}


TEXT: Json = {"type": "string"}
MAPPING: Json = {"type": "object"}
TYPES: dict[str, tuple[str, Json, Json | None]] = {
    "any": ("any", {}, None),
    "text": ("text", TEXT, None),
    "text, not empty": ("text, not empty", {"type": "string", "minLength": 1}, TEXT),
    "time": ("time", TEXT, None),
    "integer": ("integer", {"type": "integer"}, None),
    "number": ("number", {"type": "number"}, None),
    "mapping": ("mapping", MAPPING, None),
    "times by id": ("mapping of times", MAPPING, None),
    "text or mapping": ("mapping, or text", {"type": ["object", "string"]}, {"anyOf": [MAPPING, TEXT]}),
    "text or list of content_part": (
        "text, or list of content parts",
        {"anyOf": [TEXT, {"type": "null"}, list_of("content_part")]},
        {"anyOf": [TEXT, list_of("content_part")]},
    ),
    "list of text": ("list of text", {"type": "array", "items": TEXT}, None),
    "list of message": ("list of messages", list_of("message"), None),
    "list of tool_call": ("list of tool calls", list_of("tool_call"), None),
    "list of run": ("list of runs", list_of("run"), None),
    "list of step": ("list of steps", list_of("step"), None),
    "list of entry": (
        "list of entries",
        {**list_of("entry"), "type": ["array", "null"]},
        {"type": "array", "items": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in ("run", "update", "entry")]}},
    ),
    "metrics": ("metrics", {"$ref": "#/$defs/metrics"}, None),
    "origin": (
        "mapping: `session_id`, and `run_id` when there is one",
        {"type": "object", "required": ["session_id"], "properties": {"session_id": TEXT, "run_id": TEXT}},
        {"$ref": "#/$defs/origin"},
    ),
    "schema version": ("integer", {"const": SCHEMA_VERSION}, {"type": "integer"}),
    "kind": (", ".join(f"`{kind}`" for kind in KINDS), {"enum": [*KINDS]}, {"enum": [*KINDS], "type": "string"}),
    "rating": ("`good`, `bad`", {"enum": ["good", "bad"]}, TEXT),  # another word is kept, and editors warn of it
    "type run": ("`run`", {"const": "run"}, {"const": "run", "type": "string"}),
    "type update": ("`update`", {"const": "update"}, {"const": "update", "type": "string"}),
}
"""For each type, its form in FORMAT.md, in the JSON Schema, and in the JSON Schema of a model (None: the same)."""


def comparable(schema: Any) -> Any:
    """Return a JSON Schema without texts and defaults. In a model's, null next to other types is left out as well."""
    if isinstance(schema, list):
        return [comparable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    ignored = {"title", "description", "default", "additionalProperties", "discriminator"}
    result = {key: comparable(value) for key, value in schema.items() if key not in ignored}
    if "title" not in schema and "$ref" in result:
        result["$ref"] = f"#/$defs/{DEFINITIONS.get(name := result['$ref'].rpartition('/')[2], name)}"
    return result


DEFINITIONS = {model.__name__: name for name, model in MODELS.items()}


def of_model(name: RecordName) -> Json:
    """Return the schema of each field of a model, where null means absent."""
    schema = MODELS[name].model_json_schema()
    if "$ref" in schema:  # a model that contains itself
        schema = schema["$defs"][MODELS[name].__name__]
    fields = {}
    for key, field in schema["properties"].items():
        value = comparable(field)
        kinds = [kind for kind in value.get("anyOf", ()) if kind != {"type": "null"}]
        fields[key] = {**value, "anyOf": kinds} if len(kinds) > 1 else kinds[0] if kinds else value
    return fields


def rows(name: RecordName) -> list[tuple[str, str, str]]:
    """Return key, type and "when" of each row in a table of FORMAT.md; a row with several keys counts once for each."""
    start = FORMAT.index(f"{TABLES[name]}\n") + len(TABLES[name])
    lines = [line for line in FORMAT[start : FORMAT.index("\n#", start)].splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines]
    return [(key.strip("` "), kind, when) for keys, kind, when in cells for key in keys.split(",")]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_fields_of_its_shape(name: RecordName) -> None:
    fields = of_model(name)
    if name == "header":
        fields = {key: value for key, value in fields.items() if key not in SESSION_KEYS}
    expected = {key: TYPES[kind][2] or TYPES[kind][1] for key, kind in SHAPES[name].fields.items()}
    assert fields == expected
    assert list(fields) == list(expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_needs_and_writes_what_its_shape_requires(name: RecordName) -> None:
    """A model may fill in a required field. Its output has every field that writers always write."""
    shape, minimal = SHAPES[name], MINIMAL.get(name, {})
    needed = {key for key, field in MODELS[name].model_fields.items() if field.is_required()}
    assert needed == set(minimal) <= set(shape.required)
    written = set(to_json_value(MODELS[name].model_validate(minimal)))
    assert written == {*shape.required, *shape.defaulted} - {"history"}


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("origin", "entry")])
def test_the_json_schema_has_the_fields_of_the_shape(name: RecordName) -> None:
    schema = SCHEMA if name == "header" else SCHEMA["$defs"][name]
    fields = {key: comparable(field) for key, field in schema["properties"].items() if key != "$schema"}
    expected = {key: TYPES[kind][1] for key, kind in SHAPES[name].fields.items()}
    assert fields == expected
    assert list(fields) == list(expected)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("origin", "entry")])
def test_the_json_schema_requires_what_the_shape_requires(name: RecordName) -> None:
    schema = SCHEMA if name == "header" else SCHEMA["$defs"][name]
    required = schema.get("required", [])
    if name in ("run", "update"):  # a run in `member_runs` may lack them, an entry of the history may not
        rules = SCHEMA["$defs"]["entry"]["allOf"]
        (rule,) = (rule for rule in rules if rule["if"] == {"properties": {"type": {"const": name}}})
        required = [*SCHEMA["$defs"]["entry"]["required"], *rule["then"]["allOf"][1]["required"]]
    assert required == [*SHAPES[name].required, *(["history"] if name == "header" else [])]


@pytest.mark.parametrize("name", TABLES)
def test_the_table_of_the_format_has_the_fields_of_the_shape(name: RecordName) -> None:
    shape = SHAPES[name]
    table = [row for row in rows(name) if row[0] != "$schema"]
    in_a_run = {key: SHAPES["run"].fields[key] for key in SESSION_KEYS}
    expected = [
        (key, "as in a run" if name == "update" and key in in_a_run else TYPES[kind][0])
        for key, kind in shape.fields.items()
    ]
    assert [(key, kind) for key, kind, _ in table] == expected
    assert {key for key, _, when in table if when.startswith("always")} == {*shape.required, *shape.defaulted}


def test_session_keys_have_one_type_everywhere() -> None:
    assert {SHAPES[name].fields[key] for name in ("run", "update") for key in SESSION_KEYS} == {
        "text",
        "mapping",
        "any",
    }
    assert all(SHAPES["run"].fields[key] == SHAPES["update"].fields[key] for key in SESSION_KEYS)
    assert (*HEADER_ORDER, "history") == tuple(SHAPES["header"].fields)
