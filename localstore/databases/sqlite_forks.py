"""Forks of a process that has files of SQLite open.

A child inherits what SQLite knows of the connections of its parent, and takes their locks for its own. It would wait
for ever for a lock that another thread held, or not take one that it needs: then another process takes itself for the
last one, and removes the log to which the child writes. So a fork waits until no other thread is inside SQLite, and
closes all connections before it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from localstore.disk.loading import register_at_fork

_PATIENCE = 10.0
"""How many seconds a fork waits for other threads at most."""
_changed = threading.Condition()
"""Held while what follows is read or changed, and during a fork."""
_inside: Counter[int] = Counter()
"""How often each thread has entered SQLite and not left it yet."""
_forking: set[int] = set()
"""The threads that wait for a fork, for whom all others wait."""
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def register(engine: Engine) -> None:
    """Let forks close the connections of an engine for SQLite. Each use of it must be `inside`."""
    with _changed:
        _engines.add(engine)


@contextmanager
def inside() -> Iterator[None]:
    """Let forks of other threads wait until the block ends."""
    own = threading.get_ident()
    with _changed:
        while _forking and own not in _forking and not _inside[own]:
            _changed.wait()
        _inside[own] += 1
    try:
        yield
    finally:
        with _changed:
            _inside[own] -= 1
            if not _inside[own]:
                del _inside[own]
                _changed.notify_all()


def _before_fork() -> None:
    own = threading.get_ident()
    _changed.acquire()
    _forking.add(own)
    end = time.monotonic() + _PATIENCE
    while _inside.keys() - {own} and (left := end - time.monotonic()) > 0:
        _changed.wait(left)
    for engine in [*_engines]:
        engine.dispose()


def _after_fork_in_parent() -> None:
    _forking.discard(threading.get_ident())
    _changed.notify_all()
    _changed.release()


def _after_fork_in_child() -> None:
    global _changed, _inside
    own = threading.get_ident()
    _changed = threading.Condition()
    _inside = Counter({own: _inside[own]}) if _inside[own] else Counter()
    _forking.clear()
    _engines.clear()  # those of the parent, which may have connections in use if it waited in vain


register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
