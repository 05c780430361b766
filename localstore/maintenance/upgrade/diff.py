"""Write the change of a document as a unified diff that `patch -p1` applies, byte for byte.

`difflib.unified_diff` does not suffice: its time is not bounded, and it does not mark a missing newline at the end.
"""

from collections.abc import Iterator

from localstore.format.line_changes import line_changes, with_context
from localstore.maintenance.upgrade.preview import Change

_CONTEXT = 3


def unified_diff(change: Change) -> Iterator[bytes]:
    """Yield the lines of the diff of a change, each with its newline.

    A document with a new path is shown as a rename. Names are quoted as `git diff` quotes them.
    """
    old, new = _lines(change.old), _lines(change.new)
    before, after = _name("a/" + change.path), _name("b/" + change.new_path)
    if change.path != change.new_path:
        yield b"diff --git " + before + b" " + after + b"\n"
        yield b"rename from " + _name(change.path) + b"\n"
        yield b"rename to " + _name(change.new_path) + b"\n"
    yield b"--- " + before + b"\n"
    yield b"+++ " + after + b"\n"
    for line in _hunks(old, new):
        yield line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"


def _lines(raw: bytes) -> list[bytes]:
    """Return the lines with their newlines. Unlike `bytes.splitlines`, carriage returns do not end a line."""
    lines = raw.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def _hunks(old: list[bytes], new: list[bytes]) -> Iterator[bytes]:
    for group in with_context(line_changes(old, new), _CONTEXT):
        yield f"@@ -{_range(group[0][1], group[-1][2])} +{_range(group[0][3], group[-1][4])} @@\n".encode()
        for tag, i, j, k, n in group:
            if tag == "equal":
                yield from (b" " + line for line in old[i:j])
                continue
            yield from (b"-" + line for line in old[i:j])
            yield from (b"+" + line for line in new[k:n])


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _name(path: str) -> bytes:
    """Return a path as bytes, quoted as `git diff` quotes it if it has special characters."""
    raw = path.encode()
    if all(0x20 < byte < 0x7F and byte not in b'"\\' for byte in raw):
        return raw
    quoted = b"".join(
        bytes([byte]) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03o}".encode() for byte in raw
    )
    return b'"' + quoted + b'"'
