"""The JSON export has the same content as the documents."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore import JsonStorage, Message, Run, YamlStorage
from localstore.exporting import json_array
from tests.effort import rounds
from tests.unit.exporting.conversations import full, texts
from tests.unit.raw import Storage, parse

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def test_no_session_is_an_empty_array() -> None:
    assert "".join(json_array([])) == "[]\n"


def test_control_characters_are_escaped() -> None:
    text = "".join(json_array([full().model_copy(update={"name": "a\x1b[31m\u202e\u2028\x85"})]))
    assert "a\\u001b[31m\\u202e\\u2028\\u0085" in text
    assert text.startswith('[\n  {\n    "schema_version": 1,\n')
    assert text.endswith("\n  }\n]\n")


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
@settings(max_examples=rounds(12, 60, 600), deadline=None)
@given(stored=st.lists(st.lists(st.tuples(texts, values, values), min_size=1, max_size=3), min_size=1, max_size=3))
def test_the_export_equals_the_documents(
    kind: type[Storage], stored: list[list[tuple[str, Any, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage = kind(tmp_path_factory.mktemp("store"), durability="relaxed")
    for number, runs in enumerate(stored):
        for at, (text, extra, state) in enumerate(runs):
            messages = [Message(role="user", content=text, mood=extra)]  # type: ignore[call-arg]
            fields = {"run_id": f"r{at}", "messages": messages, "session_state": {"s": state}, "rating": "good"}
            storage.append(f"s{number}", Run.model_validate(fields))
    sessions = storage.get_all_sessions()
    exported = json.loads("".join(json_array(sessions)))
    documents = {one.session_id: json.loads(json.dumps(_raw(storage, one.session_id))) for one in sessions}
    assert {document["session_id"]: document for document in exported} == documents


def _raw(storage: Storage, session_id: str) -> dict[str, Any]:
    """Return the document as another parser reads it. For a YAML store, return the snapshot: YAML 1.1 parsers cannot
    read all of YAML 1.2."""
    if storage.path(session_id).suffix == ".json":
        document = parse(storage.path(session_id))
        del document["$schema"]
        return document
    session = storage.read(session_id)
    assert session is not None
    assert session._base is not None
    return {**session._base.header, "history": session._base.entries}
