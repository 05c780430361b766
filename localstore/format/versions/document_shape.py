"""Check that the result of an upgrade step is a valid document of version 1."""

from collections.abc import Callable
from typing import Any

from localstore.format.versions.step import CannotUpgrade, Document, Place
from localstore.format.versions.values import MAX_DEPTH, copied, is_number
from localstore.models.schema import KINDS, SCHEMA_VERSION, SESSION_KEYS, SHAPES, RecordName


def checked(document: Document) -> Document:
    """Return `document` itself if it is a valid document of version 1.

    Otherwise raise CannotUpgrade, which says where in the document the problem is, such as `history[3].messages`.
    """
    copied(document, (), MAX_DEPTH)
    _check_record("header", document, ())
    return document


def fits(record: RecordName, value: Any) -> bool:
    """Return whether a value is a valid record of this type, such as `metrics` or `step`."""
    try:
        _check_record(record, value, ())
    except CannotUpgrade:
        return False
    return True


# The model of a session has fields for its newest state. If a header has keys of these names, their types must match.
_FIELDS: dict[RecordName, dict[str, str]] = {name: dict(shape.fields) for name, shape in SHAPES.items()}
_FIELDS["header"] |= {key: SHAPES["update"].fields[key] for key in SESSION_KEYS}

_OPTIONAL = {"arguments"}
"""Keys that writers always write, but that a valid record may lack."""


def _check_record(name: RecordName, value: Any, where: Place) -> None:
    """Raise CannotUpgrade if `value` is not a valid record of type `name`. Unknown keys are allowed."""
    _check_value("mapping", value, where)
    for key in (*SHAPES[name].required, *SHAPES[name].defaulted):
        if value.get(key) is None and key not in _OPTIONAL:
            raise CannotUpgrade(f"expected a mapping with {key}", where)
    for key, item in value.items():
        if item is not None and key in _FIELDS[name]:
            _check_value(_FIELDS[name][key], item, (*where, key))


def _check_value(field_type: str, value: Any, where: Place) -> None:
    """Raise CannotUpgrade if `value` is not of a type of `SHAPES`, such as `text` or `list of message`."""
    if field_type == "text or list of content_part":
        field_type = "text" if isinstance(value, str) else "list of content_part"
    if field_type in _SCALARS:
        expected, is_valid = _SCALARS[field_type]
        if not is_valid(value):
            raise CannotUpgrade(f"expected {expected}", where)
    elif field_type.startswith("list of "):
        _check_value("list", value, where)
        for index, item in enumerate(value):
            _check_value(field_type.removeprefix("list of "), item, (*where, index))
    elif field_type == "entry":
        _check_value("mapping", value, where)
        _check_record(_ENTRIES.get(str(value.get("type")), "entry"), value, where)
    else:
        _check_record(_RECORDS[field_type], value, where)


_ENTRIES: dict[str, RecordName] = {"run": "run", "update": "update"}
_RECORDS: dict[str, RecordName] = {name: name for name in SHAPES}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_SCALARS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "any": ("a value", lambda _: True),
    "text": ("text", _is_text),
    "time": ("text", _is_text),
    "rating": ("text", _is_text),
    "text, not empty": ("text that is not empty", lambda value: _is_text(value) and value != ""),
    "integer": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "number": ("a number", is_number),
    "list": ("a list", lambda value: isinstance(value, list)),
    "mapping": ("a mapping", lambda value: isinstance(value, dict)),
    "times by id": (
        "a mapping of times",
        lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    ),
    "text or mapping": ("a mapping or text", lambda value: isinstance(value, (dict, str))),
    "schema version": (
        str(SCHEMA_VERSION),
        lambda value: value == SCHEMA_VERSION and not isinstance(value, bool),
    ),
    "kind": (" or ".join(KINDS), lambda value: _is_text(value) and value in KINDS),
    "type run": ("run", lambda value: value == "run"),
    "type update": ("update", lambda value: value == "update"),
}
"""For each field type, the words for it in an error, and the check."""
