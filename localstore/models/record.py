"""The base class of the models: each one represents a mapping in a document."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from localstore.models.excerpt import short_repr
from localstore.models.fields import SET_BY_PROGRAM, TimeAttribute
from localstore.models.nearest import did_you_mean

_MISTYPED = 0.7
"""The similarity to a field at which an unknown keyword counts as a mistyped one."""


class Record(BaseModel):
    """A mapping in a document: known fields in the order of the format, then any other keys.

    A field that is None is absent in the document. Unknown keys are kept as attributes and written back.

    The constructor and assignments take what a program may store. They raise ValidationError for a wrong value,
    TypeError for a keyword that looks like a mistyped field, and AttributeError for a new attribute. `model_validate`
    takes what a document may hold, such as a status that localstore does not know, and keeps its text.
    """

    model_config = ConfigDict(extra="allow", validate_assignment=True, protected_namespaces=())

    if not TYPE_CHECKING:  # a type checker takes the keywords from the fields

        def __init__(self, /, **values: Any) -> None:
            fields = type(self).__pydantic_fields__
            for name in values:
                if name not in fields and (hasattr(type(self), name) or did_you_mean(name, fields, _MISTYPED)):
                    raise TypeError(_no_field(type(self), name))
            self.__pydantic_validator__.validate_python(values, self_instance=self, context=SET_BY_PROGRAM)

        __init__.__pydantic_base_init__ = True  # validation does not call it: a document may have any keys

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        if "created_at" in cls.model_fields:
            type.__setattr__(cls, "created_at", TimeAttribute("created_at"))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).__pydantic_fields__:
            self.__pydantic_validator__.validate_assignment(self, name, value, context=SET_BY_PROGRAM)
        elif name.startswith("_") or name in (self.__pydantic_extra__ or ()) or _is_property(type(self), name):
            super().__setattr__(name, value)
        else:
            raise AttributeError(_no_field(type(self), name))

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Yield the fields that are shown: those that have a value."""
        return [(name, value) for name, value in super().__repr_args__() if value is not None and value != []]

    def __repr__(self) -> str:
        """Return the record on one line, with long values shortened."""
        fields = ", ".join(f"{name}={short_repr(value)}" for name, value in self.__repr_args__())
        return f"{type(self).__name__}({fields})"

    def __str__(self) -> str:
        return repr(self)

    def __document__(self) -> dict[str, Any]:
        """Return a new dict of the known fields that are not None, and of all other keys.

        The values are those of the record itself, neither copied nor converted. Times are text.
        """
        fields = {name: value for name, value in self.__dict__.items() if value is not None}
        if self.__pydantic_extra__:
            fields.update(self.__pydantic_extra__)
        return fields


def _is_property(model: type[Record], name: str) -> bool:
    return isinstance(getattr(model, name, None), property)


def _no_field(model: type[Record], name: str) -> str:
    suggestion = did_you_mean(name, model.model_fields)
    if not suggestion and hasattr(model, name):
        suggestion = f" {name!r} is derived from the fields and cannot be set."
    elif not suggestion:
        suggestion = f" Its fields are {', '.join(model.model_fields)}."
    own = " Your own values belong in `metadata`." if "metadata" in model.model_fields else ""
    return f"{model.__name__} has no field {name!r}.{suggestion}{own}"
