"""Python functions as tools of a model: what the model is told of them, and how they are called."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError

from localstore.agents.models.model import ToolSchema, wait_for
from localstore.format.values import to_json_value
from localstore.models.session import ToolCall
from localstore.models.validation import first_problem

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
"""What the Chat Completions API takes as the name of a function."""
_SECTION = re.compile(r"[ \t]*(Args|Arguments|Parameters):[ \t]*\Z")
_PARAMETER = re.compile(r"([ \t]+)\*{0,2}(\w+)[ \t]*(?:\([^)]*\))?:[ \t]*(.*)")
_FIELD = re.compile(r"[ \t]*:param(?:[ \t]+[^:]*?)?[ \t]+(\w+):[ \t]*(.*)")
_HINT = "The tool {} is async and an event loop is running. Use `await agent.arun(...)`."


@dataclass(slots=True)
class RunContext:
    """What a tool may know of the run that calls it: a parameter annotated with this class gets it.

    `session_state` is the run's own copy: what a tool changes in it is stored with the run.
    """

    session_id: str
    run_id: str
    user_id: str | None
    session_state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool call gave, as text for the model; `failed` when it is an error."""

    text: str
    failed: bool = False


class Tool:
    """A function that a model may call.

    The function's name is the tool's, and its docstring, up to a section `Args:`, says what it does. Parameters are
    described by their types and, where there are some, by the lines of the section `Args:`, by `:param x:`, or by
    `Annotated[..., Field(description=...)]`. Arguments are validated by pydantic. A result that is not text is given
    to the model as JSON.

    Raises TypeError for what is no function, or has a parameter that no JSON schema describes.
    """

    def __init__(
        self, function: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> None:
        if not callable(function):
            raise TypeError(f"A tool must be a function, not {type(function).__name__}.")
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        if not _NAME.match(self.name):
            raise TypeError(f"{self.name!r} is no name for a tool. Give the function a name: Tool(function, name=...).")
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - not whether there is one, but whether it is async
        )
        said, parameters = _docstring(inspect.getdoc(function) or "")
        self._context: str | None = None
        self._arguments = self._model(parameters)
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        for one in schema.get("properties", {}).values():
            one.pop("title", None)
        self.schema = ToolSchema(self.name, said if description is None else description, schema)

    def _model(self, descriptions: dict[str, str]) -> type[BaseModel]:
        try:
            hints = get_type_hints(self.function, include_extras=True)
        except (NameError, TypeError) as error:
            raise TypeError(f"The types of the tool {self.name} cannot be told: {error}") from None
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            hint = hints.get(name, str if parameter.default is parameter.empty else Any)
            if hint is RunContext:
                self._context = name
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TypeError(
                    f"The tool {self.name} has the parameter {parameter}. A model gives arguments by name: "
                    "write each parameter out."
                )
            default = ... if parameter.default is parameter.empty else parameter.default
            said: dict[str, Any] = {"description": descriptions[name]} if name in descriptions else {}
            fields[name] = (hint, Field(default, **said))
        config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
        try:
            model: type[BaseModel] = create_model(self.name, __config__=config, **fields)
            model.model_json_schema()
        except (PydanticUserError, NameError) as error:
            problem = str(error).partition("\n")[0]
            raise TypeError(f"A model cannot be told the parameters of the tool {self.name}: {problem}") from None
        return model

    def may_go_together(self, other: Tool | None) -> bool:
        """Whether a call of this tool and one of the other tool, which follows it, may go on at once."""
        return other is not None and self.is_async and other.is_async

    def call(self, call: ToolCall, context: RunContext) -> Result:
        """Call the function. What it raises, KeyboardInterrupt and the like aside, becomes text for the model."""
        try:
            value = self.function(**self.given(call, context))
            return _result(wait_for(value, _HINT.format(self.name)) if inspect.isawaitable(value) else value)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises, the model is told
            return failure(error)

    async def acall(self, call: ToolCall, context: RunContext) -> Result:
        """The same for an async function."""
        try:
            value: Awaitable[Any] = self.function(**self.given(call, context))
            return _result(await value)
        except Exception as error:  # noqa: BLE001
            return failure(error)

    def given(self, call: ToolCall, context: RunContext) -> dict[str, Any]:
        """What the function is called with. Raises ValueError and ValidationError for arguments that do not fit."""
        if isinstance(call.arguments, str):
            raise ValueError(f"the arguments are no JSON object: {call.arguments!r}")
        arguments = self._arguments.model_validate(call.arguments)
        given = {name: getattr(arguments, name) for name in self._arguments.model_fields}
        if self._context is not None:
            given[self._context] = context
        return given


def tools_by_name(tools: Iterable[Callable[..., Any] | Tool]) -> dict[str, Tool]:
    """The tools, made of functions where they are some. Raises TypeError, ValueError for a name that stands twice."""
    found: dict[str, Tool] = {}
    for one in tools:
        tool = one if isinstance(one, Tool) else Tool(one)
        if tool.name in found:
            raise ValueError(f"Two tools are named {tool.name!r}. Rename one: Tool(function, name=...).")
        found[tool.name] = tool
    return found


def unknown(call: ToolCall, tools: Iterable[str]) -> Result:
    """What the model is told when it calls a tool that is not there."""
    return Result(f"Error: there is no tool {call.name!r}. There are: {', '.join(tools) or 'none'}.", failed=True)


def _result(value: Any) -> Result:
    if isinstance(value, str):
        return Result(to_json_value(value, "the tool's result"))
    return Result("" if value is None else json.dumps(to_json_value(value, "the tool's result"), ensure_ascii=False))


def failure(error: Exception) -> Result:
    """What the model is told of an error."""
    if isinstance(error, ValidationError):
        said = f"invalid arguments: {first_problem(error)}"
    elif type(error) is ValueError:
        said = str(error)
    else:
        said = f"{type(error).__name__}: {error}"
    return Result(f"Error: {said}".encode(errors="backslashreplace").decode(), failed=True)


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """What a docstring says of the function, and of each parameter: in a section `Args:` (Google's style), or by
    `:param x:` (reStructuredText)."""
    said: list[str] = []
    parameters: dict[str, str] = {}
    section, depth, current = False, "", ""
    for line in text.splitlines():
        if field := _FIELD.match(line):
            current, parameters[field[1]] = field[1], field[2]
        elif _SECTION.match(line):
            section, depth, current = True, "", ""
        elif section and (found := _PARAMETER.match(line)) and (not depth or found[1] == depth):
            depth, current = found[1], found[2]
            parameters[current] = found[3]
        elif current and line[:1] in (" ", "\t"):
            parameters[current] = f"{parameters[current]} {line.strip()}".strip()
        elif section and not line.strip():
            current = ""
        elif not section and not re.match(r"[ \t]*(:\w+|Returns:|Raises:|Yields:)", line):
            said.append(line)
        else:
            current = ""
            section = section or bool(line.strip())
    return "\n".join(said).strip(), parameters
