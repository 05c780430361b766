"""A process that reads what it is asked to, until it is killed: `python -m tests.crash.mixed_reader ROOT SUFFIX`.

Each line on standard input is a request (a JSON object), each line on standard output its answer: `items` of one
session (None when there is none), `rows` of a listing, or what went `wrong`. `raw` requests are answered without
localstore's code, by what FORMAT.md says of reading.
"""

import fcntl
import json
import os
import re
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

import yaml12

from tests.crash.sealed_runs import Item, items_of
from tests.crash.writer import STORAGES

_CLOSING = {".json": b"\n    }\n  ]\n}\n", ".yaml": b"\n...\n"}
_EMPTY = {".json": b"[]\n}\n", ".yaml": b"history: []\n...\n"}
_ENTRIES = {
    ".json": re.compile(rb"(?:(?<=\n)|(?<=\0))    \{\n.*?\n    \}", re.DOTALL),
    ".yaml": re.compile(rb"(?:(?<=\n)|(?<=\0))- .*?[\n\0](?=[^ \n\r\0])", re.DOTALL),
}
"""An entry that is whole; in YAML only what follows tells that it is."""


class Torn(Exception):
    """The document is not whole at the moment."""


def raw_items(root: Path, session_id: str, suffix: str) -> tuple[list[Item] | None, bool]:
    """The items of a session as any program would read them, and whether the document was torn even under the lock.

    Takes no lock; looks again under the session's lock when something does not fit.
    """
    try:
        return _parsed(root, session_id, suffix), False
    except Torn:
        pass
    number = int.from_bytes(blake2b(session_id.encode(), digest_size=4).digest(), "little") % 64
    fd = os.open(root / ".localstore" / "locks" / f"{number:02d}.lock", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            return _parsed(root, session_id, suffix), False
        except Torn:  # somebody was killed there: the entries that are whole
            raw = _slurp(root, session_id, suffix)
            assert raw is not None
            end = raw.find(_CLOSING[suffix])  # several entries stand behind it before any of them counts
            raw = raw if end < 0 else raw[: end + len(_CLOSING[suffix])]
            found = (_entry(match[0], suffix) for match in _ENTRIES[suffix].finditer(raw))
            return items_of([entry for entry in found if entry is not None]), True
    finally:
        os.close(fd)


def _slurp(root: Path, session_id: str, suffix: str) -> bytes | None:
    """The bytes of the document. Raises Torn when it changed meanwhile."""
    for path in root.glob(f"sessions/*/{session_id}{suffix}"):
        try:
            with path.open("rb") as file:
                before = os.fstat(file.fileno())
                raw = file.read()
                after = os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (len(raw), after.st_mtime_ns, after.st_ctime_ns):
            raise Torn
        return raw
    return None


def _parsed(root: Path, session_id: str, suffix: str) -> list[Item] | None:
    raw = _slurp(root, session_id, suffix)
    if raw is None:
        return None
    if not raw.endswith((_CLOSING[suffix], _EMPTY[suffix])):
        raise Torn
    try:
        document: Any = json.loads(raw) if suffix == ".json" else yaml12.parse_yaml(raw.decode())
    except ValueError:
        raise Torn from None
    assert document["session_id"] == session_id
    return items_of(document["history"])


def _entry(data: bytes, suffix: str) -> dict[str, Any] | None:
    try:
        found: Any = json.loads(data) if suffix == ".json" else yaml12.parse_yaml(data.decode())
    except ValueError:
        return None
    entry = found[0] if isinstance(found, list) else found
    return entry if isinstance(entry, dict) and ("status" in entry or entry.get("type") == "update") else None


def main(root: Path, suffix: str) -> None:
    storage = STORAGES[suffix](root, lock_timeout=60)
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if request["how"] == "list":
                infos = storage.list_sessions(**request["filters"])
                names = ("session_id", "user_id", "kind", "runs", "updated_at", "problem")
                answer["rows"] = [{name: info.as_dict().get(name) for name in names} for info in infos]
            elif request["how"] == "raw":
                answer["items"], answer["torn"] = raw_items(root, request["session"], suffix)
            else:
                session = storage.read(request["session"], last_runs=request["last_runs"])
                entries = None if session is None else [one.model_dump(exclude_none=True) for one in session.history]
                answer["items"] = None if entries is None else items_of(entries)
        except Exception as error:  # noqa: BLE001 (whatever it is, a reader must not see it)
            answer["wrong"] = repr(error)
        os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
