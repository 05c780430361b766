"""Describes Python functions to a model as tools, and calls them."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_type_hints

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError

from localstore.agents.models.model import EventLoopRunning, ToolSchema, wait_for
from localstore.format.values import to_json_value
from localstore.models.session import ToolCall
from localstore.models.validation import first_problem

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
"""The function names that the Chat Completions API accepts."""
_HINT = "The tool {} is async and an event loop is running. Use `await agent.arun(...)`."


@dataclass(slots=True)
class RunContext:
    """The run that calls a tool. A tool receives it in the parameter that is annotated with this class.

    `session_state` is the run's copy of the session's state. A tool may change it; the changes are stored with the run.

    >>> def add_to_cart(item: str, context: RunContext) -> str:
    ...     context.session_state.setdefault("cart", []).append(item)
    ...     return "added"
    """

    session_id: str
    run_id: str
    user_id: str | None
    session_state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a tool call, as text for the model. `failed` is true if the text describes an error."""

    text: str
    failed: bool = False


class Tool:
    """A function that a model may call.

    The description for the model comes from the docstring (in the style of Google, NumPy or Sphinx), the parameters
    from the signature: their types, and their descriptions in the docstring or in
    `Annotated[..., Field(description=...)]`. Arguments are validated by pydantic. A result that is not text is sent to
    the model as JSON.

    >>> def add(x: int, y: int) -> int:
    ...     "Add two numbers."
    ...     return x + y
    >>> Tool(add).schema.description
    'Add two numbers.'

    Args:
        function: The function, plain or async. Each parameter needs a name.
        name: The name for the model. Default: the name of the function.
        description: The description for the model. Default: from the docstring.

    Raises TypeError if `function` is not callable, has a name that the API does not accept, or has a parameter that no
    JSON schema can describe.
    """

    def __init__(
        self, function: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> None:
        if not callable(function):
            raise TypeError(f"A tool must be a function, not {type(function).__name__}.")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"The name of a tool must be text, not {type(name).__name__}.")
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        if not _NAME.match(self.name):
            raise TypeError(
                f"{self.name!r} is not a valid name for a tool. Give the function a name: Tool(function, name=...)."
            )
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - not whether it is callable, but whether that is async
        )
        docstring, descriptions = _parse_docstring(
            inspect.getdoc(annotated_callable(function)) or inspect.getdoc(function) or ""
        )
        self._context: str | None = None
        """The name of the parameter that receives the RunContext."""
        self._fields: dict[str, str] = {}
        """The field of `_arguments` for each of the other parameters."""
        self._arguments = self._arguments_model(descriptions)
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        for parameter in schema.get("properties", {}).values():
            parameter.pop("title", None)
        self.schema = ToolSchema(self.name, docstring if description is None else description, schema)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    def _arguments_model(self, descriptions: dict[str, str]) -> type[BaseModel]:
        """Return a pydantic class with a field for each parameter except the one for the RunContext.

        Also sets `_context` and fills `_fields`. Raises TypeError for a parameter that a model cannot pass.
        """
        try:
            hints = get_type_hints(annotated_callable(self.function), include_extras=True)
        except (NameError, TypeError) as error:
            raise TypeError(f"The parameter types of the tool {self.name} cannot be resolved: {error}") from None
        try:
            signature = inspect.signature(self.function)
        except ValueError:
            raise TypeError(
                f"The parameters of the tool {self.name} are unknown: it is not written in Python. "
                "Write a function that calls it."
            ) from None
        fields: dict[str, Any] = {}
        for name, parameter in signature.parameters.items():
            hint = hints.get(name, Any)
            if hint is RunContext:
                self._context = name
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TypeError(
                    f"The tool {self.name} has the parameter {parameter}. A model passes arguments by name: "
                    "write out each parameter."
                )
            # A field with the parameter's own name could hide an attribute of BaseModel, such as `schema` or `copy`.
            field = self._fields[name] = f"argument_{len(fields)}"
            options: dict[str, Any] = {"description": descriptions[name]} if name in descriptions else {}
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[field] = (hint, Field(default, alias=name, **options))
        config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
        try:
            model: type[BaseModel] = create_model(self.name, __config__=config, **fields)
            model.model_json_schema()
        except (PydanticUserError, NameError) as error:
            problem = str(error).partition("\n")[0]
            raise TypeError(f"The parameters of the tool {self.name} have no JSON schema: {problem}") from None
        return model

    def __deepcopy__(self, memo: dict[int, Any]) -> Tool:
        """Return the tool itself, which never changes, so that a copied agent calls the same function."""
        return self

    def may_run_with(self, other: Tool | None) -> bool:
        """Return whether a call of this tool and a following call of `other` may run concurrently.

        They may if both functions are async. `other` is None if there is no tool for the following call.
        """
        return other is not None and self.is_async and other.is_async

    def call(self, call: ToolCall, context: RunContext) -> Result:
        """Call the function with the arguments of `call` and return its result as text.

        An exception, also one for invalid arguments, is returned as a failed result. KeyboardInterrupt and other
        exceptions that are not an Exception propagate. So does EventLoopRunning, which the developer has to see: it is
        raised if the function is async and an event loop is running in this thread. The function may change
        `context.session_state`.
        """
        try:
            value = self.function(**self.arguments(call, context))
            return _result(wait_for(value, _HINT.format(self.name)) if inspect.isawaitable(value) else value)
        except EventLoopRunning:
            raise
        except Exception as error:  # noqa: BLE001 - any exception of a tool is reported to the model
            return error_result(error)

    async def acall(self, call: ToolCall, context: RunContext) -> Result:
        """Await the function, which must be async, and return what `call` returns."""
        try:
            value: Awaitable[Any] = self.function(**self.arguments(call, context))
            return _result(await value)
        except EventLoopRunning:
            raise
        except Exception as error:  # noqa: BLE001
            return error_result(error)

    def arguments(self, call: ToolCall, context: RunContext) -> dict[str, Any]:
        """Return the function's keyword arguments: the validated arguments of `call`, and `context` if it takes one.

        Raises ValueError if the arguments are not a JSON object, and ValidationError if they do not match the
        function's parameters.
        """
        if isinstance(call.arguments, str):
            raise ValueError(f"the arguments are not a JSON object: {call.arguments!r}")
        validated = self._arguments.model_validate(call.arguments)
        arguments = {name: getattr(validated, field) for name, field in self._fields.items()}
        if self._context is not None:
            arguments[self._context] = context
        return arguments


