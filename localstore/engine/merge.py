"""Merge two versions of one session, three-way if the version that both come from is known.

Every way in which versions of a session come together uses this merge: conflict copies of sync tools, git, whole
stores, imports, and programs that changed the same session. Nothing here touches a file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from localstore.engine.merge_order import Side, merged_order
from localstore.engine.plan import compare_forms
from localstore.engine.removal import REMOVED, Removals
from localstore.format.document import order_header
from localstore.format.in_place import RUN_LISTS
from localstore.format.run_entry import RATING_KEYS, with_rating
from localstore.format.values import json_equal
from localstore.models.times import utc_time

Entry = dict[str, Any]
Key = tuple[str, str, int]
"""What identifies an entry in each version: its type, its id or its content, and a number among those with the same."""

_IDS = {"run": "run_id", "item": "item_id"}
_STATE_MAPPINGS = ("session_state", "session_data")
"""Session keys that are merged key by key. Of the others, the newest value in the history counts."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a session: the header and the entries of a document. A merge changes neither."""

    header: Mapping[str, Any]
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that both versions have, in different forms, of which the merged session has one.

    `what` names it: `run r1`, `rating of run r1`, `name`, `metadata.city`, `session_state.city`. `ours` and `theirs`
    are its forms, None where it is absent. `taken` says which one the merged session has. `run_id` is the id if it is
    an entry with an id, and None otherwise.
    """

    what: str
    ours: Any
    theirs: Any
    taken: Side
    run_id: str | None = None

    @property
    def lost(self) -> Any:
        """The form that is not in the merged session."""
        return self.theirs if self.taken == "ours" else self.ours


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged session. Entries that were taken unchanged are the same objects as in the versions.

    `differences` names what both versions have in different forms.
    """

    header: dict[str, Any]
    entries: list[Entry]
    differences: tuple[Difference, ...]

    def taken_out(self, version: Version) -> list[Entry]:
        """Return the entries of a version that the merged session has in no form, because they were removed.

        Keep them in the rescue folder if a document had them.
        """
        kept = keyed(self.entries)
        return [entry for key, entry in keyed(version.entries).items() if key not in kept]


def merge(ours: Version, theirs: Version, base: Version | None = None, *, prefer: Side | None = None) -> Merged:
    """Return the session that has everything of two versions of it.

    Entries with an id are matched by it, others by their content. With `base`, the version that both come from, what
    only one side changed is taken from that side. Without it, the result has what either side has. Entries are in the
    order of their creation, and each side's order is kept; at equal times, ours come first.

    An entry whose id is in `removed` of a header was removed on purpose. It stays so, unless the other version knows
    of that removal and has the entry again. An unfinished run loses to a form that continues it. If both sides changed
    a rating, the name, the tags, or a key of the metadata, that of the version with the newer history counts. If the
    histories end at the same time, the value decides, so that the result does not depend on which version is called
    ours. If both sides changed the state, it is merged by key, and goes into an update at the end, because the newest
    state in a history replaces older ones.

    With `prefer`, the form of this side counts wherever both changed something, instead of the later one.

    The merge is idempotent: merging one of the versions into the result changes nothing. Both headers must be those of
    the same session.
    """
    return _Merge(ours, theirs, base, prefer).result()


def keyed(entries: Iterable[Entry]) -> dict[Key, Entry]:
    """Return entries by what identifies them in each version of the session."""
    seen: dict[tuple[str, str], int] = {}
    result: dict[Key, Entry] = {}
    for entry in entries:
        identifier = entry.get(_IDS.get(entry["type"], ""))
        found = entry["type"], identifier if isinstance(identifier, str) else canonical(entry)
        number = seen.get(found, 0)
        seen[found] = number + 1
        result[(*found, number)] = entry
    return result


def in_order_of_both(ours: Sequence[Entry], theirs: Sequence[Entry]) -> list[Entry]:
    """Return our entries and those that only the other side has, in the order of a merge."""
    here, there = keyed(ours), keyed(theirs)
    forms = {**there, **here}
    times = {key: _time(entry) for key, entry in forms.items()}
    return [forms[key] for key in merged_order(list(here), list(there), (), times, "ours")]


