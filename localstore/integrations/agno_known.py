"""What is known of a session between two writes: what agno has seen of it, and what its document says."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from localstore.files.document import newest_state
from localstore.integrations.agno_runs import NOTE, Runs, Told, digest, told_by
from localstore.versions import Document

MEMORY = "memory"
"""The key of an entry that holds what agno remembers beside the runs, from there on for the session."""
_REMEMBERED_RUNS = 64
"""So many of the last runs are recognised in the history of a new one without a look at the whole document."""


@dataclass
class Known:
    """One session. Changes happen under `lock`; a writer holds the lock of the session before."""

    lock: Lock = field(default_factory=Lock)
    seen: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """By run id, the forms that agno gave or was given: they are not stored again, not even when they were deleted."""
    given: Document = field(default_factory=dict)
    """State and header keys as agno gave them, or was given them, last: what it does not change, it does not write."""
    fingerprint: list[int] = field(default_factory=list)
    """The document's, when the rest was true of it."""
    run_ids: set[str] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    """What the last runs told, oldest first."""
    is_all_told: bool = True
    instructions: str | None = None
    current: Document = field(default_factory=dict)
    interactions: set[bytes] = field(default_factory=set)

    def has_seen(self, run_id: str, form: bytes | None) -> bool:
        return form is not None and form in self.seen.get(run_id, ())

    def see(self, run_id: str, *forms: bytes | None) -> None:
        before = self.seen.get(run_id, ())
        self.seen[run_id] = (*before, *(form for form in dict.fromkeys(forms) if form and form not in before))

    def forget_document(self) -> None:
        """There is no document, or another one. What agno has seen stays known."""
        self.fingerprint, self.run_ids, self.told, self.is_all_told = [], set(), [], True
        self.instructions, self.current, self.interactions = None, {}, set()

    def load(self, header: Document, entries: list[Document], fingerprint: list[int], last: int | None = None) -> None:
        """Take in a whole document; of the last so many runs (of all, when None) also what they told."""
        self.forget_document()
        runs = [entry for entry in entries if entry["type"] == "run"]
        self.run_ids = {entry["run_id"] for entry in runs}
        kept = runs if last is None else runs[-last:]
        made = Runs(header)
        self.told = [told_by(made.raw(entry, None, {})) for entry in kept]
        self.is_all_told = len(kept) == len(runs)
        self.current = state_of(header, entries)
        self.instructions = self.current.get("instructions")
        self.interactions = {form for told in interactions_of(entries) if (form := digest(told))}
        self.fingerprint = fingerprint

    def tell(self, told: Told) -> None:
        self.run_ids.add(told.run_id)
        self.told.append(told)
        if len(self.told) > 2 * _REMEMBERED_RUNS:
            del self.told[:_REMEMBERED_RUNS]
            self.is_all_told = False


def load_newest(known: Known, header: Document, entries: list[Document], fingerprint: list[int]) -> None:
    """Take in a whole document, and what the newest runs told."""
    known.load(header, entries, fingerprint, _REMEMBERED_RUNS)


def state_of(header: Document, entries: list[Document]) -> Document:
    """The newest state, what agno remembers beside the runs among it."""
    current = newest_state(entries)
    memory = next((entry[MEMORY] for entry in reversed(entries) if entry.get(MEMORY) is not None), header.get(MEMORY))
    return current if memory is None else {**current, MEMORY: memory}


def interactions_of(entries: list[Document]) -> Iterator[Any]:
    """What the members of a team were told, in order."""
    for entry in entries:
        note = entry.get(NOTE)
        told = note.get("interactions") if isinstance(note, dict) else None
        if isinstance(told, list):
            yield from told
