"""The steps of a workflow: tasks, and parts that contain other steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from localstore.agents.run_spec import AnyAgent
from localstore.agents.tools.tool import annotated_callable
from localstore.models.validation import first_problem


@dataclass(slots=True)
class StepContext:
    """The run that a step belongs to. A step's function receives it in a parameter annotated with this class.

    All steps share `session_state`, except that each branch of a Parallel has a copy. Changes are stored with the step.
    `input` is the input of the workflow, and `outputs` contains the outputs of the completed steps by name.
    """

    session_id: str
    run_id: str
    user_id: str | None
    session_state: dict[str, Any]
    input: Any
    outputs: dict[str, Any] = field(default_factory=dict)


class Function:
    """A user's function, plain or async, that is used as a step or a test.

    A parameter annotated with StepContext receives the context. The first other parameter, if there is one, receives
    the input, converted to its annotated type.
    """

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        """Inspect the function. Raises TypeError if its signature does not fit; `what` names it in messages."""
        self.function = function
        self._what = what
        self._input: str | None = None
        self._context: str | None = None
        self._type: TypeAdapter[Any] | None = None
        try:
            hints = get_type_hints(annotated_callable(function), include_extras=True)
        except (NameError, TypeError) as error:
            raise TypeError(f"The type annotations of {what} cannot be resolved: {error}") from None
        for name, parameter in _parameters(function, what):
            if hints.get(name) is StepContext:
                self._context = name
            elif self._input is None:
                self._input = name
                self._type = self._adapter(hints.get(name, Any))
            elif parameter.default is parameter.empty:
                raise TypeError(
                    f"{what} takes more than one input. A step receives one input and, if annotated, a StepContext."
                )

    def __deepcopy__(self, memo: dict[int, Any]) -> Function:
        """Return the function itself, which never changes."""
        return self

    def _adapter(self, hint: Any) -> TypeAdapter[Any] | None:
        if hint is Any:
            return None
        try:
            return TypeAdapter(hint)
        except (PydanticUserError, TypeError) as error:
            raise TypeError(
                f"The input of {self._what} has a type that values cannot be converted to: {hint}"
            ) from error

    def arguments(self, value: Any, context: StepContext) -> dict[str, Any]:
        """Return the keyword arguments for a call. Raises TypeError if `value` does not fit the annotated type."""
        arguments: dict[str, Any] = {}
        if self._input is not None:
            try:
                arguments[self._input] = value if self._type is None else self._type.validate_python(value)
            except ValidationError as error:
                raise TypeError(f"The input of {self._what} does not fit: {first_problem(error)}.") from None
        if self._context is not None:
            arguments[self._context] = context
        return arguments


def _parameters(function: Callable[..., Any], what: str) -> Iterator[tuple[str, inspect.Parameter]]:
    try:
        signature = inspect.signature(function)
    except ValueError:
        raise TypeError(f"The parameters of {what} are unknown. Write a function in Python that calls it.") from None
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"{what} has the parameter {name}, which can only be given by position. Leave out the '/'.")
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield name, parameter


class Task:
    """A step that calls a function, or asks an Agent or a Team, with retries and a confirmation.

    >>> from localstore import Task, Workflow
    >>> def pay(amount: int) -> str:
    ...     return f"paid {amount}"
    >>> workflow = Workflow(steps=[Task(pay, confirm="Pay?")])
    >>> workflow.run(10).waiting.question
    'Pay?'
    >>> workflow.resume(confirm=True).output
    'paid 10'
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
        """Create a step. Raises TypeError or ValueError if an argument is invalid; the message says what to pass.

        Args:
            work: The function, Agent or Team.
            name: The step's name, by default that of `work`.
            retries: The maximum number of retries after an error.
            backoff: Seconds to wait before the first retry. The wait doubles with each further retry.
            confirm: Whether the workflow waits before this step until `resume(confirm=True)` is called. A string is
                the question to show.
        """
        if isinstance(work, type) and hasattr(work, "run_spec"):
            raise TypeError(f"A step must be an instance of {work.__name__}, not the class: {work.__name__}(...)")
        if not isinstance(work, AnyAgent) and not callable(work):
            raise TypeError(f"A step must be a function, an Agent or a Team, not {type(work).__name__}")
        default = work.name or work.entity_id if isinstance(work, AnyAgent) else getattr(work, "__name__", None)
        self.name = _name(name or default)
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
    """Steps that run concurrently, each with the same input and a copy of the session's state.

    The output is a dict of their outputs by name. When all steps have ended, the top-level keys of the state that they
    changed are copied to the workflow's state. If two steps change the same key, the value of the later step in the
    list is kept. If a step fails, the others run to their end, and then the workflow fails.

    >>> from localstore import Parallel, Workflow
    >>> def add(number: int) -> int:
    ...     return number + 1
    >>> def double(number: int) -> int:
    ...     return number * 2
    >>> Workflow(steps=[Parallel(add, double)]).run(5).output
    {'add': 6, 'double': 10}
    """

    def __init__(self, *steps: StepLike, name: str = "parallel") -> None:
        self.name = _name(name)
        self.steps = parts_of(steps, f"the parallel {name!r}")

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.steps))})"


class Condition:
    """Runs the steps in `then` if `test` returns a true value, otherwise those in `otherwise`.

    The test receives its arguments like a step. Its result is stored before the first step begins, so that a resumed
    workflow takes the same branch. If that branch has no steps, the output is the input.
    """

    def __init__(
        self,
        test: Callable[..., Any],
        *,
        then: Sequence[StepLike],
        otherwise: Sequence[StepLike] = (),
        name: str | None = None,
    ) -> None:
        if not callable(test):
            raise TypeError(f"The test of the condition {name or ''!r} must be a function, not {type(test).__name__}")
        self.name = _name(name or getattr(test, "__name__", None))
        self.test = Function(test, f"the condition {self.name!r}")
        self.then = parts_of(then, f"the condition {self.name!r}", may_be_empty=bool(otherwise))
        self.otherwise = parts_of(otherwise, f"the condition {self.name!r}", may_be_empty=True)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.then))}; {', '.join(map(str, self.otherwise))})"


class Loop:
    """Repeats steps. The output of each round is the input of the next one.

    The loop ends when `until` returns a true value for the output of a round, or after `max_rounds` rounds. `until`
    receives its arguments like a step.
    """

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
        self.steps = parts_of(steps, f"the loop {name!r}")

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.steps))})"


Part = Task | Parallel | Condition | Loop
StepLike = Part | AnyAgent | Callable[..., Any]


def parts_of(steps: Sequence[StepLike], where: str, *, may_be_empty: bool = False) -> tuple[Part, ...]:
    """Return the steps, with each function, agent and team wrapped in a Task.

    Raises TypeError if `steps` is not a list of steps, and ValueError if two have the same name or, unless
    `may_be_empty`, if there are none. `where` names the enclosing part of the workflow in messages.
    """
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
