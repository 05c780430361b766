"""Merge a changed session into its document: compare it as read, as changed by the caller, and as stored now."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from localstore.engine.engine import Engine
from localstore.engine.merge import Key, choose, keyed
from localstore.engine.plan import contains
from localstore.engine.removal import with_removal
from localstore.engine.snapshot import Snapshot
from localstore.engine.transaction import Transaction
from localstore.errors import Conflict, OwnerMismatch
from localstore.format.document import newest_state, order_header
from localstore.format.run_entry import keep_rating
from localstore.format.values import json_equal, to_json_value
from localstore.index.row import IndexRow
from localstore.models.fields import SET_BY_PROGRAM
from localstore.models.schema import SESSION_KEYS
from localstore.models.session import HistoryEntry, Session
from localstore.models.times import now
from localstore.models.validation import as_mappings, first_problem, is_validated
from localstore.storage.checked_values import wrong_type

_entries: TypeAdapter[list[Any]] = TypeAdapter(list[HistoryEntry])
_FIXED = ("schema_version", "session_id", "kind", "created_at")


@dataclass(slots=True)
class Plan:
    """The changes that an upsert makes to a document.

    `header` is the new header. `replaced` maps the index of a stored entry to its new value, or to None if the entry is
    removed. `added` lists the entries to add at the end.
    """

    header: dict[str, Any]
    replaced: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    added: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class LocalSession:
    """A validated Session of the caller as plain JSON values.

    `current` has the newest value of each state key.
    """

    header: dict[str, Any]
    entries: list[dict[str, Any]]
    current: dict[str, Any]
    named: frozenset[str]
    """The fields that were set explicitly. Only these are compared if the session was not read from the store."""

    @classmethod
    def of(cls, session: Session) -> "LocalSession":
        """Return a validated session as plain values; `session` does not change.

        Raises UnstorableValue if a value in it cannot be stored, and TypeError if it is not a valid session.
        """
        header = to_json_value(session)
        entries = [to_json_value(entry, f"history[{number}]") for number, entry in enumerate(session.history)]
        try:
            Session.model_validate(as_mappings(session), context=SET_BY_PROGRAM)
            for number, entry in enumerate(session.history):
                if not is_validated(entry):
                    (checked,) = _entries.validate_python([as_mappings(entry)], context=SET_BY_PROGRAM)
                    entries[number] = to_json_value(checked)
        except ValidationError as error:
            problem = first_problem(error)
            raise TypeError(f"upsert takes a valid Session. In this one, {problem}. Nothing was written.") from None
        return cls(
            header,
            entries,
            to_json_value(session.current()),
            frozenset(session.model_fields_set) | frozenset(session.model_extra or ()),
        )

    def new_entries(self) -> list[dict[str, Any]]:
        """Return the history for a new document.

        It has the entries and, if the state of the session differs from that of its entries, an update with the rest.
        """
        state_of_entries = newest_state(self.entries)
        state = {
            name: value for name, value in self.current.items() if not json_equal(state_of_entries.get(name), value)
        }
        return [*self.entries, _update(state)] if state else self.entries

    def stored(self, row: IndexRow, *, alone: bool = True) -> Snapshot:
        """Return the snapshot to compare the session with at the next upsert.

        `row` is the row of the document after the write. If others wrote as well (`alone` is False), the document has
        more than this snapshot, so its fingerprint is left empty and matches no document.
        """
        return Snapshot(row["path"], self.header, self.entries, self.current, row["fingerprint"] if alone else [])


def upsert_into(store: Engine, transaction: Transaction, local: LocalSession, base: Snapshot | None) -> Snapshot:
    """Write the changes between `base` and `local` to the document, by an append where possible.

    Return the snapshot to compare with at the next upsert. `base` is the session as it was read, or None if it was not
    read from the store.

    Raises Conflict if the same run, field or state was changed in `local` and in the document, and OwnerMismatch if the
    owner differs.
    """
    check_owner(local, base, transaction.header(), transaction.file.path)
    alone = base is not None and base.fingerprint == transaction.row["fingerprint"]
    if base is not None and alone:
        plan = merge(local, base, base)  # no other program wrote since: the document equals `base`
        recent_ids = store.runs.recent(transaction).keys() - {entry.get("run_id") for entry in base.entries}
        if (
            not plan.replaced
            and json_equal(plan.header, base.header)
            and not recent_ids & {e.get("run_id") for e in plan.added}
        ):
            if plan.added:
                transaction.append(plan.added)
            return local.stored(transaction.row)
    parsed = transaction.whole()
    current, fingerprint = newest_state(parsed.entries), transaction.row["fingerprint"]
    remote = Snapshot(transaction.file.path, parsed.header, parsed.entries, current, fingerprint)
    plan = merge(local, base, remote)
    if plan.replaced or not json_equal(plan.header, parsed.header):
        replaced = {parsed.starts[index]: entry for index, entry in plan.replaced.items()}
        transaction.change(order_header(plan.header), replaced, plan.added)
    elif plan.added:
        transaction.append(plan.added)
    return local.stored(transaction.row, alone=alone)


def check_owner(local: LocalSession, base: Snapshot | None, header: dict[str, Any], path: str | None) -> None:
    """Raise OwnerMismatch if the stored session, with this header, has another owner. `path` is for the error."""
    owner = header.get("user_id")
    user_id = local.header.get("user_id", owner if base is None else None)
    if user_id != owner or (base is not None and base.header.get("user_id") != owner):
        raise OwnerMismatch(
            f"Session {header['session_id']!r} belongs to {'nobody' if owner is None else 'another user'}, "
            "and upsert does not change that. Nothing was written. Use another session_id, or leave user_id as it was.",
            path=path,
            session_id=header["session_id"],
        )


def merge(local: LocalSession, base: Snapshot | None, remote: Snapshot) -> Plan:
    """Return the changes to the document `remote` that add those made from `base` to `local`.

    `base` is None if the session was not read from the store; nothing is removed then. The arguments do not change.
    Raises Conflict if the same run, field or state was changed on both sides, to different values.
    """
    session_id = remote.header["session_id"]
    plan = Plan(_merge_header(local, base, remote.header))
    before = keyed(_normalised_entries(base)) if base else {}
    here = keyed(local.entries)
    there = keyed(_normalised_entries(remote))
    index = {key: number for number, key in enumerate(there)}
    removed = []
    for key, old in before.items():
        new, now_there = here.get(key), there.get(key)
        if _is_changed(new, now_there, old, session_id, _name(key)):
            plan.replaced[index[key]] = new
            if new is None and key[0] == "run":
                removed.append(key[1])
    plan.header = with_removal(plan.header, removed)
    for key, new in here.items():
        if key in before:
            continue
        now_there = there.get(key)
        if now_there is None:
            plan.added.append(new)
        elif now_there.get("status") == "unfinished" and new.get("status") != "unfinished" and contains(new, now_there):
            plan.replaced[index[key]] = keep_rating(now_there, new)
        elif not json_equal(now_there, new if key[0] != "run" else keep_rating(now_there, new)):
            raise _conflict(session_id, _name(key))
    _merge_current(plan, local, base, remote)
    return plan


def _merge_header(local: LocalSession, base: Snapshot | None, remote: dict[str, Any]) -> dict[str, Any]:
    result = dict(remote)
    for name in {**remote, **local.header, **(base.header if base else {})}:
        if name in _FIXED or (base is None and name not in local.named):
            continue
        new, there = local.header.get(name), remote.get(name)
        old = there if base is None else base.header.get(name)
        if not _is_changed(new, there, old, remote["session_id"], name):
            continue
        if new is None:
            del result[name]
        else:
            result[name] = new
    return result


def _is_changed(new: Any, stored: Any, base: Any, session_id: str, what: str) -> bool:
    """Return whether `new` replaces the stored value: the caller changed it from `base`, and nobody else did.

    None stands for an absent value. Raises Conflict if both changed it, to different values.
    """
    taken, is_different = choose(new, stored, base, True, None)
    if is_different:
        raise _conflict(session_id, what)
    return taken == "ours" and not json_equal(new, stored)


def _merge_current(plan: Plan, local: LocalSession, base: Snapshot | None, remote: Snapshot) -> None:
    """Add an update to `plan.added` with the state that changed on the Session itself, unless a new entry sets it.

    Raises Conflict if the store has changed the same state.
    """
    changed: dict[str, Any] = {}
    for name in SESSION_KEYS:
        new = _value(local.current, name)
        old = _value(base.current, name) if base else None
        there = _value(remote.current, name)
        for entry in plan.added:
            there = entry.get(name, there)
        if json_equal(new, old) or json_equal(new, there):
            continue
        if base and not json_equal(_value(remote.current, name), old):
            raise _conflict(remote.header["session_id"], name)
        changed[name] = new if new is not None else {} if name in ("session_state", "session_data") else ""
    if changed:
        plan.added.append(_update(changed))


def _update(state: dict[str, Any]) -> dict[str, Any]:
    return {"type": "update", "created_at": now(), **state}


def _value(current: dict[str, Any], name: str) -> Any:
    value = current.get(name)
    return None if value in (None, "", {}) else value


def _normalised_entries(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the entries of a snapshot in the form in which the models write them, so that only content is compared.

    Raises DocumentBroken if an entry is not valid.
    """
    try:
        return [to_json_value(entry) for entry in _entries.validate_python(snapshot.entries)]
    except ValidationError as error:
        raise wrong_type(error, snapshot, "history") from None


def _name(key: Key) -> str:
    return f"run {key[1]}" if key[0] == "run" else f"a {key[0]} entry"


def _conflict(session_id: str, what: str) -> Conflict:
    return Conflict(
        f"Session {session_id!r}: {what} was changed here and in the store. Nothing was written. "
        "Read the session again, repeat the change, and upsert that.",
        session_id=session_id,
    )
