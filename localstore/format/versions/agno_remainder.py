"""Keep data that agno 1.x has no field for (the remainder) in one extra key of agno's session.

The remainder is the difference between a document and the result of converting it to agno's form and back. It makes
that conversion lossless, even for data that a later localstore or a person added to the document. agno ignores the key
when it reads a session, and drops it when it writes one.
"""

from typing import Any

from localstore.format.versions.agno_runs import ordered
from localstore.format.versions.step import CannotUpgrade, Document, Place
from localstore.format.versions.values import identity, items, mapping

KEY = "localstore"
_PARTS = {"runs", "header", "history"}


def is_remainder(value: Any) -> bool:
    """Return whether a value under `KEY` is a remainder, and not data of somebody else."""
    return isinstance(value, dict) and "runs" in value and value.keys() <= _PARTS


def remainder(base: Document, document: Document) -> Document | None:
    """Return the remainder, from which `restored` turns `base` into `document`. Return None if they are equal."""
    parts: Document = {}
    header = _changes(_header(base), _header(document))
    if header:
        parts["header"] = header
    if identity(base["history"]) != identity(document["history"]):
        unmatched = {entry["run_id"]: entry for entry in base["history"] if entry["type"] == "run"}
        parts["history"] = [_entry_from(unmatched, entry) for entry in document["history"]]
    return {"runs": _run_ids(base), **parts} if parts else None


def restored(base: Document, parts: Document) -> Document:
    """Return `base` with the remainder `parts` applied: the document that the remainder was computed from.

    If runs were added or removed since, only the header is restored, and the history is that of `base`. Does not change
    the arguments. Raises CannotUpgrade if the remainder is invalid.
    """
    header = _changed(_header(base), parts.get("header"), (KEY, "header"))
    history = base["history"]
    changed_entries = items(parts.get("history"), (KEY, "history"), "a list of entries")
    if "history" in parts and identity(parts["runs"]) == identity(_run_ids(base)):
        runs = {entry["run_id"]: entry for entry in history if entry["type"] == "run"}
        history = [_entry_to(runs, item, (KEY, "history", index)) for index, item in enumerate(changed_entries)]
    return {**header, "history": history}


def _header(document: Document) -> Document:
    return {key: value for key, value in document.items() if key != "history"}


def _run_ids(document: Document) -> list[str]:
    return [entry["run_id"] for entry in document["history"] if entry["type"] == "run"]


def _entry_from(runs: dict[str, Document], entry: Document) -> Document:
    base = runs.pop(entry.get("run_id", ""), None) if entry["type"] == "run" else None
    return {"entry": entry} if base is None else {"run": base["run_id"], **_changes(base, entry)}


def _entry_to(runs: dict[str, Document], item: Any, where: Place) -> Document:
    change = mapping(item, where)
    if "entry" in change:
        return mapping(change["entry"], (*where, "entry"))
    run_id = change.get("run")
    if not isinstance(run_id, str) or run_id not in runs:
        raise CannotUpgrade("expected the id of a run of the session", (*where, "run"))
    return ordered(_changed(runs[run_id], change, where))


def _changes(base: Document, target: Document) -> Document:
    changed = {key: value for key, value in target.items() if key not in base or identity(base[key]) != identity(value)}
    dropped = [key for key in base if key not in target]
    return {**({"set": changed} if changed else {}), **({"drop": dropped} if dropped else {})}


def _changed(base: Document, changes: Any, where: Place) -> Document:
    parts = mapping(changes, where)
    dropped = items(parts.get("drop"), (*where, "drop"), "a list of keys")
    kept = {key: value for key, value in base.items() if key not in dropped}
    return {**kept, **mapping(parts.get("set"), (*where, "set"))}
