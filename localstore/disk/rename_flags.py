"""Renames that Python does not offer: exchange two names, and rename only if the new name is free.

`filesystem.System` calls them, so that tests can make them fail.
"""

import errno
import os
import sys
from collections.abc import Callable
from functools import cache

_EXCHANGE, _KEEP_TARGET = (2, 1) if sys.platform == "linux" else (0x2, 0x4)
"""The flags of `renameat2` on Linux, and of `renameatx_np` on macOS."""
_HERE = -100 if sys.platform == "linux" else -2
"""AT_FDCWD: paths are relative to the working directory."""


@cache
def _rename_function() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """Return the C function that renames with flags, or None if there is none."""
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform)
    try:
        import ctypes

        function = getattr(ctypes.CDLL(None, use_errno=True), name or "")
    except (ImportError, OSError, TypeError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return function  # type: ignore[no-any-return]


def _rename(source: str, target: str, flags: int) -> None:
    import ctypes

    function = _rename_function()
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), source)
    if function(_HERE, os.fsencode(source), _HERE, os.fsencode(target), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source, None, target)


def load() -> None:
    """Find the C function, so that no module has to be imported later."""
    _rename_function()


def exchange(first: str, second: str) -> None:
    """Exchange two names in one step. Raises OSError, with ENOSYS where the system has no such call."""
    _rename(first, second, _EXCHANGE)


def rename_to_new(source: str, target: str) -> None:
    """Rename a file if nothing has the name `target`. Raises FileExistsError, OSError as `exchange` does."""
    _rename(source, target, _KEEP_TARGET)