def tools_by_name(tools: Iterable[Callable[..., Any] | Tool]) -> dict[str, Tool]:
    """Return a dict of tools by name, in the same order. A function is wrapped in a Tool.

    Raises TypeError if `tools` is not a list of functions that can be tools, and ValueError if two tools have the same
    name.
    """
    if isinstance(tools, Tool) or callable(tools):
        name = tools.name if isinstance(tools, Tool) else getattr(tools, "__name__", "function")
        raise TypeError(f"tools must be a list of functions: tools=[{name}]")
    if not isinstance(tools, Iterable):
        raise TypeError(f"tools must be a list of functions, not {type(tools).__name__}")
    by_name: dict[str, Tool] = {}
    for item in tools:
        tool = item if isinstance(item, Tool) else Tool(item)
        if tool.name in by_name:
            raise ValueError(f"Two tools are named {tool.name!r}. Rename one: Tool(function, name=...).")
        by_name[tool.name] = tool
    return by_name


def annotated_callable(function: Callable[..., Any]) -> Any:
    """Return the object with the annotations: the function in a partial, a class, or the `__call__` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__


def unknown_tool(call: ToolCall, tools: Iterable[str]) -> Result:
    """Return the failed result of a call to a tool that does not exist. `tools` are the names to suggest."""
    names = ", ".join(tools) or "none"
    return Result(f"Error: there is no tool {call.name!r}. There are: {names}.", failed=True)


def error_result(error: Exception) -> Result:
    """Return the failed result that describes `error` to the model."""
    if isinstance(error, ValidationError):
        text = f"invalid arguments: {first_problem(error)}"
    elif type(error) is ValueError:
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    return Result(f"Error: {text}".encode(errors="backslashreplace").decode(), failed=True)


def _result(value: Any) -> Result:
    if isinstance(value, str):
        return Result(to_json_value(value, "the tool's result"))
    return Result("" if value is None else json.dumps(to_json_value(value, "the tool's result"), ensure_ascii=False))


def _parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the function's description with its examples, and a dict of the descriptions of its parameters.

    Parameters without a description are absent.
    """
    docstring = docstring_parser.parse(text)
    examples = [f"Example:\n{example.description}" for example in docstring.examples if example.description]
    description = "\n\n".join([(docstring.description or "").strip(), *examples]).strip()
    parameters = {item.arg_name: " ".join((item.description or "").split()) for item in docstring.params}
    return description, {name: text for name, text in parameters.items() if text}
