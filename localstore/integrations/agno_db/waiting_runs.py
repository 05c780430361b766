"""Remember the forms in which this process has seen unfinished runs, to tell its own changes from those of others."""

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from threading import Lock
from typing import Any

import orjson

_REMEMBERED = 4096
"""The number of forms that are remembered."""


class WaitingRuns:
    """The unfinished forms of runs that this process has read or written. Many threads may use it."""

    def __init__(self) -> None:
        self._forms: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()

    def record(self, entries: Iterable[dict[str, Any]]) -> None:
        """Remember the unfinished runs among `entries`."""
        forms = [_digest(entry) for entry in entries if entry.get("status") == "unfinished"]
        if forms:
            with self._lock:
                self._forms |= dict.fromkeys(forms)
                while len(self._forms) > _REMEMBERED:
                    self._forms.popitem(last=False)

    def has(self, entry: dict[str, Any]) -> bool:
        """Return whether this process has read or written the run in this form. False for a run that has ended."""
        return _digest(entry) in self._forms


def _digest(entry: dict[str, Any]) -> bytes:
    return blake2b(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
