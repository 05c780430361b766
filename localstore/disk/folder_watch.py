"""Whether this process alone changes the names in a folder.

A folder that has the modification time that it had when it was listed has the same names. A process that adds or
removes a name can therefore say what the time is afterwards, and nobody needs to list the folder again, unless others
changed it too. The time moves in steps of milliseconds, and a change by another program in the same step would not be
seen. After each own change, the folder therefore gets a time that no other change gives it.
"""

import contextlib
import random
import time
from collections.abc import Iterator

from localstore.disk import filesystem


def folder_time(folder: str) -> int | None:
    """Return the modification time of a folder in ns, or None if it cannot be read."""
    try:
        return filesystem.system.status(folder).st_mtime_ns
    except OSError:
        return None


def stamp(folder: str) -> int | None:
    """Give a folder a modification time that no other change gives it, and return it. It is about the current time.

    Return None if that is not possible: the folder belongs to somebody else, or its file system rounds times.
    """
    now = time.time_ns()
    moment = now - now % 1000 + random.randrange(1, 1000)  # noqa: S311 (the kernel's times are not guessed)
    try:
        filesystem.system.set_time(folder, moment)
    except OSError:
        return None
    return moment if folder_time(folder) == moment else None


class FolderWatch:
    """Follows the modification time of a folder through the changes of this process."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.before = folder_time(folder)
        """The time before the first change, or None if it could not be read."""
        self.after = self.before
        """The time after the last change, or None if others may have changed the folder too."""

    @contextlib.contextmanager
    def own_change(self) -> Iterator[None]:
        """Enclose one change of the names in the folder, as closely as possible."""
        if self.after is not None and folder_time(self._folder) != self.after:
            self.after = None
        is_alone = self.after is not None
        self.after = None  # in case of an exception
        yield
        if is_alone:
            self.after = stamp(self._folder)


def watched(watch: FolderWatch | None) -> contextlib.AbstractContextManager[None]:
    """Return the context of one change of the names in a folder, which may be watched."""
    return contextlib.nullcontext() if watch is None else watch.own_change()
