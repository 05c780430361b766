"""What a document says that agno 1.x has no place for: kept beside what it reads, until it writes the session anew.

The remainder is the difference between a document and what becomes of it on the way to agno and back. So the way back
is exact, whatever a later localstore or its user wrote into the document. agno reads a session without the key, and
drops it when it writes.
"""

from typing import Any

from localstore.format.versions.agno_runs import ordered
from localstore.format.versions.step import CannotUpgrade, Document, Place
from localstore.format.versions.values import identity, items, mapping

KEY = "localstore"
_PARTS = {"runs", "header", "history"}


def is_remainder(value: Any) -> bool:
    """Whether it is one, and not something else of the same name."""
    return isinstance(value, dict) and "runs" in value and value.keys() <= _PARTS


def remainder(base: Document, document: Document) -> Document | None:
    """What it takes to make `document` of `base`; None when they are equal."""
    parts: Document = {}
    header = _changes(_header(base), _header(document))
    if header:
        parts["header"] = header
    if identity(base["history"]) != identity(document["history"]):
        waiting = {entry["run_id"]: entry for entry in base["history"] if entry["type"] == "run"}
        parts["history"] = [_entry_from(waiting, entry) for entry in document["history"]]
    return {"runs": _run_ids(base), **parts} if parts else None


def restored(base: Document, parts: Document) -> Document:
    """The document that the remainder was made for. Where somebody changed the runs since, the runs count."""
    header = _changed(_header(base), parts.get("header"), (KEY, "header"))
    history = base["history"]
    told = items(parts.get("history"), (KEY, "history"), "a list of entries")
    if "history" in parts and identity(parts["runs"]) == identity(_run_ids(base)):
        runs = {entry["run_id"]: entry for entry in history if entry["type"] == "run"}
        history = [_entry_to(runs, item, (KEY, "history", index)) for index, item in enumerate(told)]
    return {**header, "history": history}


def _header(document: Document) -> Document:
    return {key: value for key, value in document.items() if key != "history"}


def _run_ids(document: Document) -> list[str]:
    return [entry["run_id"] for entry in document["history"] if entry["type"] == "run"]


def _entry_from(runs: dict[str, Document], entry: Document) -> Document:
    base = runs.pop(entry.get("run_id", ""), None) if entry["type"] == "run" else None
    return {"entry": entry} if base is None else {"run": base["run_id"], **_changes(base, entry)}


def _entry_to(runs: dict[str, Document], item: Any, where: Place) -> Document:
    told = mapping(item, where)
    if "entry" in told:
        return mapping(told["entry"], (*where, "entry"))
    run_id = told.get("run")
    if not isinstance(run_id, str) or run_id not in runs:
        raise CannotUpgrade("expected the id of a run of the session", (*where, "run"))
    return ordered(_changed(runs[run_id], told, where))


def _changes(base: Document, wanted: Document) -> Document:
    changed = {key: value for key, value in wanted.items() if key not in base or identity(base[key]) != identity(value)}
    gone = [key for key in base if key not in wanted]
    return {**({"set": changed} if changed else {}), **({"drop": gone} if gone else {})}


def _changed(base: Document, changes: Any, where: Place) -> Document:
    told = mapping(changes, where)
    gone = items(told.get("drop"), (*where, "drop"), "a list of keys")
    kept = {key: value for key, value in base.items() if key not in gone}
    return {**kept, **mapping(told.get("set"), (*where, "set"))}
