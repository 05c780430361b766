"""Sessions of agno 1.x in a store, as plain mappings: each write appends what is new of them."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import orjson

from localstore.errors import KindMismatch, UnstorableValue
from localstore.files.document import in_order, newest_state
from localstore.files.draft import Draft
from localstore.files.rows import Row
from localstore.files.store import Snapshot
from localstore.files.values import plain, same
from localstore.integrations.agno_known import MEMORY, Known, interactions_of, load_newest, state_of
from localstore.integrations.agno_runs import NOTE, Runs, digest, own_messages, repeated, sources, told_by
from localstore.schema import STATEFUL
from localstore.sessions import now
from localstore.storage import Storage
from localstore.versions import CannotUpgrade, Document
from localstore.versions.agno import FIRST_WORKFLOWS, MODE, session_down, session_up, take_summary
from localstore.versions.agno_runs import ordered
from localstore.versions.values import is_empty, seconds_of

_REMEMBERED_SESSIONS = 64
_LAST_RUNS = 64
_CONTEXT = "team_context"
_KEPT = (*STATEFUL, MEMORY)
_CLEARED = ("session_state", "session_data")
"""What agno takes away by leaving it out."""
_FIXED = ("schema_version", "session_id", "kind", "user_id", "created_at")


@dataclass
class Given:
    """A run as agno gives it: its id, its form and the run itself, not yet looked at."""

    run_id: str
    form: bytes | None
    raw: Document


@dataclass
class Parts:
    """A session as agno gives it, without its runs, in plain values."""

    header: Document
    state: Document
    interactions: list[Any] = field(default_factory=list)


class Sessions:
    """The sessions of one mode of agno in a store. Safe for many threads and processes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._store = storage._store
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._storage,)

    def _of(self, session_id: str) -> Known:
        with self._lock:
            known = self._known.setdefault(session_id, Known())
            self._known.move_to_end(session_id)
            if len(self._known) > _REMEMBERED_SESSIONS:
                self._known.popitem(last=False)
            return known

    # Writing

    def write(self, raw: Document, runs: list[Document], kind: str, *, is_first: bool) -> int:
        """Store what is new of a session: `raw` is the session without its `runs`. When it was created, in seconds.

        Raises what Storage.append raises.
        """
        session_id = raw["session_id"]
        known = self._of(session_id)
        fresh = _fresh(known, runs, session_id)
        parts = _parts(raw, kind, is_first=is_first)

        def work(draft: Draft | None) -> str:
            with known.lock:
                if draft is None:
                    return self._create(known, parts, fresh)
                self._check(draft, raw.get("user_id"), kind, is_first=is_first)
                if known.fingerprint != draft.row["fingerprint"]:
                    load_newest(known, draft.whole(), draft.row["fingerprint"])
                self._add(known, draft, parts, fresh)
                return draft.row["created_at"]

        return int(seconds_of(self._store.change(session_id, work)) or 0)

    def _create(self, known: Known, parts: Parts, fresh: list[Given]) -> str:
        known.forget_document()
        header = parts.header
        changes = {key: value for key, value in parts.state.items() if not is_empty(value)}
        builder = _Builder(known, header, None)
        entries = builder.entries(fresh, changes, parts.interactions)
        begun = [header["created_at"], *(entry["created_at"] for entry in entries if entry["type"] == "run")]
        header = in_order({**header, "created_at": min(begun)})
        row = self._store.create(header, entries, self._storage._suffix)
        builder.done(row["fingerprint"], parts)
        created_at: str = header["created_at"]
        return created_at

    def _add(self, known: Known, draft: Draft, parts: Parts, fresh: list[Given]) -> None:
        before = draft.header()
        header = _changed_header(known, before, parts.header)
        changes = _changed_state(known, parts.state)
        builder = _Builder(known, header, draft)
        replaced: dict[int, Document | None] = {}
        added = []
        for given in fresh:
            if given.run_id in known.run_ids:
                replaced |= builder.replacement(given)
            else:
                added.append(given)
        entries = builder.entries(added, changes, parts.interactions)
        if replaced or not same(header, before):
            draft.change(in_order(header), replaced, entries)
        else:
            for entry in entries:
                draft.append([entry])
        builder.done(draft.row["fingerprint"], parts)

    def _check(self, draft: Draft, user_id: str | None, kind: str, *, is_first: bool) -> None:
        self._storage._check_access(draft.row, user_id, kind)
        if kind == "workflow":
            _check_mode(draft.header(), is_first=is_first)

    # Reading

    def read(self, session_id: str, user_id: str | None, kind: str, *, is_first: bool) -> Document | None:
        """The session in agno's form; None when there is none, or (with `user_id`) it is somebody else's.

        Raises KindMismatch, DocumentBroken, NewerFormat, OlderFormat, OSError.
        """
        storage = self._storage

        def wanted(row: Row) -> bool:
            if user_id is not None and row.get("user_id") != user_id:
                return False
            storage._check_access(row, None, kind)
            return True

        known = self._of(session_id)
        fingerprint = known.fingerprint
        snapshot = self._store.look(session_id, wanted, None)
        if snapshot is None:
            return None
        if kind == "workflow":
            _check_mode(snapshot.header, is_first=is_first)
        runs = _Unfolded(snapshot).runs
        with known.lock:
            if known.fingerprint == fingerprint:
                self._see(known, snapshot, runs)
        return _session(snapshot, runs)

    def _see(self, known: Known, snapshot: Snapshot, runs: list[Document]) -> None:
        if known.fingerprint == snapshot.fingerprint:
            known.given = _given(snapshot.header, known.current)
            return
        for run in runs:
            known.see(run["run_id"], digest(run))
        known.load(snapshot.header, snapshot.entries, snapshot.fingerprint, _LAST_RUNS)
        known.given = _given(snapshot.header, known.current)

    def ids(self, user_id: str | None, entity_id: str | None, kind: str, *, is_first: bool) -> Iterator[str]:
        """The ids of the sessions that fit, the newest first by the time at which they were created."""
        infos = self._storage.list_sessions(user_id, entity_id, kind)
        for info in sorted(infos, key=lambda info: info.created_at, reverse=True):
            if kind != "workflow" or self._is_of_mode(info.session_id, is_first):
                yield info.session_id

    def _is_of_mode(self, session_id: str, is_first: bool) -> bool:
        snapshot = self._store.look(session_id, lambda _: True, 0)
        return snapshot is not None and (snapshot.header.get(MODE) == FIRST_WORKFLOWS) is is_first


