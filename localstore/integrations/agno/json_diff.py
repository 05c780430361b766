"""How what agno wrote differs from what comes back of it: kept beside a run, so that nothing is lost on the way.

A difference is a mapping: `set` are keys with their values, `drop` keys that go, `in` holds the differences below a key
or an index, and `is` stands alone, for another value altogether. Null, `[]` and `{}` count as absent.
"""

from typing import Any

from localstore.format.versions import Document
from localstore.format.versions.values import is_empty


def difference(base: Any, wanted: Any) -> Document:
    """What it takes to make `wanted` of `base`; empty when they are equal."""
    if isinstance(base, dict) and isinstance(wanted, dict):
        return _of_mappings(base, wanted)
    if isinstance(base, list) and isinstance(wanted, list) and len(base) == len(wanted):
        pairs = enumerate(zip(base, wanted, strict=True))
        inner = {str(index): found for index, (one, other) in pairs if (found := difference(one, other))}
        return {"in": inner} if inner else {}
    return {} if type(base) is type(wanted) and base == wanted else {"is": wanted}


def _of_mappings(base: Document, wanted: Document) -> Document:
    put: Document = {}
    inner: Document = {}
    for key, value in wanted.items():
        if key not in base:
            if not is_empty(value):
                put[key] = value
            continue
        found = difference(base[key], value)
        if "is" in found:
            put[key] = value
        elif found:
            inner[key] = found
    gone = [key for key, value in base.items() if key not in wanted and not is_empty(value)]
    parts = {"set": put, "drop": gone, "in": inner}
    return {name: part for name, part in parts.items() if part}


def applied(base: Any, changes: Any) -> Any:
    """The base with the changes, in place where it can be. Where a person changed either, what does not fit is left."""
    if not isinstance(changes, dict):
        return base
    if "is" in changes:
        return changes["is"]
    inner = changes.get("in")
    if isinstance(base, list):
        for key, below in inner.items() if isinstance(inner, dict) else ():
            if key.isdecimal() and int(key) < len(base):
                base[int(key)] = applied(base[int(key)], below)
    elif isinstance(base, dict):
        for key, below in inner.items() if isinstance(inner, dict) else ():
            if key in base:
                base[key] = applied(base[key], below)
        gone, put = changes.get("drop"), changes.get("set")
        for key in gone if isinstance(gone, list) else ():
            base.pop(key, None)
        base.update(put if isinstance(put, dict) else {})
    return base
