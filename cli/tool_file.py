"""Makes tools of the public functions in a Python file that the user names with `--tools FILE.py`."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from .user_module import imported, printing_to_stderr

if TYPE_CHECKING:
    from localstore.agents.tools.tool import Tool


def read_tools(file: str) -> list[Tool]:
    """Return the public functions that are defined in a Python file, as tools, in the order of the file.

    Functions that the file imports, and those whose name begins with an underscore, are left out. What the file and its
    functions print goes to standard error.

    Raises UsageError if the file does not exist, cannot be imported, has no public function, or has one that no model
    can call.
    """

    def problem(text: str) -> click.UsageError:
        return click.UsageError(f"--tools '{file}' {text}", click.get_current_context())

    path = os.path.abspath(file)
    if not os.path.isfile(path) or not path.endswith(".py"):
        raise problem("does not exist" if not os.path.exists(path) else "is not a Python file: FILE.py")
    try:
        module = imported(functools.partial(_load, path), os.path.dirname(path), problem)
    except ModuleNotFoundError as error:
        raise problem(f"cannot be imported: {error}") from error
    public = [value for name, value in vars(module).items() if not name.startswith("_")]
    functions = [value for value in public if inspect.isfunction(value) and value.__module__ == module.__name__]
    if not functions:
        raise problem("has no public functions. Define one, with a docstring that tells the model what it does")
    from localstore.agents.tools.tool import tools_by_name

    try:
        return list(tools_by_name([_contained(function) for function in dict.fromkeys(functions)]).values())
    except (TypeError, ValueError) as error:
        raise problem(f"has a function that cannot be a tool: {error}") from None


def _load(path: str) -> ModuleType:
    """Import the file by its path: its name may be that of an installed module, and need not be an identifier."""
    name = f"localstore_tools_{os.path.basename(path).removesuffix('.py')}"
    spec = spec_from_file_location(name, path)
    assert spec is not None  # noqa: S101 (for the type checker: the name ends in .py)
    assert spec.loader is not None  # noqa: S101
    module = module_from_spec(spec)
    sys.modules[name] = module  # where the types of parameters are looked up
    spec.loader.exec_module(module)
    return module


def _contained(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its prints redirected to standard error. `sys.exit` in it is an error for the model."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with _containment():
                return await function(*args, **kwargs)

        return awaited

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        with _containment():
            return function(*args, **kwargs)

    return called


@contextmanager
def _containment() -> Iterator[None]:
    try:
        with printing_to_stderr():
            yield
    except SystemExit as end:
        raise RuntimeError(f"the tool called sys.exit({end.code!r})") from end
