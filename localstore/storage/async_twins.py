"""Make the async twins of storage methods, such as `aread` of `read`."""

import inspect
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

_Owner = TypeVar("_Owner")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_ABOUT_READS = """Runs in a thread, so that the event loop is not blocked. If the task is cancelled, the result is
ignored."""
_ABOUT_WRITES = """Runs in a thread, so that the event loop is not blocked. If the task is cancelled, the call is
finished first; then `asyncio.CancelledError` is raised."""


def async_twin(
    method: Callable[Concatenate[_Owner, _Arguments], _Result], *, writes: bool
) -> Callable[Concatenate[_Owner, _Arguments], Coroutine[Any, Any, _Result]]:
    """Return an async method with the signature of `method`, which calls that in a thread.

    A subclass that overrides the method changes its twin too. `writes` says what happens if the task is cancelled: a
    write is finished before the cancellation continues, and the result of a read is ignored.
    """
    name = method.__name__

    @wraps(method)
    async def twin(owner: _Owner, /, *args: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        from localstore.storage.threads import run_in_thread  # asyncio takes long to import

        call: Callable[[], _Result] = partial(getattr(owner, name), *args, **options)
        return await run_in_thread(call, abandon=not writes)

    twin.__name__ = f"a{name}"
    twin.__qualname__ = f"{method.__qualname__.removesuffix(name)}a{name}"
    twin.__doc__ = _docstring(method.__doc__, _ABOUT_WRITES if writes else _ABOUT_READS)
    return twin


def _docstring(text: str | None, about: str) -> str:
    """Return the docstring of a twin: that of its method without the examples, with a paragraph about the thread."""
    first, *others = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join([first, about, *(part for part in others if not part.lstrip().startswith(">>>"))])