def canonical(value: Any) -> str:
    """Return a JSON value as text that does not depend on the order of keys."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:  # nested too deeply
        return repr(value)


class _Merge:
    """One merge. `differences` collects what both sides have in different forms."""

    def __init__(self, ours: Version, theirs: Version, base: Version | None, prefer: Side | None) -> None:
        self._ours, self._theirs, self._base = ours, theirs, base
        self._removals = [Removals({} if one is None else one.header) for one in (ours, theirs, base)]
        self._prefer = prefer
        self._later = prefer or _later(_last_time(ours), _last_time(theirs))
        self._same: set[Key] = set()
        """The keys of the entries that are equal on both sides."""
        self._differences: list[Difference] = []

    def result(self) -> Merged:
        header = self._header()
        ours, theirs = keyed(self._ours.entries), keyed(self._theirs.entries)
        base = keyed(self._base.entries) if self._base is not None else {}
        forms = {key: self._entry(key, ours.get(key), theirs.get(key), base.get(key)) for key in {**ours, **theirs}}
        kept = {key: entry for key, entry in forms.items() if entry is not None}
        times = {key: _time(entry) for key, entry in kept.items()}
        ours, theirs = ({key: entry for key, entry in one.items() if key in kept} for one in (ours, theirs))
        order = merged_order(list(ours), list(theirs), base, times, self._later or "ours")
        entries = [kept[key] for key in order]
        state = {name: self._state(name, ours, theirs, entries) for name in _STATE_MAPPINGS}
        if changed := {name: value for name, value in state.items() if value is not None}:
            created_at = max(map(_time, entries), default="") or header["created_at"]
            entries.append({"type": "update", "created_at": created_at, **changed})
        return Merged(header, entries, tuple(self._differences))

    def _entry(self, key: Key, ours: Entry | None, theirs: Entry | None, base: Entry | None) -> Entry | None:
        """Return the merged form of an entry, or None if it is removed."""
        if ours is not None and theirs is not None:
            return self._form(key, ours, theirs, base)
        # For each version: when the id was last removed ("" for never), and whether it has the entry. The later counts.
        removed = [one.last(key[1]) if key[0] in _IDS else "" for one in self._removals]
        here, there = (removed[0], ours is not None), (removed[1], theirs is not None)
        before = (removed[2], base is not None)
        known = max(here, there)
        if self._base is not None:
            known = here if there == before else there if here == before else known
        entry = theirs if ours is None else ours
        if known[1]:
            return entry
        if base is None or json_equal(entry, base):
            return None
        is_on_purpose = known[0] > before[0]
        self._differ(_name(key), ours, theirs, "ours" if (ours is None) == is_on_purpose else "theirs", key)
        return None if is_on_purpose else entry

    def _form(self, key: Key, ours: Entry, theirs: Entry, base: Entry | None) -> Entry:
        """Return the merged form of an entry that both sides have."""
        if ours is theirs or json_equal(ours, theirs):
            self._same.add(key)
            return ours
        if key[0] != "run":
            taken, is_different = choose(ours, theirs, base, self._base is not None, self._later)
        else:
            taken, is_different = self._run_form(ours, theirs, base)
        if is_different:
            self._differ(_name(key), ours, theirs, taken, key)
        entry = ours if taken == "ours" else theirs
        if key[0] != "run":
            return entry
        rating = self._value(f"rating of run {key[1]}", *map(_rating, (ours, theirs, base))) or {}
        if json_equal(_rating(entry) or {}, rating):
            return entry
        return with_rating(entry, rating.get("rating"), rating.get("rating_note"))

    def _run_form(self, ours: Entry, theirs: Entry, base: Entry | None) -> tuple[Side, bool]:
        """Return the side whose form of a run counts, ratings aside, and whether the other form is lost."""
        ours, theirs = _without_rating(ours), _without_rating(theirs)
        before = None if base is None else _without_rating(base)
        taken, is_different = choose(ours, theirs, before, base is not None, self._later)
        if not is_different:
            return taken, False
        forward, backward = compare_forms(ours, theirs), compare_forms(theirs, ours)
        if forward == backward == "stored":
            return taken, False  # the forms differ in `created_at` and `metrics` alone
        if forward == "stored" or (forward, backward) == ("other", "newer"):
            return "ours", not _is_contained(theirs, ours, before)
        if backward == "stored" or (forward, backward) == ("newer", "other"):
            return "theirs", not _is_contained(ours, theirs, before)
        if self._prefer is not None:
            return taken, True
        is_open = [form["status"] == "unfinished" for form in (ours, theirs)]
        return (taken if is_open[0] == is_open[1] else "theirs" if is_open[0] else "ours"), True

    def _header(self) -> dict[str, Any]:
        ours, theirs = self._ours.header, self._theirs.header
        base = self._base.header if self._base is not None else {}
        result = dict(ours)
        for name in {**ours, **theirs}:
            here, there, before = ours.get(name), theirs.get(name), base.get(name)
            if name in ("schema_version", "session_id") or json_equal(here, there):
                continue
            value: Any
            if name == REMOVED:
                value = self._removed()
            elif name == "created_at":
                taken, is_different = choose(here, there, before, self._base is not None, None)
                earlier = min(ours[name], theirs[name], key=utc_time)
                value = earlier if is_different else here if taken == "ours" else there
            elif name == "metadata" and isinstance(here, dict) and isinstance(there, dict):
                base_value = None if self._base is None else before if isinstance(before, dict) else {}
                value = self._mapping(name, here, there, base_value, self._later)
            else:
                value = self._value(name, here, there, before)
            if value is None:
                result.pop(name, None)
            else:
                result[name] = value
        return result if list(result) == list(ours) else order_header(result)

    def _removed(self) -> dict[str, Any] | None:
        """Return the ids of the entries that either side removed, with the times of the removals as they are stored."""
        result: dict[str, tuple[str, Any]] = {}
        for key in {**self._removals[0].times, **self._removals[1].times}:
            ours, theirs, before = (one.times.get(key) for one in self._removals)
            if self._base is None or before not in (ours, theirs):
                taken = "theirs" if (theirs or "") > (ours or "") or ours is None else "ours"
            else:
                taken = "theirs" if ours == before else "ours"
            side = self._ours if taken == "ours" else self._theirs
            time = ours if taken == "ours" else theirs
            if time is not None:
                result[key] = time, side.header[REMOVED][key]
        return {
            key: stored for key, (_, stored) in sorted(result.items(), key=lambda pair: (pair[1][0], pair[0]))
        } or None

    def _state(self, name: str, ours: dict[Key, Entry], theirs: dict[Key, Entry], merged: list[Entry]) -> Any:
        """Return the merged state if it is not that of the merged history, and None if it is.

        `ours` and `theirs` are the entries of both sides that were not removed.
        """
        if self._base is not None:
            here, there, before = (_newest(name, one.entries) for one in (self._ours, self._theirs, self._base))
        else:  # both sides come from the newest state that they have in common
            common = [entry for key, entry in ours.items() if key in self._same]
            here, there, before = (_newest(name, one) for one in (ours.values(), theirs.values(), common))
        state = self._mapping(
            name, here.value, there.value, before.value, self._prefer or _later(here.time, there.time)
        )
        return None if json_equal(state, _newest(name, merged).value) else state

    def _mapping(
        self,
        what: str,
        ours: Mapping[str, Any],
        theirs: Mapping[str, Any],
        base: Mapping[str, Any] | None,
        later: Side | None,
    ) -> dict[str, Any]:
        """Return two mappings merged key by key."""
        result, conflicts = merge_mappings(ours, theirs, base, later)
        for key, taken in conflicts.items():
            self._differ(f"{what}.{key}", ours.get(key), theirs.get(key), taken)
        return result

    def _value(self, what: str, ours: Any, theirs: Any, base: Any) -> Any:
        """Return the merged form of a value; None stands for an absent one."""
        taken, is_different = choose(ours, theirs, base, self._base is not None, self._later)
        if is_different:
            self._differ(what, ours, theirs, taken)
        return ours if taken == "ours" else theirs

    def _differ(self, what: str, ours: Any, theirs: Any, taken: Side, key: Key | None = None) -> None:
        run_id = key[1] if key is not None and key[0] in _IDS else None
        self._differences.append(Difference(what, ours, theirs, taken, run_id))


def merge_mappings(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], base: Mapping[str, Any] | None, later: Side | None
) -> tuple[dict[str, Any], dict[str, Side]]:
    """Return two mappings merged key by key, and the keys that both changed, each with the side whose value counts.

    `base` is the mapping that both come from; without one, the result has the keys of both. `later` is the side that
    counts where both changed a key, also if it removed the key; if it is None, the value decides.
    """
    result: dict[str, Any] = {}
    conflicts: dict[str, Side] = {}
    absent: list[Any] | None = None if base is None else []  # without a base, a key that is missing was not removed
    for key in {**theirs, **ours} if later == "theirs" else {**ours, **theirs}:
        here, there, before = ([one[key]] if key in one else absent for one in (ours, theirs, base or {}))
        taken, is_different = choose(here, there, before, base is not None, later)
        if is_different:
            conflicts[key] = taken
        if value := here if taken == "ours" else there:
            result[key] = value[0]
    return result, conflicts


def choose(ours: Any, theirs: Any, base: Any, has_base: bool, later: Side | None) -> tuple[Side, bool]:
    """Return the side whose form of a value counts, and whether the other form is lost.

    None stands for an absent value. `later` is the side with the newer history, or None if neither has.
    """
    if json_equal(ours, theirs):
        return "ours", False
    if has_base and json_equal(ours, base):
        return "theirs", False
    if has_base and json_equal(theirs, base):
        return "ours", False
    if ours is None or theirs is None:
        return "theirs" if ours is None else "ours", has_base
    return later or ("ours" if canonical(ours) >= canonical(theirs) else "theirs"), True


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest value of a session key, and the time of its entry."""

    value: dict[str, Any]
    time: str


