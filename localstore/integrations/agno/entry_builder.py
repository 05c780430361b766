"""The entries that a write adds to a session of agno, and the runs that a reader gets back."""

from dataclasses import dataclass
from typing import Any

from localstore.engine.transaction import Transaction
from localstore.errors import UnstorableValue
from localstore.format.document import newest_state
from localstore.format.values import json_equal, to_json_value
from localstore.format.versions import Document
from localstore.format.versions.agno_runs import ordered
from localstore.integrations.agno.runs import (
    NOTE,
    Runs,
    form,
    form_of,
    note_of,
    own_messages,
    put_before,
    repeated,
    sources,
    told_by,
)
from localstore.integrations.agno.session_cache import Handed, Known, bare_runs, hand, runs_of
from localstore.integrations.agno.session_fields import KEPT, LEFT, Parts, given_of
from localstore.integrations.agno.tool_calls import with_forgotten
from localstore.models.times import now


@dataclass
class Given:
    """A run as agno gives it: its id, its form and the run itself, not yet looked at."""

    run_id: str
    said: int | None
    raw: Document


def fresh_runs(known: Known, runs: list[Document], session_id: str) -> list[Given]:
    """The runs that were neither given by agno nor to it before, as plain values. Raises UnstorableValue."""
    fresh: dict[str, Given] = {}
    for index, run in enumerate(runs):
        if "response" in run and "run_id" not in run:
            raise UnstorableValue(f"runs[{index}] {LEFT}", where=f"runs[{index}]")
        run_id = run.get("run_id") or f"{session_id}:{index}"
        if not known.has_seen(run_id, run):
            fresh[run_id] = Given(run_id, form_of(run), {**to_json_value(run, f"runs[{index}]"), "run_id": run_id})
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
        if leader is not None and json_equal(leader[1], run.raw):
            beside.setdefault(leader[0], []).append(run)
        else:
            alone.append(run)
    return alone, beside


class Builder:
    """Makes the entries of one write, and remembers what was written when it is done."""

    def __init__(self, known: Known, header: Document, transaction: Transaction | None) -> None:
        self._known = known
        self._header = header
        self._draft = transaction
        self._runs = Runs(header)
        self._instructions = known.instructions
        self._told = list(known.told)
        self._forms: list[tuple[str, int | None]] = []
        self._new_state: Document = {}
        self._new_interactions: list[Any] = []
        self._own: dict[str, list[Document]] = {}
        self._handed: list[Handed] = []
        self._replaces = False
        self._beside: set[str] = set()
        self._updated_at: str | None = None

    def entries(self, added: list[Given], changes: Document, interactions: list[Any]) -> list[Document]:
        """The entries for new runs, the last one with the state that changed; an update, when there is no run."""
        entries: list[Document] = []
        alone, beside = _apart(added)
        for given in alone:
            entry = self._entry(given, beside.get(given.run_id, []))
            entries.append(entry)
        new = [told for told in interactions if form(told) not in self._known.interactions]
        if changes or new:
            if not entries:
                entries.append({"type": "update", "created_at": now()})
            last = {**entries[-1], **changes}
            if new:
                last[NOTE] = {**last.get(NOTE, {}), "interactions": new}
            entries[-1] = ordered(last)
        self._new_state, self._new_interactions = changes, new
        self._updated_at = entries[-1]["created_at"] if entries else None
        return entries

    def _entry(self, given: Given, beside: list[Given]) -> Document:
        entry = self._runs.entry(given.raw, given.run_id, self._instructions, self._sources)
        self._instructions = entry.get("instructions", self._instructions)
        if beside:
            self._beside |= {run.run_id for run in beside}
            entry = ordered({**entry, NOTE: {**entry.get(NOTE, {}), "beside": [run.run_id for run in beside]}})
        back = self._runs.bare(entry, self._instructions)
        self._handed.append(hand(back, entry))
        self._own[entry["run_id"]] = own_messages(back)
        self._told.append(told_by(back))
        self._forms += [(run.run_id, run.said) for run in (given, *beside)]
        if "history" in entry.get(NOTE, ()):
            put_before(back, repeated(given.raw)[1])
        self._forms.append((given.run_id, form_of(back)))
        return entry

    def _sources(self, copies: list[Document]) -> list[str] | None:
        found = sources(copies, reversed(self._told))
        if found is None and not self._known.is_all_told and self._draft is not None:
            parsed = self._draft.whole()
            runs = bare_runs(parsed.header, parsed.entries)
            self._known.load(parsed.header, parsed.entries, runs, self._draft.row["fingerprint"])
            new = self._told[len(self._told) - len(self._own) :] if self._own else []
            self._told = [*self._known.told, *new]
            found = sources(copies, reversed(self._told))
        return found

    def pass_over(self, given: Given) -> None:
        """A run that is in the entry of the team that it is beside: it changes there."""
        self._forms.append((given.run_id, given.said))

    def replacement(self, given: Given) -> dict[int, Document | None]:
        """What a run that is in the document becomes, by the offset of its entry."""
        assert self._draft is not None  # noqa: S101 (for the type checker)
        parsed = self._draft.whole()
        self._forms.append((given.run_id, given.said))
        index = [entry.get("run_id") if entry["type"] == "run" else None for entry in parsed.entries].index(
            given.run_id
        )
        start, old = parsed.starts[index], parsed.entries[index]
        instructions = newest_state(parsed.entries[:index]).get("instructions")

        def find(copies: list[Document]) -> list[str] | None:
            before = reversed(runs_of(parsed.entries[:index]))
            return sources(copies, (told_by(self._runs.bare(*run)) for run in before))

        new = self._runs.entry(given.raw, given.run_id, instructions, find)
        kept = {key: old[key] for key in (*KEPT, "run_id") if key in old and key not in new}
        note = {key: value for key, value in note_of(old).items() if key in ("beside", "interactions")}
        if note:
            new[NOTE] = {**new.get(NOTE, {}), **note}
        new = ordered({**with_forgotten(new, old), **kept})
        is_older = new["status"] == "unfinished" and old.get("status") != "unfinished"
        if is_older or json_equal(new, old):
            return {}
        self._replaces = True
        return {start: new}

    def done(self, fingerprint: list[int], parts: Parts) -> None:
        """It is written: nothing of this is written again."""
        known = self._known
        for run_id, said in self._forms:
            known.see(run_id, said)
        if (handed := known.handed) is not None:
            known.handed = None if self._replaces else [*handed, *self._handed]
        for told in self._told[len(self._told) - len(self._own) :] if self._own else ():
            known.tell(told)
        known.beside |= self._beside
        known.instructions = self._instructions
        known.current = {**known.current, **self._new_state}
        known.interactions |= {said: told for told in self._new_interactions if (said := form(told))}
        known.updated_at = self._updated_at or known.updated_at
        known.fingerprint = fingerprint
        known.given = {**given_of(self._header, known.current), **parts.state}
