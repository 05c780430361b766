"""Typed answers: parses an answer as a pydantic class, and makes the request to correct one that does not match."""

from __future__ import annotations

import re

from pydantic import BaseModel, ValidationError

from localstore.errors import ResponseInvalid
from localstore.models.session import Message
from localstore.models.validation import first_problem

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)
"""Models without support for JSON schemas often wrap JSON in a code block."""


def parse_answer(model: type[BaseModel], answer: str) -> BaseModel:
    """Parse `answer` as JSON, which may be in a code block, and return it as an instance of `model`.

    Raises ResponseInvalid if it is not valid for that class.
    """
    fenced = _FENCED.match(answer)
    try:
        return model.model_validate_json(fenced[1] if fenced else answer)
    except ValidationError as error:
        raise ResponseInvalid(
            f"The model's answer is not a valid {model.__name__}: {first_problem(error)}. Ask again, or "
            "use a model that supports JSON schemas.",
            answer=answer,
        ) from None


def correction_request(error: ResponseInvalid) -> Message:
    """Return the user message that names the problem in `error` and asks the model to answer again."""
    problem = error.message.partition(" Ask again")[0]
    return Message(role="user", content=f"{problem} Answer again with JSON in the requested form and nothing else.")