def _is_contained(form: Entry, winner: Entry, base: Entry | None) -> bool:
    """Return whether `winner`, which continues the run `form`, has everything that is in `form`.

    Without a base, return True. With a base that `form` does not continue, return False: somebody edited the run.
    """
    if base is None:
        return True
    fields = (form.keys() | base.keys()) - {*RUN_LISTS, "created_at", "metrics", "status"}
    return compare_forms(base, form) == "newer" and all(
        json_equal(form.get(key), base.get(key)) or json_equal(form.get(key), winner.get(key)) for key in fields
    )


def _newest(name: str, entries: Iterable[Entry]) -> _Newest:
    for entry in reversed(list(entries)):
        if entry.get(name) is not None:
            return _Newest(entry[name], _time(entry))
    return _Newest({}, "")


def _name(key: Key) -> str:
    return f"{key[0]} {key[1]}" if key[0] in _IDS else f"{key[0]} entry"


def _rating(entry: Entry | None) -> dict[str, Any] | None:
    rating = {key: entry[key] for key in RATING_KEYS if entry is not None and entry.get(key) is not None}
    return rating or None


def _without_rating(run: Entry) -> Entry:
    return {"status": "completed", **{key: value for key, value in run.items() if key not in RATING_KEYS}}


def _later(ours: str, theirs: str) -> Side | None:
    return None if ours == theirs else "ours" if ours > theirs else "theirs"


def _last_time(version: Version) -> str:
    return max((*map(_time, version.entries), *Removals(version.header).times.values()), default="")


def _time(entry: Entry) -> str:
    """Return the creation time of an entry in a form that sorts as text, or "" if it has none."""
    created_at = entry.get("created_at")
    return utc_time(created_at) if isinstance(created_at, str) else ""
