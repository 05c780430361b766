"""The base class of the models: each one represents a mapping in a document."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from localstore.models.times import canonical_time

Time = Annotated[str, BeforeValidator(canonical_time)]
"""A time as text in UTC, such as `2026-11-22T07:01:20.123Z`. A datetime is converted to text."""


def null_as(default: Callable[[], object]) -> BeforeValidator:
    """Return a validator that replaces None by `default()`.

    It is for a field that always has a value: null in a document counts as absent.
    """
    return BeforeValidator(lambda value: default() if value is None else value)


class Record(BaseModel):
    """A mapping in a document: known fields in the order of the format, then any other keys.

    A field that is None is absent in the document. Unknown keys are kept as attributes and written back.
    """

    model_config = ConfigDict(extra="allow", validate_assignment=True, protected_namespaces=())

    def __document__(self) -> dict[str, Any]:
        """Return a new dict of the known fields that are not None, and of all other keys.

        The values are those of the record itself, neither copied nor converted.
        """
        fields = {name: value for name, value in self.__dict__.items() if value is not None}
        if self.__pydantic_extra__:
            fields.update(self.__pydantic_extra__)
        return fields