class _Builder:
    """Makes the entries of one write, and remembers what was written when it is done."""

    def __init__(self, known: Known, header: Document, draft: Draft | None) -> None:
        self._known = known
        self._header = header
        self._draft = draft
        self._runs = Runs(header)
        self._instructions = known.instructions
        self._told = list(known.told)
        self._forms: list[tuple[str, bytes | None]] = []
        self._new_state: Document = {}
        self._new_interactions: list[Any] = []
        self._own: dict[str, list[Document]] = {}

    def entries(self, added: list[Given], changes: Document, interactions: list[Any]) -> list[Document]:
        """The entries for new runs, the last one with the state that changed; an update, when there is no run."""
        entries: list[Document] = []
        alone, beside = _apart(added)
        for given in alone:
            entry = self._entry(given, beside.get(given.run_id, []))
            entries.append(entry)
        new = [told for told in interactions if digest(told) not in self._known.interactions]
        if changes or new:
            if not entries:
                entries.append({"type": "update", "created_at": now()})
            last = {**entries[-1], **changes}
            if new:
                last[NOTE] = {**last.get(NOTE, {}), "interactions": new}
            entries[-1] = ordered(last)
        self._new_state, self._new_interactions = changes, new
        return entries

    def _entry(self, given: Given, beside: list[Given]) -> Document:
        entry = self._runs.entry(given.raw, given.run_id, self._instructions, self._sources)
        self._instructions = entry.get("instructions", self._instructions)
        if beside:
            entry = ordered({**entry, NOTE: {**entry.get(NOTE, {}), "beside": [run.run_id for run in beside]}})
        back = self._runs.raw(entry, self._instructions, {})
        self._own[entry["run_id"]] = own_messages(back)
        self._told.append(told_by(back))
        self._forms += [(run.run_id, run.form) for run in (given, *beside)]
        if "history" in entry.get(NOTE, ()):
            start, copies = repeated(given.raw)
            back["messages"] = [*back["messages"][:start], *copies, *back["messages"][start:]]
        self._forms.append((given.run_id, digest(back)))
        return entry

    def _sources(self, copies: list[Document]) -> list[str] | None:
        found = sources(copies, reversed(self._told))
        if found is None and not self._known.is_all_told and self._draft is not None:
            parsed = self._draft.whole()
            self._known.load(parsed.header, parsed.entries, self._draft.row["fingerprint"])
            new = self._told[len(self._told) - len(self._own) :] if self._own else []
            self._told = [*self._known.told, *new]
            found = sources(copies, reversed(self._told))
        return found

    def replacement(self, given: Given) -> dict[int, Document | None]:
        """What a run that is in the document becomes, by the offset of its entry."""
        assert self._draft is not None  # noqa: S101 (for the type checker)
        parsed = self._draft.whole()
        self._forms.append((given.run_id, given.form))
        index = [entry.get("run_id") if entry["type"] == "run" else None for entry in parsed.entries].index(
            given.run_id
        )
        start, old = parsed.starts[index], parsed.entries[index]
        instructions = newest_state(parsed.entries[:index]).get("instructions")

        def find(copies: list[Document]) -> list[str] | None:
            told = (entry for entry in reversed(parsed.entries[:index]) if entry["type"] == "run")
            before = (told_by(self._runs.raw(entry, None, {})) for entry in told)
            return sources(copies, before)

        new = self._runs.entry(given.raw, given.run_id, instructions, find)
        kept = {key: old[key] for key in (*_KEPT, "run_id") if key in old and key not in new}
        note = {key: value for key, value in _note(old).items() if key in ("beside", "interactions")}
        if note:
            new[NOTE] = {**new.get(NOTE, {}), **note}
        new = ordered({**new, **kept})
        is_older = new["status"] == "unfinished" and old.get("status") != "unfinished"
        return {} if is_older or same(new, old) else {start: new}

    def done(self, fingerprint: list[int], parts: Parts) -> None:
        """It is written: nothing of this is written again."""
        known = self._known
        for run_id, form in self._forms:
            known.see(run_id, form)
        for told in self._told[len(self._told) - len(self._own) :] if self._own else ():
            known.tell(told)
        known.instructions = self._instructions
        known.current = {**known.current, **self._new_state}
        known.interactions |= {form for told in self._new_interactions if (form := digest(told))}
        known.fingerprint = fingerprint
        known.given = {**_given(self._header, known.current), **parts.state}


