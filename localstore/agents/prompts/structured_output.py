"""Answers that are data: checked against a pydantic class, and asked for once more when they do not fit."""

from __future__ import annotations

import re

from pydantic import BaseModel, ValidationError

from localstore.errors import ResponseInvalid
from localstore.models.session import Message
from localstore.models.validation import first_problem

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
"""Models that know no JSON schema like to wrap their JSON."""


def parsed(wanted: type[BaseModel], answer: str) -> BaseModel:
    """The answer as an object of the class. Raises ResponseInvalid."""
    fenced = _FENCED.match(answer)
    try:
        return wanted.model_validate_json(fenced[1] if fenced else answer)
    except ValidationError as error:
        raise ResponseInvalid(
            f"The model's answer is no {wanted.__name__}: {first_problem(error)}. Ask again, or use a model that "
            "knows JSON schemas.",
            answer=answer,
        ) from None


def repair(error: ResponseInvalid) -> Message:
    """What the model is told when its answer does not fit."""
    problem = error.message.partition(" Ask again")[0]
    return Message(role="user", content=f"{problem} Answer again, with JSON of the asked form and nothing else.")
