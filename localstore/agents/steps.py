"""What a workflow is built of: tasks, and the ways in which they go on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from localstore.agents.run_spec import AnyAgent
from localstore.models.validation import first_problem


@dataclass(slots=True)
class StepContext:
    """What a step may know of the run that it is in: a parameter annotated with this class gets it.

    `session_state` is shared by all steps (branches of a Parallel have a copy each): what a step changes in it is
    stored with the step. `input` is what the workflow was given, `outputs` what the steps gave that are done, by name.
    """

    session_id: str
    run_id: str
    user_id: str | None
    session_state: dict[str, Any]
    input: Any
    outputs: dict[str, Any] = field(default_factory=dict)


class Function:
    """A function of the user's, plain or async: it is given what came before, in the type that its parameter names.

    Its first parameter, if it has one, gets the input; one annotated with StepContext gets that.
    """

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        """Raises TypeError, which names `what`."""
        self.function = function
        self._what = what
        self._given: str | None = None
        self._context: str | None = None
        self._type: TypeAdapter[Any] | None = None
        try:
            hints = get_type_hints(_described(function), include_extras=True)
        except (NameError, TypeError) as error:
            raise TypeError(f"The types of {what} cannot be told: {error}") from None
        for name, parameter in _parameters(function, what):
            if hints.get(name) is StepContext:
                self._context = name
            elif self._given is None:
                self._given = name
                self._type = self._adapter(hints.get(name, Any))
            elif parameter.default is parameter.empty:
                raise TypeError(f"{what} takes more than one input. It is given one, and a StepContext.")

    def _adapter(self, hint: Any) -> TypeAdapter[Any] | None:
        if hint is Any:
            return None
        try:
            return TypeAdapter(hint)
        except (PydanticUserError, TypeError) as error:
            raise TypeError(f"The input of {self._what} has a type of which no value can be made: {hint}") from error

    def arguments(self, value: Any, context: StepContext) -> dict[str, Any]:
        """What the function is called with. Raises TypeError when the value is not of its type."""
        arguments: dict[str, Any] = {}
        if self._given is not None:
            try:
                arguments[self._given] = value if self._type is None else self._type.validate_python(value)
            except ValidationError as error:
                raise TypeError(f"What {self._what} was given does not fit: {first_problem(error)}.") from None
        if self._context is not None:
            arguments[self._context] = context
        return arguments


def _described(function: Callable[..., Any]) -> Any:
    """What has the annotations: of an object that can be called, its method."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _parameters(function: Callable[..., Any], what: str) -> Iterator[tuple[str, inspect.Parameter]]:
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"{what} has the parameter {name}, which can only be given by position. Leave out the '/'.")
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield name, parameter


class Task:
    """A step that does something: a function, an Agent or a Team.

    When it raises it is tried again up to `retries` times, after `backoff` seconds, then twice as long, and so on.
    With `confirm` the workflow stops before it, and waits on disk until `resume(confirm=True)`; a text is what the
    person is asked.
    """

    def __init__(
        self,
        work: Callable[..., Any] | AnyAgent,
        *,
        name: str | None = None,
        retries: int = 0,
        backoff: float = 1.0,
        confirm: bool | str = False,
    ) -> None:
        """Raises TypeError and ValueError, which say what to pass."""
        if not isinstance(work, AnyAgent) and not callable(work):
            raise TypeError(f"A step must be a function, an Agent or a Team, not {type(work).__name__}")
        called = work.name or work.entity_id if isinstance(work, AnyAgent) else getattr(work, "__name__", None)
        self.name = _name(name or called)
        if type(retries) is not int or retries < 0:
            raise ValueError(f"retries must be a whole number from 0 on, not {retries!r}")
        if isinstance(backoff, bool) or not isinstance(backoff, (int, float)) or not 0 <= backoff < float("inf"):
            raise ValueError(f"backoff must be a number of seconds from 0 on, not {backoff!r}")
        self.agent = work if isinstance(work, AnyAgent) else None
        self.function = None if isinstance(work, AnyAgent) else Function(work, f"the step {self.name!r}")
        self.retries = retries
        self.backoff = float(backoff)
        self.question = confirm if isinstance(confirm, str) else f"Go on with {self.name!r}?" if confirm else None

    def __str__(self) -> str:
        return self.name


