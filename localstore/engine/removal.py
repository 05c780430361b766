"""The ids of removed entries in a header: so that no merge brings back what was removed on purpose."""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Any

from localstore.format.document import order_header
from localstore.models.times import now, parse_time, time_text, utc_time

REMOVED = "removed"
"""The key of a header with the ids of the entries that were removed on purpose, each with the time of the removal."""
DIGESTS = "blake2b:"
"""The beginning of a key there that stands for many ids with the time of their removal: their digests follow."""

_FEW = 16
"""So many ids that are removed at once stand there as they are, for people."""
_DIGEST = 12
"""The length of a digest in characters: 72 bits, so that no two ids of a session have the same one."""
_TOGETHER = 80
"""The number of digests in one key: a key of YAML has at most 1,024 characters."""


class Removals:
    """The ids of removed entries that a header names, each with the time of its last removal."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        """Read a header. `times` has the times by their keys there, in a form that sorts as text."""
        stored = header.get(REMOVED)
        pairs = stored.items() if isinstance(stored, dict) else ()
        self.times = {key: utc_time(time) if isinstance(time, str) else "" for key, time in pairs}

    def __contains__(self, entry_id: object) -> bool:
        """Return whether the entry with this id was removed."""
        return isinstance(entry_id, str) and (entry_id in self.times or self._digest_of(entry_id) in self._digests)

    def last(self, entry_id: str) -> str:
        """Return the time at which the entry with this id was last removed, or ""."""
        return max(self.times.get(entry_id, ""), self._digests.get(self._digest_of(entry_id), ""))

    def _digest_of(self, entry_id: str) -> str:
        return _digest(entry_id) if self._digests else ""

    @cached_property
    def _digests(self) -> dict[str, str]:
        """The digests of removed ids with the times of their removal."""
        result: dict[str, str] = {}
        for key, time in self.times.items():
            if key.startswith(DIGESTS):
                for start in range(len(DIGESTS), len(key), _DIGEST):
                    digest = key[start : start + _DIGEST]
                    result[digest] = max(time, result.get(digest, ""))
        return result


def with_removal(header: Mapping[str, Any], ids: Iterable[str]) -> dict[str, Any]:
    """Return a header that says that the entries with these ids are removed now.

    If one was removed before and put back, the new time is later than the old one, also if the clock was set back.
    """
    before, time = Removals(header), now()
    times = {entry_id: _after(before.last(entry_id), time) for entry_id in ids}
    if not times:
        return dict(header)
    if len(times) > _FEW:
        times = together(times)
    return order_header({**header, REMOVED: {**(header.get(REMOVED) or {}), **times}})


def together(times: Mapping[str, str]) -> dict[str, str]:
    """Return the removals of many ids in less space: the digests of those that have the same time, in a few keys."""
    digests: dict[str, list[str]] = {}
    for entry_id, time in times.items():
        digests.setdefault(time, []).append(_digest(entry_id))
    return {
        DIGESTS + "".join(some[start : start + _TOGETHER]): time
        for time in sorted(digests)
        for some in [sorted(digests[time])]  # in the order that a merge gives to the keys
        for start in range(0, len(some), _TOGETHER)
    }


def _digest(entry_id: str) -> str:
    """Return the digest of an id, as FORMAT.md specifies it."""
    raw = blake2b(entry_id.encode(), digest_size=_DIGEST * 6 // 8).digest()
    return urlsafe_b64encode(raw).decode()


def _after(earlier: str, time: str) -> str:
    """Return `time`, or the millisecond after `earlier` if `time` is not later."""
    before = parse_time(earlier)
    return time if before is None or time > earlier else time_text(before + timedelta(milliseconds=1))