class _Unfolded:
    """All runs of a document in agno's form."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.runs: list[Document] = []
        made = Runs(snapshot.header)
        own: dict[str, list[Document]] = {}
        instructions = None
        for entry in snapshot.entries:
            instructions = entry.get("instructions", instructions)
            if entry["type"] != "run":
                continue
            run = made.raw(entry, instructions, own)
            own[run["run_id"]] = own_messages(run)
            beside = _note(entry).get("beside")
            if beside:
                members = [member for member in run.get("member_responses", ()) if member.get("run_id") in beside]
                self.runs += orjson.loads(orjson.dumps(members))
            self.runs.append(run)


def _note(entry: Document) -> Document:
    note = entry.get(NOTE)
    return note if isinstance(note, dict) else {}


def _fresh(known: Known, runs: list[Document], session_id: str) -> list[Given]:
    """The runs that were neither given by agno nor to it before, as plain values. Raises UnstorableValue."""
    fresh: dict[str, Given] = {}
    for index, run in enumerate(runs):
        run_id = run.get("run_id") or f"{session_id}:{index}"
        form = digest(run)
        if not known.has_seen(run_id, form):
            fresh[run_id] = Given(run_id, form, {**plain(run, f"runs[{index}]"), "run_id": run_id})
    return list(fresh.values())


def _apart(runs: list[Given]) -> tuple[list[Given], dict[str, list[Given]]]:
    """The runs that are none of another one's members, and the others by the id of the run that they are beside."""
    member_of: dict[str, tuple[str, Document]] = {}
    for run in runs:
        for member in run.raw.get("member_responses") or ():
            if isinstance(member, dict) and member.get("run_id"):
                member_of[member["run_id"]] = run.run_id, member
    alone: list[Given] = []
    beside: dict[str, list[Given]] = {}
    for run in runs:
        leader = member_of.get(run.run_id)
        if leader is not None and same(leader[1], run.raw):
            beside.setdefault(leader[0], []).append(run)
        else:
            alone.append(run)
    return alone, beside