class Parallel:
    """Steps that go on at once, each given the same input, and each with a copy of the session's state.

    What it gives is a mapping of their outputs by name. What they change of the state is taken over by top-level key
    when all are done; of two that change one key, the one that stands later counts. When one fails the others go on to
    their end, and then the workflow fails.
    """

    def __init__(self, *steps: StepLike, name: str = "parallel") -> None:
        self.name = _name(name)
        self.steps = made(steps, f"the parallel {name!r}")

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.steps))})"


class Condition:
    """The steps of `then` where the test says yes, else those of `otherwise`.

    The test is called as a step is. What it decided is stored before the first of them begins: a workflow that is
    resumed goes the same way. Without steps to do, the input is handed on.
    """

    def __init__(
        self,
        test: Callable[..., Any],
        *,
        then: Sequence[StepLike],
        otherwise: Sequence[StepLike] = (),
        name: str | None = None,
    ) -> None:
        self.name = _name(name or getattr(test, "__name__", None))
        if not callable(test):
            raise TypeError(f"The test of the condition {self.name!r} must be a function, not {type(test).__name__}")
        self.test = Function(test, f"the condition {self.name!r}")
        self.then = made(then, f"the condition {self.name!r}", may_be_empty=bool(otherwise))
        self.otherwise = made(otherwise, f"the condition {self.name!r}", may_be_empty=True)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.then))}; {', '.join(map(str, self.otherwise))})"


class Loop:
    """Steps that are done again and again, each round with the output of the one before, until `until` says yes to a
    round's output, or `max_rounds` are done. `until` is called as a step is."""

    def __init__(
        self,
        steps: Sequence[StepLike],
        *,
        until: Callable[..., Any] | None = None,
        max_rounds: int = 10,
        name: str = "loop",
    ) -> None:
        self.name = _name(name)
        if until is not None and not callable(until):
            raise TypeError(f"until of the loop {name!r} must be a function, not {type(until).__name__}")
        if type(max_rounds) is not int or max_rounds < 1:
            raise ValueError(f"max_rounds must be a whole number from 1 on, not {max_rounds!r}")
        self.until = None if until is None else Function(until, f"the end of the loop {name!r}")
        self.max_rounds = max_rounds
        self.steps = made(steps, f"the loop {name!r}")

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.steps))})"


Part = Task | Parallel | Condition | Loop
StepLike = Part | AnyAgent | Callable[..., Any]


def made(steps: Sequence[StepLike], where: str, *, may_be_empty: bool = False) -> tuple[Part, ...]:
    """The steps, with a Task for each function and each agent. Raises TypeError, ValueError."""
    if isinstance(steps, (Task, Parallel, Condition, Loop, AnyAgent)) or not isinstance(steps, Sequence):
        raise TypeError(f"The steps of {where} must be a list, not {type(steps).__name__}")
    parts = tuple(one if isinstance(one, (Task, Parallel, Condition, Loop)) else Task(one) for one in steps)
    if not parts and not may_be_empty:
        raise ValueError(f"There are no steps in {where}. Give it at least one.")
    names = set()
    for part in parts:
        if part.name in names:
            raise ValueError(
                f"Two steps of {where} are named {part.name!r}. Name one: Task(..., name=...) for a function or an "
                "agent, name=... for the others."
            )
        names.add(part.name)
    return parts


def agents_in(parts: Sequence[Part]) -> Iterator[AnyAgent]:
    """Yield the agents and teams among the steps, at any depth."""
    for part in parts:
        match part:
            case Task():
                if part.agent is not None:
                    yield part.agent
            case Parallel() | Loop():
                yield from agents_in(part.steps)
            case Condition():
                yield from agents_in([*part.then, *part.otherwise])


def _name(name: str | None) -> str:
    if name == "<lambda>" or not name:
        raise ValueError("A step has no name. Give it one: Task(..., name=...), Condition(..., name=...)")
    return name
