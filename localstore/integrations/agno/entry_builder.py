"""Build the entries that one write of agno 1.x adds to a session or replaces in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localstore.errors import UnstorableValue
from localstore.format.document import newest_state
from localstore.format.in_place import is_prefix_of
from localstore.format.values import json_equal, to_json_value
from localstore.format.versions import Document
from localstore.format.versions.agno import shared_fields
from localstore.format.versions.agno_runs import ordered
from localstore.integrations.agno.runs import (
    NOTE,
    RunConverter,
    RunDigest,
    copied_runs,
    digest_of,
    history_copies,
    insert_history,
    note_of,
    own_messages,
    run_hash,
    value_hash,
)
from localstore.integrations.agno.session_cache import (
    CachedSession,
    ReadyRun,
    bare_runs,
    complete_runs,
    make_ready,
    runs_of,
)
from localstore.integrations.agno.session_fields import OLD_MEMORY, STATE_KEYS, SessionFields, baseline_of
from localstore.integrations.agno.tool_calls import with_lost_fields
from localstore.models.times import now
from localstore.storage.session_edit import OpenSession


@dataclass
class PassedRun:
    """A run that agno passed to the storage."""

    run_id: str
    hash: int | None
    """Its `run_hash`."""
    raw: Document
    """The run in agno's form, in plain values."""


def unseen_runs(cached: CachedSession, runs: list[Document], session_id: str) -> list[PassedRun]:
    """Return the runs that agno has neither read nor written before in this form.

    A run without an id gets one made of the session's id and its index. Of runs with equal ids, the last one is
    returned. Does not change `runs`. Raises UnstorableValue for a run that a document cannot hold.
    """
    unseen: dict[str, PassedRun] = {}
    for index, run in enumerate(runs):
        if "response" in run and "run_id" not in run:
            raise UnstorableValue(f"runs[{index}] {OLD_MEMORY}", where=f"runs[{index}]")
        run_id = run.get("run_id") or f"{session_id}:{index}"
        if not cached.has_seen(run_id, run):
            raw = {**to_json_value(run, f"runs[{index}]"), "run_id": run_id}
            unseen[run_id] = PassedRun(run_id, run_hash(run), raw)
    return list(unseen.values())


def _split_members(runs: list[PassedRun]) -> tuple[list[PassedRun], dict[str, list[PassedRun]]]:
    """Separate the runs of the session itself from member runs that a team's run contains unchanged.

    Return the former, and the member runs grouped by the id of the team's run.
    """
    containing: dict[str, tuple[str, Document]] = {}
    for run in runs:
        for member in run.raw.get("member_responses") or ():
            if isinstance(member, dict) and member.get("run_id"):
                containing[member["run_id"]] = run.run_id, member
    own: list[PassedRun] = []
    members: dict[str, list[PassedRun]] = {}
    for run in runs:
        team_run = containing.get(run.run_id)
        if team_run is not None and json_equal(team_run[1], run.raw):
            members.setdefault(team_run[0], []).append(run)
        else:
            own.append(run)
    return own, members


def _with_note_of_session(new: Document, old: Document) -> Document:
    """Return the entry `new` with what the note of `old`, which it replaces, says of the session and not of the run."""
    note = {key: value for key, value in note_of(old).items() if key in ("beside", "interactions")}
    return {**new, NOTE: {**note_of(new), **note}} if note else new


def _first_run_that_relies_on_instructions(entries: list[Document]) -> int | None:
    """Return the index of the first run if the instructions before `entries` apply to it, else None."""
    for index, entry in enumerate(entries):
        if entry.get("instructions") is not None:
            return None
        if entry["type"] == "run":
            return index
    return None


def _continues(new: Document, old: Document) -> bool:
    """Return whether an unfinished form of a run is newer than the stored finished one.

    It is if it has more than that, or if the run has no messages: a workflow without any counts as finished as soon as
    it has content.
    """
    return is_prefix_of(old, new) and not (old.get("messages") and is_prefix_of(new, old))


