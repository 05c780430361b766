"""Turn session ids into file names that are readable and safe on every system. An id is never a path."""

import os
import re
import unicodedata
from functools import lru_cache

MAX_NAME = 100
"""The longest file name in bytes, with its suffix: short enough for every file system and for longer names made from
it."""

LONGEST = 255
"""The longest file name that file systems take, in bytes."""
_LONGEST_SUFFIX = len(".json")
_SAFE = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?\Z")
_UNSAFE = re.compile(r"[^a-z0-9_-]+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z")


def stem(session_id: str) -> str:
    """Return the file name, without its suffix, for a session id.

    An id of lower-case letters, digits, `_`, `-` and inner dots is its own file name. Any other id, an id that is too
    long, and a name that Windows reserves (`con`, `nul`, ...) becomes a slug, `~` and a hash of 48 bits.

    >>> stem("vienna-2026"), stem("Trip to Vienna")
    ('vienna-2026', 'trip-to-vienna~96db836a04c3')
    """
    limit = MAX_NAME - _LONGEST_SUFFIX
    if len(session_id) <= limit and _SAFE.match(session_id) and not _RESERVED.match(session_id.partition(".")[0]):
        return session_id
    digest = _hash(session_id.encode(), 6).hex()
    ascii_text = unicodedata.normalize("NFKD", session_id[:1000]).encode("ascii", "ignore").decode().lower()
    slug = _UNSAFE.sub("-", ascii_text)[: limit - len(digest) - 1].strip("-_")
    return f"{slug or 'session'}~{digest}"


def fit(name: str, limit: int) -> str:
    """Return a file name of at most `limit` bytes that is unique to `name`.

    That is `name` itself or, if it is too long, its beginning, `~`, a hash of 48 bits and its suffix.

    >>> fit("trip.json", 255), fit("a-very-long-name.json", 20)
    ('trip.json', 'a-~b037cbdbb72b.json')
    """
    raw = os.fsencode(name)
    if len(raw) <= limit:
        return name
    stem, suffix = os.path.splitext(name)
    ending = (
        f"~{_hash(name.encode(errors='surrogateescape'), 6).hex()}{suffix if len(suffix) <= _LONGEST_SUFFIX else ''}"
    )
    beginning = os.fsencode(stem)[: max(0, limit - len(os.fsencode(ending)))].decode(errors="ignore")
    return f"{beginning}{ending}"


@lru_cache(maxsize=1024)
def stripe(session_id: str, stripes: int) -> int:
    """Return the number of the lock that guards a session. It is the same in every process and release."""
    return int.from_bytes(_hash(session_id.encode(), 4), "little") % stripes


def _hash(data: bytes, size: int) -> bytes:
    from hashlib import blake2b  # loaded when a store is opened

    return blake2b(data, digest_size=size).digest()
