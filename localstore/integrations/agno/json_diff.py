"""Compute and apply the difference between two JSON values.

The difference is stored with a run of agno, so that agno receives the run unchanged.

A difference is a mapping. `set` holds keys with their new values, `drop` lists the keys to remove, and `in` holds the
differences below a key or an index. `is` occurs alone and holds a new value. In a mapping, null, `[]` and `{}` are
equal to an absent key.
"""

from typing import Any

from localstore.format.versions import Document
from localstore.format.versions.values import is_empty


def difference(base: Any, target: Any) -> Document:
    """Return the difference that `applied` needs to turn `base` into `target`. It is empty if they are equal.

    >>> difference({"a": 1, "b": 2}, {"a": 1, "c": 3})
    {'set': {'c': 3}, 'drop': ['b']}
    """
    if isinstance(base, dict) and isinstance(target, dict):
        return _of_mappings(base, target)
    if isinstance(base, list) and isinstance(target, list) and len(base) == len(target):
        pairs = enumerate(zip(base, target, strict=True))
        inner = {str(index): change for index, (old, new) in pairs if (change := difference(old, new))}
        return {"in": inner} if inner else {}
    return {} if type(base) is type(target) and base == target else {"is": target}


def _of_mappings(base: Document, target: Document) -> Document:
    put: Document = {}
    inner: Document = {}
    for key, value in target.items():
        if key not in base:
            if not is_empty(value):
                put[key] = value
            continue
        change = difference(base[key], value)
        if "is" in change:
            put[key] = value
        elif change:
            inner[key] = change
    dropped = [key for key, value in base.items() if key not in target and not is_empty(value)]
    parts = {"set": put, "drop": dropped, "in": inner}
    return {name: part for name, part in parts.items() if part}


def applied(base: Any, changes: Any) -> Any:
    """Apply the difference `changes` to `base` and return the result. Changes mappings and lists in `base` in place.

    Ignores changes that do not fit `base`, which happens if somebody edited the document.

    >>> applied({"a": 1, "b": 2}, {"set": {"c": 3}, "drop": ["b"]})
    {'a': 1, 'c': 3}
    """
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
        dropped, put = changes.get("drop"), changes.get("set")
        for key in dropped if isinstance(dropped, list) else ():
            base.pop(key, None)
        base.update(put if isinstance(put, dict) else {})
    return base