class EntryBuilder:
    """Builds the entries of one write. Call `record_written` after the write to update the cached session."""

    def __init__(self, cached: CachedSession, header: Document, transaction: OpenSession | None) -> None:
        """`header` is the header to be written; `transaction` is the open document, or None for a new session."""
        self._cached = cached
        self._header = header
        self._transaction = transaction
        self._converter = RunConverter(header)
        self._instructions = cached.instructions
        self._new_digests: list[RunDigest] = []
        self._hashes: list[tuple[str, int | None]] = []
        self._new_state: Document = {}
        self._new_interactions: list[Any] = []
        self._ready_runs: list[ReadyRun] = []
        self.replaced: dict[int, Document] = {}
        """The new entries for runs of the document, by the offset of the old ones, in bytes."""
        self._member_ids: set[str] = set()
        self._updated_at: str | None = None

    def entries(self, new_runs: list[PassedRun], changes: Document, interactions: list[Any]) -> list[Document]:
        """Return the entries for new runs, with `changes` to the state in the last one.

        `interactions` are all interactions of the team; the last entry also receives those that are not stored yet.
        Without new runs, return one `update` entry, or no entry if there is nothing new.
        """
        own, members = _split_members(new_runs)
        entries = [self._entry(run, members.get(run.run_id, [])) for run in own]
        new_interactions = [item for item in interactions if value_hash(item) not in self._cached.interactions]
        if changes or new_interactions:
            if not entries:
                entries.append({"type": "update", "created_at": now()})
            last = {**entries[-1], **changes}
            if new_interactions:
                last[NOTE] = {**last.get(NOTE, {}), "interactions": new_interactions}
            entries[-1] = ordered(last)
        self._new_state, self._new_interactions = changes, new_interactions
        self._updated_at = entries[-1]["created_at"] if entries else None
        return entries

    def _entry(self, run: PassedRun, members: list[PassedRun]) -> Document:
        entry = self._converter.to_entry(run.raw, run.run_id, self._instructions, self._find_copied_runs)
        self._instructions = entry.get("instructions", self._instructions)
        if members:
            member_ids = [member.run_id for member in members]
            self._member_ids.update(member_ids)
            entry = ordered({**entry, NOTE: {**entry.get(NOTE, {}), "beside": member_ids}})
        bare = self._converter.to_run(entry, self._instructions)
        self._ready_runs.append(make_ready(bare, entry))
        self._new_digests.append(digest_of(bare))
        self._hashes += [(passed.run_id, passed.hash) for passed in (run, *members)]
        if "history" in entry.get(NOTE, ()):
            insert_history(bare, history_copies(run.raw)[1])
        self._hashes.append((run.run_id, run_hash(bare)))
        return entry

    def _find_copied_runs(self, copies: list[Document]) -> list[str] | None:
        run_ids = self._copied_runs(copies)
        if run_ids is None and not self._cached.has_all_digests and self._transaction is not None:
            parsed = self._transaction.whole()
            runs = bare_runs(parsed.header, parsed.entries)
            self._cached.load(parsed.header, parsed.entries, runs, self._transaction.row["fingerprint"])
            run_ids = self._copied_runs(copies)
        return run_ids

    def _copied_runs(self, copies: list[Document]) -> list[str] | None:
        return copied_runs(copies, reversed([*self._cached.digests, *self._new_digests]))

    def skip_member(self, run: PassedRun) -> None:
        """Record that a member run needs no entry because its team's run contains it."""
        self._hashes.append((run.run_id, run.hash))

    def keep_shared_fields(self, before: Document) -> None:
        """Keep the id and the name of the agent, team or workflow in the stored runs, if the new header has others.

        `before` is the header of the document. A run leaves out what its session has as well. Call this first.
        """
        if shared_fields(before, before["kind"]) == shared_fields(self._header, before["kind"]):
            return
        earlier, entries = RunConverter(before), self._current_entries()
        indexes = [index for index, entry in enumerate(entries) if entry["type"] == "run"]
        for index, (entry, instructions) in zip(indexes, runs_of(entries), strict=True):
            kept = self._converter.with_run(entry, earlier.to_run(entry, instructions), instructions)
            if not json_equal(kept, entry):
                self._replace_entry(index, kept)

    def replace(self, run: PassedRun) -> None:
        """Add the new entry for a run of the document to `replaced`. Call this before `entries`.

        The new entry keeps the state of the old one. Nothing is added if the run has not changed, or if the document
        holds a finished form and this one is unfinished and lacks a part of it. The runs after this one stay as they
        are: if they rely on the instructions or the messages of the old entry, their entries are replaced as well.
        """
        self._hashes.append((run.run_id, run.hash))
        entries = self._current_entries()
        index = [entry.get("run_id") if entry["type"] == "run" else None for entry in entries].index(run.run_id)
        old, before = entries[index], newest_state(entries[:index]).get("instructions")
        new = self._converter.to_entry(run.raw, run.run_id, before, self._finder(entries[:index]))
        later = _first_run_that_relies_on_instructions(entries[index + 1 :])
        old_instructions, new_instructions = old.get("instructions", before), new.get("instructions", before)
        if later is not None and old_instructions is None and new_instructions is not None:
            # The runs after this one have no system message. Keep it out of the instructions, in the note.
            without = {key: value for key, value in new.items() if key not in ("instructions", NOTE)}
            new = self._converter.with_run(without, run.raw, before)
        kept = {key: old[key] for key in (*STATE_KEYS, "run_id") if key in old and key not in (*new, "instructions")}
        new = ordered({**with_lost_fields(_with_note_of_session(new, old), old), **kept})
        is_older = new["status"] == "unfinished" and old.get("status") != "unfinished" and not _continues(new, old)
        if is_older or json_equal(new, old):
            return
        self._replace_entry(index, new)
        if later is not None and old_instructions is not None and old_instructions != new_instructions:
            position = index + 1 + later
            self._replace_entry(position, ordered({**entries[position], "instructions": old_instructions}))
        self._keep_copies_of(run.run_id, entries, index, old, new)
        self._instructions = newest_state(self._current_entries()).get("instructions")

    def _keep_copies_of(self, run_id: str, entries: list[Document], index: int, old: Document, new: Document) -> None:
        """Store the messages that later runs copied from a run in their own entries, if the run has other ones now."""
        if old.get("messages") == new.get("messages"):
            return
        before = newest_state(entries[:index]).get("instructions")
        copies = own_messages(self._converter.to_run(old, old.get("instructions", before)))
        if copies == own_messages(self._converter.to_run(new, new.get("instructions", before))):
            return
        runs = runs_of(entries)
        bare = [self._converter.to_run(*run) for run in runs]
        complete = complete_runs(bare, [make_ready(one, entry) for one, (entry, _) in zip(bare, runs, strict=True)])
        by_id = {one["run_id"]: one for one in complete}
        current = self._current_entries()
        for position, entry in enumerate(current):
            if position <= index or run_id not in note_of(entry).get("history", ()):
                continue
            instructions = newest_state(current[:position]).get("instructions")
            rebuilt = self._converter.to_entry(by_id[entry["run_id"]], entry["run_id"], instructions, lambda _: None)
            kept = {key: entry[key] for key in STATE_KEYS if key in entry}
            current[position] = ordered({**_with_note_of_session(rebuilt, entry), **kept})
            self._replace_entry(position, current[position])

    def _current_entries(self) -> list[Document]:
        """Return the entries of the document with those in `replaced`."""
        assert self._transaction is not None  # noqa: S101 (for the type checker)
        parsed = self._transaction.whole()
        pairs = zip(parsed.starts, parsed.entries, strict=True)
        return [self.replaced.get(start, entry) for start, entry in pairs]

    def _replace_entry(self, index: int, entry: Document) -> None:
        assert self._transaction is not None  # noqa: S101 (for the type checker)
        self.replaced[self._transaction.whole().starts[index]] = entry

    def _finder(self, earlier: list[Document]) -> Callable[[list[Document]], list[str] | None]:
        """Return a function that finds the runs among the entries `earlier` that messages were copied from."""

        def find_copied_runs(copies: list[Document]) -> list[str] | None:
            newest_first = reversed(runs_of(earlier))
            return copied_runs(copies, (digest_of(self._converter.to_run(*entry)) for entry in newest_first))

        return find_copied_runs

    def record_written(self, fingerprint: list[int], fields: SessionFields) -> None:
        """Update the cached session after the entries were written, so that they are not written again.

        `fingerprint` is the fingerprint of the document after the write, and `fields` the fields that agno passed.
        """
        cached = self._cached
        for run_id, hashed in self._hashes:
            cached.see(run_id, hashed)
        if cached.ready_runs is not None:
            cached.ready_runs = None if self.replaced else [*cached.ready_runs, *self._ready_runs]
        for digest in self._new_digests:
            cached.add_digest(digest)
        cached.member_ids |= self._member_ids
        cached.instructions = self._instructions
        cached.state = {**cached.state, **self._new_state}
        new_interactions = {hashed: item for item in self._new_interactions if (hashed := value_hash(item))}
        cached.interactions |= new_interactions
        cached.updated_at = self._updated_at or cached.updated_at
        cached.fingerprint = fingerprint
        cached.baseline = {**baseline_of(self._header, cached.state), **fields.state}