def _parts(raw: Document, kind: str, *, is_first: bool) -> Parts:
    """Raises UnstorableValue."""
    told: Document = {key: plain(value, key) for key, value in raw.items()}
    memory = dict(told.pop(MEMORY, None) or {})
    data = told.get(f"{kind}_data")
    if isinstance(data, dict) and f"{kind}_id" in data:
        told[f"{kind}_data"] = {key: value for key, value in data.items() if key != f"{kind}_id"}
    if "create_user_memories" in memory:
        raise UnstorableValue(
            "memory is an AgentMemory or a TeamMemory, the form that agno left. Nothing was written. "
            "Use agno.memory.v2.Memory.",
            where="memory",
        )
    interactions: list[Any] = []
    try:
        summary = take_summary(memory, raw["session_id"], raw.get("user_id"))
        contexts = memory.pop(_CONTEXT, None) or {}
        context = contexts.get(raw["session_id"]) if isinstance(contexts, dict) else None
        if isinstance(context, dict):
            interactions = [_by_id(told) for told in context.get("member_interactions") or ()]
            if context.get("text") is not None:
                memory[_CONTEXT] = {raw["session_id"]: {"member_interactions": [], "text": context["text"]}}
        header, state = session_up(told, kind, [now()], is_first=is_first)
    except CannotUpgrade as error:
        raise UnstorableValue(f"A session of agno cannot be stored: {error}. Nothing was written.") from None
    if not is_empty(summary):
        state["session_summary"] = summary
    if memory := {key: value for key, value in memory.items() if not is_empty(value)}:
        state[MEMORY] = memory
    return Parts(header, {key: state[key] for key in _KEPT if key in state}, interactions)


def _by_id(interaction: Any) -> Any:
    """What a member was told, and the id of its run in the place of the run."""
    response = interaction.get("response") if isinstance(interaction, dict) else None
    run_id = response.get("run_id") if isinstance(response, dict) else None
    return {**interaction, "response": {"run_id": run_id}} if run_id else interaction


def _changed_header(known: Known, stored: Document, told: Document) -> Document:
    """What agno changed since it gave or was given it; it takes nothing away.

    The session stays with the agent, team or workflow that began it: agno makes up an id in every process for those that
    were given none.
    """
    entity = f"{stored['kind']}_id"
    fixed = _FIXED if stored.get(entity) is None else (*_FIXED, entity)
    changed = {
        key: value
        for key, value in told.items()
        if key not in _FIXED
        and key != belongs
        and not same(value, known.given.get(key))
        and not same(value, stored.get(key))
    }
    return {**stored, **changed}


def _changed_state(known: Known, told: Document) -> Document:
    wanted = dict(told)
    for key in _CLEARED:
        if not wanted.get(key) and known.given.get(key):
            wanted[key] = {}
    return {
        key: value
        for key, value in wanted.items()
        if not same(value, known.given.get(key)) and not same(value, known.current.get(key))
    }


def _given(header: Document, current: Document) -> Document:
    return {**{key: value for key, value in header.items() if key not in _FIXED}, **current}


def _session(snapshot: Snapshot, runs: list[Document]) -> Document:
    header, entries = snapshot.header, snapshot.entries
    current = state_of(header, entries)
    memory = dict(current.get(MEMORY) or {})
    interactions = list(interactions_of(entries))
    if interactions:
        contexts = dict(memory.get(_CONTEXT) or {})
        context = contexts.get(header["session_id"]) or {"text": None}
        told = [*(context.get("member_interactions") or ()), *interactions]
        memory[_CONTEXT] = {**contexts, header["session_id"]: {**context, "member_interactions": told}}
    times = [header["created_at"], *(entry.get("created_at") for entry in entries[-1:])]
    raw = session_down({**header, MEMORY: memory}, current, runs, times)
    kind = header["kind"]
    if kind != "workflow" and raw.get(f"{kind}_data") and header.get(f"{kind}_id"):
        raw[f"{kind}_data"] = {f"{kind}_id": header[f"{kind}_id"], **raw[f"{kind}_data"]}
    return raw


def _check_mode(header: Document, *, is_first: bool) -> None:
    if (header.get(MODE) == FIRST_WORKFLOWS) is not is_first:
        raise KindMismatch(
            f"Session {header['session_id']!r} is one of agno's {'later' if is_first else 'first'} workflows. Nothing "
            "was written. Use another session_id.",
            session_id=header["session_id"],
        )
