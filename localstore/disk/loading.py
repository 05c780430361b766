"""Load the modules that a write or a YAML document needs before a lock is taken.

If a process forks while another of its threads imports a module, that module stays locked in the child, and the child
waits for ever when it needs it. No import begins while a lock is held, and a fork waits until other imports have ended.
The child forgets what had begun all the same.
"""

import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from localstore.disk import file_names, filesystem

_PACKAGES = ("localstore", "pydantic", "yaml", "ctypes", "_ctypes", "encodings", "hashlib")
"""The packages whose modules may be imported by a call to an open store."""

_MOST_WAITS = 100
"""How often imports are waited for. A thread that forks in the middle of its own import cannot wait for that one."""

_is_ready_for_writing = False
_is_ready_for_yaml = False


def load_for_writing() -> None:
    """Load what each lock and each write needs. Do nothing if that was done before: a process that only reads need not.

    Call it before a lock is taken.
    """
    global _is_ready_for_writing
    if _is_ready_for_writing:
        return
    filesystem.load_functions()
    file_names.stripe("", 1)  # loads hashlib
    b"a".decode("utf-8-sig")  # Python loads the module of a codec when it is used for the first time
    _is_ready_for_writing = True


def load_yaml() -> None:
    """Load what reading and writing a YAML document needs. Do nothing if that was done before."""
    global _is_ready_for_yaml
    if _is_ready_for_yaml:
        return
    from localstore.format import yaml_reader, yaml_writer

    yaml_reader.load(yaml_writer.mapping({"a": 1}).encode())
    _is_ready_for_yaml = True


def is_ready_for(path: str) -> bool:
    """Return whether a document at this path can be read and written without an import."""
    return _is_ready_for_yaml or not path.endswith(".yaml")


def _wait_for_imports() -> None:
    """Wait until no other thread is importing a module of these packages. Called before each fork."""
    locks = getattr(importlib._bootstrap, "_module_locks", {})
    for _ in range(_MOST_WAITS):  # a thread that has imported one module may have begun with the next one
        names = [name for name in list(locks) if isinstance(name, str) and name.partition(".")[0] in _PACKAGES]
        if not names:
            return
        for name in names:
            with contextlib.suppress(Exception):  # the thread that imports it gets the error
                importlib.import_module(name)
        time.sleep(0.001)  # let that thread release the lock of the module


def _forget_imports() -> None:
    """In the child, forget the imports of threads that it does not have. What it needs of them is imported again.

    Another thread may have begun with one after the fork had waited.
    """
    locks = getattr(importlib._bootstrap, "_module_locks", {})
    for name, reference in list(locks.items()):
        lock = reference()
        if getattr(lock, "owner", None) in (None, threading.get_ident()):
            continue
        locks.pop(name, None)
        if getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False):
            sys.modules.pop(name, None)


class _Hooks(NamedTuple):
    before: Callable[[], None]
    after_in_parent: Callable[[], None]
    after_in_child: Callable[[], None]


_hooks: list[_Hooks] = []
_done: dict[int, list[_Hooks]] = {}
"""The hooks of the forks that are being made, by thread."""


def register_at_fork(
    *, before: Callable[[], None], after_in_parent: Callable[[], None], after_in_child: Callable[[], None]
) -> None:
    """Let functions be called by each fork, even by one that waits at this moment for the caller to be imported.

    `os.register_at_fork` would leave such a fork out: it could inherit what a thread opens as soon as the import ends.
    """
    _hooks.append(_Hooks(before, after_in_parent, after_in_child))


def _before_fork() -> None:
    _wait_for_imports()
    done: list[_Hooks] = []
    _done[threading.get_ident()] = done
    while len(done) < len(_hooks):  # a module may be imported meanwhile
        done.append(_hooks[len(done)])
        done[-1].before()


def _after_fork_in_parent() -> None:
    for hooks in reversed(_done.pop(threading.get_ident(), [])):
        hooks.after_in_parent()


def _after_fork_in_child() -> None:
    _done.clear()
    _forget_imports()
    for hooks in _hooks:
        hooks.after_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
