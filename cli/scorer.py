"""Scores answers with a function that the user names with `--pass module:function`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from numbers import Real
from typing import Any

import click

from .user_module import error_text, imported, printing_to_stderr


@dataclass(frozen=True, slots=True)
class Score:
    """The score of an answer, from 0 to 1, and whether it passes."""

    value: float
    passed: bool


class Scorer:
    """Calls a function named `module:function`. Its printed output goes to standard error."""

    def __init__(self, named: str, threshold: float) -> None:
        """Raises UsageError if the function cannot be imported, or is not callable."""
        self._named = named
        self._threshold = threshold
        module, _, name = named.partition(":")
        if not module or not name:
            raise self._error("is not of the form module:function")
        self._function = self._import(module, name)

    def _import(self, module: str, name: str) -> Callable[..., Any]:
        here = os.getcwd()
        try:
            found = imported(partial(import_module, module), here, self._error)
        except ModuleNotFoundError as error:
            if error.name is not None and (module + ".").startswith(error.name + "."):
                raise self._error(f"names a module that is neither in {here} nor installed") from None
            raise self._error(f"cannot be imported: {error}") from error
        function = getattr(found, name, None)
        if function is None:
            source = found.__file__ or module
            own = os.path.join(here, f"{module}.py")
            is_hidden = os.path.exists(own) and os.path.realpath(own) != os.path.realpath(source)
            hint = f". The name hides {own}: give that file another name" if is_hidden else ""
            raise self._error(f"names a function that {source} does not have{hint}")
        if not callable(function):
            raise self._error(f"names a value of type {type(function).__name__}, not a function")
        return function  # type: ignore[no-any-return]

    def __call__(self, question: str, old: str, new: str) -> Score:
        """Score one answer. Raises UsageError if the function raises an error or does not return a score."""
        try:
            with printing_to_stderr():
                value = self._function(question, old, new)
        except (Exception, SystemExit) as error:
            raise self._error(f"raised {error_text(error)}, with the question {_short(question)}") from error
        if inspect.iscoroutine(value):
            value.close()
        if getattr(value, "ndim", None) == 0:  # numbers and truth values of numpy and the like
            value = value.item()
        if isinstance(value, bool):
            return Score(float(value), value)
        if isinstance(value, Real) and 0 <= float(value) <= 1:
            return Score(float(value), float(value) >= self._threshold)
        shown = repr(value) if isinstance(value, (Real, str)) or value is None else f"a {type(value).__name__}"
        raise self._error(
            f"returned {_short(shown, quoted=False)}, with the question {_short(question)}. "
            "It must return True, False, or a number from 0 to 1"
        )

    def _error(self, problem: str) -> click.UsageError:
        return click.UsageError(f"--pass '{self._named}' {problem}", click.get_current_context())


def _short(text: str, *, quoted: bool = True) -> str:
    cut = text if len(text) <= 60 else f"{text[:60]}…"
    return f"'{cut}'" if quoted else cut
