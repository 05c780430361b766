"""The session state of an agent with a `state_model`, and a search for values that change their type when stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set
from copy import deepcopy
from functools import lru_cache
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, RootModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from localstore.errors import StateInvalid, UnstorableValue
from localstore.format.values import sort_key, to_json_value
from localstore.models.validation import first_problem

_JSON_TYPES = (str, int, float, bool, type(None))


class TypedState(dict[str, Any]):
    """The session state of an agent with a `state_model`: a dict whose values have the types of the class's fields.

    An assigned value is converted to the type of its field. Keys that are no fields hold JSON values.

    >>> class Trip(BaseModel):
    ...     cities: set[str] = set()
    >>> state = TypedState.from_document(Trip, {"cities": ["Linz", "Wien"]}, "trip")
    >>> state["cities"] == {"Linz", "Wien"}
    True
    """

    model: type[BaseModel]

    @classmethod
    def from_values(cls, model: type[BaseModel], values: Mapping[str, Any]) -> Self:
        """Return the state with values that a program set. Absent fields get their defaults. Raises StateInvalid."""
        fields, others = _split(model, values)
        try:
            return cls._of(model.model_validate(fields), others)
        except ValidationError as error:
            raise StateInvalid(
                f"The session state does not fit {model.__name__}: {first_problem(error)}. "
                "Set a value of the field's type."
            ) from None

    @classmethod
    def from_document(cls, model: type[BaseModel], values: dict[str, Any], session_id: str | None) -> Self:
        """Return the state of a session from JSON values. Absent fields get their defaults. Raises StateInvalid."""
        fields, others = _split(model, values)
        try:
            return cls._of(model.model_validate_json(orjson.dumps(fields)), others)
        except ValidationError as error:
            raise StateInvalid(
                f"The state of session {session_id!r} does not fit {model.__name__}: {first_problem(error)}. "
                "Correct it with 'localstore state', or change the class.",
                session_id=session_id,
            ) from None

    @classmethod
    def _of(cls, instance: BaseModel, others: dict[str, Any]) -> Self:
        state = cls()
        state.model = type(instance)
        for key in state.model.model_fields:
            state.put_unchanged(key, getattr(instance, key))
        for key, value in others.items():
            state.put_unchanged(key, deepcopy(value))
        return state

    def __document__(self) -> dict[str, Any]:
        """Return the state as JSON values, sets sorted. Raises UnstorableValue if they could not be read again."""
        fields, others = _split(self.model, self)
        try:
            instance = self.model.model_construct(**fields)
            dumped = _with_sorted_sets(instance, instance.model_dump(mode="json", round_trip=True, warnings="error"))
            dumped = {key: value for key, value in dumped.items() if key in self.model.model_fields}
            self.model.model_validate_json(orjson.dumps(dumped))
        except ValidationError as error:
            problem = first_problem(error)
        except (PydanticSerializationError, orjson.JSONEncodeError) as error:
            problem = " ".join(str(error).split())
        else:
            return dumped | others
        raise UnstorableValue(
            f"The session state does not fit {self.model.__name__}: {problem}. Set a value of the field's type.",
            where="session_state",
        )

    def put_unchanged(self, key: str, value: Any) -> None:
        """Set a value that has the type of its field."""
        super().__setitem__(key, value)

    def __setitem__(self, key: str, value: Any) -> None:
        """Convert a value to the type of its field and set it. Raises StateInvalid."""
        adapter = _adapters(self.model).get(key)
        if adapter is not None:
            try:
                value = adapter.validate_python(value)
            except ValidationError as error:
                raise StateInvalid(
                    f"session_state[{key!r}] does not fit {self.model.__name__}: {first_problem(error)}. "
                    "Set a value of the field's type."
                ) from None
        super().__setitem__(key, value)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Set a key that is absent, and return its value."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *values: Any, **more: Any) -> None:
        """Set several keys. Raises StateInvalid."""
        for key, value in dict(*values, **more).items():
            self[key] = value

    def __ior__(self, other: Mapping[str, Any]) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        duplicate = type(self)()
        duplicate.model = self.model
        for key, value in self.items():
            duplicate.put_unchanged(key, deepcopy(value, memo))
        return duplicate


def restored(values: dict[str, Any], like: dict[str, Any], session_id: str | None = None) -> dict[str, Any]:
    """Return a copy of JSON values as a state of the same kind as `like`: typed or plain. Raises StateInvalid."""
    if isinstance(like, TypedState):
        return TypedState.from_document(like.model, values, session_id)
    return deepcopy(values)


def check_state_model(model: Any) -> None:
    """Raise TypeError unless `model` is a pydantic class that can hold a session state."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or issubclass(model, RootModel):
        raise TypeError(f"state_model must be a class of pydantic.BaseModel, not {model!r}")
    for name, field in model.model_fields.items():
        if field.alias or field.validation_alias or field.serialization_alias:
            raise TypeError(f"state_model must have no aliases. The field {name!r} of {model.__name__} has one.")


def _split(model: type[BaseModel], values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of the model's fields, and all other values."""
    fields = {key: value for key, value in values.items() if key in model.model_fields}
    return fields, {key: value for key, value in values.items() if key not in fields}


def _with_sorted_sets(value: Any, dumped: Any) -> Any:
    """Return `dumped`, the JSON values of `value`, with the items of each set sorted.

    The order of a set differs from process to process. Without this, the same state would seem to have changed.
    """
    if isinstance(dumped, dict):
        if isinstance(value, Mapping):
            inner = dict(zip(dumped, value.values(), strict=False))
        else:
            inner = {key: getattr(value, key, None) for key in dumped}
        return {key: _with_sorted_sets(inner.get(key), item) for key, item in dumped.items()}
    if isinstance(dumped, list) and isinstance(value, Collection):
        items = [_with_sorted_sets(inner, item) for inner, item in zip(value, dumped, strict=True)]
        return sorted(items, key=sort_key) if isinstance(value, Set) else items
    return dumped


@lru_cache(maxsize=256)
def _adapters(model: type[BaseModel]) -> dict[str, TypeAdapter[Any]]:
    adapters = {}
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        adapters[name] = TypeAdapter(Annotated[(annotation, *field.metadata)] if field.metadata else annotation)
    return adapters


def changed_values(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the values that come back from a document as another type or value: the place, and what happens to it.

    Of several such values in one list or in one nested dict, the first one is reported. The state must be storable.

    >>> list(changed_values({"seen": {1}, "n": 1}))
    [('session_state["seen"]', 'is a set and comes back as a list')]
    """
    read = restored(to_json_value(state), state) if isinstance(state, TypedState) else {}
    for key, value in state.items():
        place = f'session_state["{key}"]'
        if not isinstance(state, TypedState) or key not in state.model.model_fields:
            yield from _changed_in(value, place)
        elif type(read[key]) is not type(value):
            yield place, _becomes(value, read[key])
        elif read[key] != value:
            yield place, f"comes back as another {type(value).__name__}, which is not equal to it"


def _changed_in(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if type(value) is dict:
        inner = ((f'{place}["{key}"]', item) for key, item in value.items())
    elif type(value) is list:
        inner = ((f"{place}[{number}]", item) for number, item in enumerate(value))
    else:
        if type(value) not in _JSON_TYPES:
            yield place, _becomes(value, to_json_value(value))
        return
    for where, item in inner:
        for change in _changed_in(item, where):
            yield change
            return


def _becomes(value: Any, read: Any) -> str:
    return f"is a {type(value).__name__} and comes back as a {type(read).__name__}"
