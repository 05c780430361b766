"""What is known of a session between two writes: what agno has seen of it, and what its document says."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

import orjson

from localstore.format.document import newest_state
from localstore.format.values import to_json_value
from localstore.format.versions import Document
from localstore.integrations.agno.runs import (
    Runs,
    Told,
    copied,
    form,
    form_of,
    note_of,
    own_messages,
    put_before,
    told_by,
)

MEMORY = "memory"
"""The key of an entry that holds what agno remembers beside the runs, from there on for the session."""
_CALL = b'"tool_name":'
"""In the bytes of a run that has tool calls."""
_AROUND = ("history", "beside")
REMEMBERED_RUNS = 64
"""So many of the last runs are recognised in the history of a new one without a look at the whole document."""


class Handed(NamedTuple):
    """A run as it is given to agno, without the copies of earlier messages; and what stands in the entry of those, and
    of the runs beside it."""

    run_id: str
    data: bytes
    """JSON with sorted keys."""
    note: Document


@dataclass
class Known:
    """One session. Changes happen under `lock`; a writer holds the lock of the session before."""

    lock: Lock = field(default_factory=Lock)
    seen: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """By run id, the forms that agno gave or was given: they are not stored again, not even when they were deleted."""
    last_data: dict[str, bytes] = field(default_factory=dict)
    """By run id, one of these as agno gave it last: to compare bytes is quicker than to know a form."""
    given: Document = field(default_factory=dict)
    """State and header keys as agno gave them, or was given them, last: what it does not change, it does not write."""
    fingerprint: list[int] = field(default_factory=list)
    """The document's, when the rest was true of it."""
    run_ids: set[str] = field(default_factory=set)
    beside: set[str] = field(default_factory=set)
    """The ids of member runs that are runs of the session as well."""
    told: list[Told] = field(default_factory=list)
    """What the last runs told, oldest first."""
    is_all_told: bool = True
    instructions: str | None = None
    current: Document = field(default_factory=dict)
    interactions: dict[int, Any] = field(default_factory=dict)
    """What the members of a team were told, by form, in order."""
    updated_at: str | None = None
    handed: "list[Handed] | None" = None
    """The runs in agno's form, when the fingerprint is the document's."""
    unseen: "list[Handed]" = field(default_factory=list)
    """What agno was given since its last write: many read, and never write."""

    def has_seen(self, run_id: str, run: Any) -> bool:
        """Whether agno gave the run, or was given it, as it is."""
        if run_id not in self.seen:
            return False
        try:
            data = orjson.dumps(run, default=to_json_value)
        except (TypeError, ValueError):
            return False
        if self.last_data.get(run_id) == data:
            return True
        if form_of(run) not in self.seen[run_id]:
            return False
        self.last_data[run_id] = data
        return True

    def settle(self) -> None:
        """Before anything is asked of what agno has seen: it has seen what it was given."""
        unseen, self.unseen = self.unseen, []
        for run_id, said in _forms(unseen):
            self.see(run_id, said)

    def see(self, run_id: str, said: int | None) -> None:
        before = self.seen.get(run_id, ())
        if said is not None and said not in before:
            self.seen[run_id] = (*before, said)

    def forget_document(self) -> None:
        """There is no document, or another one. What agno has seen stays known."""
        self.fingerprint, self.run_ids, self.told, self.is_all_told = [], set(), [], True
        self.beside = set()
        self.instructions, self.current, self.interactions, self.handed = None, {}, {}, None

    def load(self, header: Document, entries: list[Document], newest: list[Document], fingerprint: list[int]) -> None:
        """Take in a whole document; `newest` are its last runs in agno's form."""
        self.forget_document()
        runs = [entry for entry in entries if entry["type"] == "run"]
        self.run_ids = {entry["run_id"] for entry in runs}
        self.beside = {run_id for entry in runs for run_id in note_of(entry).get("beside", ())}
        self.told = [told_by(run) for run in newest]
        self.is_all_told = len(newest) == len(runs)
        self.current = state_of(header, entries)
        self.instructions = self.current.get("instructions")
        self.interactions = {said: told for told in interactions_of(entries) if (said := form(told))}
        self.updated_at = entries[-1].get("created_at") if entries else header["created_at"]
        self.fingerprint = fingerprint

    def tell(self, told: Told) -> None:
        self.run_ids.add(told.run_id)
        self.told.append(told)
        if len(self.told) > 2 * REMEMBERED_RUNS:
            del self.told[:REMEMBERED_RUNS]
            self.is_all_told = False


def state_of(header: Document, entries: list[Document]) -> Document:
    """The newest state, what agno remembers beside the runs among it."""
    current = newest_state(entries)
    memory = next((entry[MEMORY] for entry in reversed(entries) if entry.get(MEMORY) is not None), header.get(MEMORY))
    return current if memory is None else {**current, MEMORY: memory}


def interactions_of(entries: list[Document]) -> Iterator[Any]:
    """What the members of a team were told, in order."""
    for entry in entries:
        told = note_of(entry).get("interactions")
        if isinstance(told, list):
            yield from told


def runs_of(entries: list[Document]) -> list[tuple[Document, str | None]]:
    """The runs, each with the instructions that hold with it: they tell whether it has a system message, and what is
    noted beside messages goes by their places."""
    instructions = None
    runs = []
    for entry in entries:
        instructions = entry.get("instructions", instructions)
        if entry["type"] == "run":
            runs.append((entry, instructions))
    return runs


def bare_runs(header: Document, entries: list[Document], last: int = 0) -> list[Document]:
    """The runs of a document in agno's form, without the copies of earlier messages: all, or the last so many."""
    made = Runs(header)
    return [made.bare(entry, instructions) for entry, instructions in runs_of(entries)[-last:]]


def hand(bare: Document, entry: Document) -> Handed:
    """A run that is ready to be given to agno."""
    data = orjson.dumps(bare, option=orjson.OPT_SORT_KEYS)
    return Handed(bare["run_id"], data, {key: value for key, value in note_of(entry).items() if key in _AROUND})


def unfolded(handed: list[Handed]) -> list[Document]:
    """The runs as agno has them, sharing nothing with others."""
    return whole(orjson.loads(b"[%b]" % b",".join(run.data for run in handed)), handed)


def _forms(handed: list[Handed]) -> Iterator[tuple[str, int | None]]:
    """The forms of the runs as agno has them, by their ids. Of most of them the bytes are that of the form."""
    if any(one.note for one in handed):
        yield from ((run["run_id"], form_of(run)) for run in unfolded(handed))
        return
    for one in handed:
        yield one.run_id, form_of(orjson.loads(one.data)) if _CALL in one.data else hash(one.data)


def whole(bare: list[Document], handed: list[Handed]) -> list[Document]:
    """Runs with the copies of earlier messages, and with the runs beside them; `handed` are the same."""
    runs: list[Document] = []
    own: dict[str, list[Document]] = {}
    for run, note in zip(bare, (one.note for one in handed), strict=True):
        own[run["run_id"]] = own_messages(run)
        if note:
            if copies := [copied(message) for run_id in note.get("history", ()) for message in own.get(run_id, ())]:
                put_before(run, copies)
            members = [one for one in run.get("member_responses", ()) if one.get("run_id") in note.get("beside", ())]
            runs += orjson.loads(orjson.dumps(members))
        runs.append(run)
    return runs
