"""Types of fields that take a few words or a time. A program must set a valid value; a document may hold any text."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, LiteralString, Self, get_args

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from localstore.models.nearest import not_one_of, shown
from localstore.models.times import is_time_text, now, parse_time, text_of_time

SET_BY_PROGRAM = {"localstore": "set by the program"}
"""The validation context for values that a program sets. Without it, values come from a document: any text is kept."""

INVALID_TEXT: LiteralString = "invalid_text"
"""The type of the validation errors for text that a document may hold, but that a program must not give."""


class DocumentText(str):
    """Text that a document holds in one of these fields, and that a program could not give. It is written back as is.

    Examples are the status "done", and a time with microseconds.
    """

    __slots__ = ()


class _Text:
    """A field with checked text, for `Annotated`. In the JSON Schema, it is any text."""

    is_open = True
    """Whether a document may hold any text in this field."""

    def check(self, value: Any) -> str:
        """Return the text to keep for the value that a program gives. Raises PydanticCustomError."""
        raise NotImplementedError

    def is_plain(self, text: str) -> bool:
        """Return whether `text`, from a document, is what `check` would return for it."""
        raise NotImplementedError

    def _validate(self, value: Any, info: ValidationInfo) -> str:
        if self.is_open and isinstance(value, DocumentText):
            return value
        if self.is_open and info.context is not SET_BY_PROGRAM and isinstance(value, str):
            return value if self.is_plain(value) else DocumentText(value)
        return self.check(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string"}


class OneOf(_Text):
    """A field that takes one of the words of a Literal."""

    def __init__(self, words: Any) -> None:
        self.words: tuple[str, ...] = get_args(words)

    def check(self, value: Any) -> str:
        if isinstance(value, str) and value in self.words:  # also a member of an Enum of texts
            return self.words[self.words.index(value)]
        raise _error(INVALID_TEXT if isinstance(value, str) else "string_type", not_one_of(value, self.words))

    def is_plain(self, text: str) -> bool:
        return text in self.words

    def _validate(self, value: Any, info: ValidationInfo) -> str:
        if type(value) is str and value in self.words:  # the usual case, which has to be fast
            return value
        return super()._validate(value, info)


class OnlyOneOf(OneOf):
    """A field that takes one of the words of a Literal, and no other text from documents either."""

    is_open = False

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": [*self.words]}


class _TimeText(_Text):
    """A field that takes a datetime or ISO 8601 text, and keeps it as text."""

    def check(self, value: Any) -> str:
        if not isinstance(value, (str, datetime)):
            raise _error("string_type", f"must be a datetime or ISO 8601 text, not {shown(value)}.")
        try:
            return text_of_time(value)
        except ValueError as error:
            raise _error(INVALID_TEXT, f"{shown(str(value))} {error}.") from None

    def is_plain(self, text: str) -> bool:
        return is_time_text(text)


def _error(kind: LiteralString, problem: str) -> PydanticCustomError:
    return PydanticCustomError(kind, "{problem}", {"problem": problem})


if TYPE_CHECKING:

    class Time:
        """A time in a document. A program gives a datetime or text, and gets a datetime in UTC.

        It gets None if the document holds text that is not a time.
        """

        def __get__(self, instance: object, owner: type | None = None) -> datetime | None: ...

        def __set__(self, instance: object, value: datetime | str) -> None: ...

    class OptionalTime(Time):
        """A time, or None."""

        def __set__(self, instance: object, value: datetime | str | None) -> None: ...

else:
    Time = Annotated[str, _TimeText()]
    OptionalTime = Time | None


NO_TIME: Any = None
"""The default of an OptionalTime."""


def current_time() -> Any:
    """Return the default of a Time: the time at which the record is made."""
    return Field(default_factory=now)


class TimeAttribute:
    """Reads the text of a time in a record as a datetime. The record itself keeps the text, and writes that back."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> datetime | Self | None:
        if instance is None:
            raise AttributeError(self._name)  # as for any other field: it has no value in the class
        value: str | datetime | None = instance.__dict__.get(self._name)
        return parse_time(value) if isinstance(value, str) else value

    def __set__(self, instance: Any, value: object) -> None:
        """Only make this a data descriptor, which comes before the record's own dict. The model sets the value."""
        raise AttributeError(self._name)


def null_as(default: Callable[[], object]) -> BeforeValidator:
    """Return a validator that replaces None by `default()`.

    It is for a field that always has a value: null in a document counts as absent.
    """
    return BeforeValidator(lambda value: default() if value is None else value)
