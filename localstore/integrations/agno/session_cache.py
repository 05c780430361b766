"""Cache a session between two calls: the forms that agno has read or written, and the content of its document."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

import orjson

from localstore.format.document import newest_state
from localstore.format.values import to_json_value
from localstore.format.versions import Document
from localstore.integrations.agno.runs import (
    RunConverter,
    RunDigest,
    digest_of,
    history_copy,
    insert_history,
    note_of,
    own_messages,
    run_hash,
    value_hash,
)

MEMORY = "memory"
"""The key of an entry that holds agno's memory without its runs. The value applies from that entry on."""
_TOOL_CALL = b'"tool_name":'
"""Occurs in the bytes of every run that has tool calls."""
_COPIES = ("history", "beside")
"""The keys of a note that name the runs whose messages are inserted, and the member runs to insert."""
REMEMBERED_RUNS = 64
"""The number of most recent runs whose copies are recognised without reading the whole document."""


class ReadyRun(NamedTuple):
    """A serialised run in agno's form, without copies of earlier messages."""

    run_id: str
    data: bytes
    """JSON with sorted keys."""
    copies: Document
    """The keys `history` and `beside` from the note of the entry, if present."""


@dataclass
class CachedSession:
    """A session held in the cache. Hold `lock` while modifying it; a writer acquires the session's file lock first."""

    lock: Lock = field(default_factory=Lock)
    seen: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """The hashes of the forms of each run that agno has read or written, by run id. These forms are not stored again,
    even if the run was deleted."""
    last_data: dict[str, bytes] = field(default_factory=dict)
    """The bytes of the form that agno passed last, by run id. Comparing bytes is faster than computing a hash."""
    baseline: Document = field(default_factory=dict)
    """State and header keys as agno last read or wrote them. Values that agno has not changed are not written."""
    fingerprint: list[int] = field(default_factory=list)
    """The fingerprint of the document that the following fields describe."""
    run_ids: set[str] = field(default_factory=set)
    member_ids: set[str] = field(default_factory=set)
    """The ids of member runs that agno also keeps as runs of the session."""
    digests: list[RunDigest] = field(default_factory=list)
    """The digests of the most recent runs, oldest first."""
    has_all_digests: bool = True
    """Whether `digests` covers all runs of the document."""
    instructions: str | None = None
    state: Document = field(default_factory=dict)
    interactions: dict[int, Any] = field(default_factory=dict)
    """The requests to the members of a team and their answers, by `value_hash`, in the order of the document."""
    updated_at: str | None = None
    ready_runs: "list[ReadyRun] | None" = None
    """All runs, serialised for the next read; None if they are not cached."""
    read_runs: "list[ReadyRun]" = field(default_factory=list)
    """The runs that agno has read since its last write. `settle` adds them to `seen`: many sessions are only read, so
    their hashes are computed late."""

    def has_seen(self, run_id: str, run: Any) -> bool:
        """Return whether agno has read or written the run in this form. Return False if it cannot be serialised.

        Call `settle` first. Updates `last_data`.
        """
        if run_id not in self.seen:
            return False
        try:
            data = orjson.dumps(run, default=to_json_value)
        except (TypeError, ValueError):
            return False
        if self.last_data.get(run_id) == data:
            return True
        if run_hash(run) not in self.seen[run_id]:
            return False
        self.last_data[run_id] = data
        return True

    def settle(self) -> None:
        """Add the runs in `read_runs` to `seen`, and empty `read_runs`. Call this before `has_seen`."""
        read_runs, self.read_runs = self.read_runs, []
        for run_id, hashed in _hashes(read_runs):
            self.see(run_id, hashed)

    def see(self, run_id: str, hashed: int | None) -> None:
        """Add the hash of a run that agno has read or written to `seen`. Do nothing if `hashed` is None."""
        hashes = self.seen.get(run_id, ())
        if hashed is not None and hashed not in hashes:
            self.seen[run_id] = (*hashes, hashed)

    def forget_document(self) -> None:
        """Clear the fields that describe the document, which is missing or has changed.

        Keeps the record of what agno has read or written.
        """
        self.fingerprint, self.run_ids, self.digests, self.has_all_digests = [], set(), [], True
        self.member_ids = set()
        self.instructions, self.state, self.interactions, self.ready_runs = None, {}, {}, None

    def load(self, header: Document, entries: list[Document], newest: list[Document], fingerprint: list[int]) -> None:
        """Replace the fields that describe the document, and clear `ready_runs`.

        `newest` are the most recent runs in agno's form, oldest first; only these get digests.
        """
        self.forget_document()
        runs = [entry for entry in entries if entry["type"] == "run"]
        self.run_ids = {entry["run_id"] for entry in runs}
        self.member_ids = {run_id for entry in runs for run_id in note_of(entry).get("beside", ())}
        self.digests = [digest_of(run) for run in newest]
        self.has_all_digests = len(newest) == len(runs)
        self.state = state_of(header, entries)
        self.instructions = self.state.get("instructions")
        self.interactions = {hashed: item for item in interactions_of(entries) if (hashed := value_hash(item))}
        self.updated_at = entries[-1].get("created_at") if entries else header["created_at"]
        self.fingerprint = fingerprint

    def add_digest(self, digest: RunDigest) -> None:
        """Record a run that was appended to the document. Drops the oldest digests if there are too many."""
        self.run_ids.add(digest.run_id)
        self.digests.append(digest)
        if len(self.digests) > 2 * REMEMBERED_RUNS:
            del self.digests[:REMEMBERED_RUNS]
            self.has_all_digests = False


def state_of(header: Document, entries: list[Document]) -> Document:
    """Return the newest state of a session, with agno's memory under `MEMORY` if there is one."""
    state = newest_state(entries)
    memory = next((entry[MEMORY] for entry in reversed(entries) if entry.get(MEMORY) is not None), header.get(MEMORY))
    return state if memory is None else {**state, MEMORY: memory}


def interactions_of(entries: list[Document]) -> Iterator[Any]:
    """Yield the requests to the members of a team and their answers, in the order of the document."""
    for entry in entries:
        interactions = note_of(entry).get("interactions")
        if isinstance(interactions, list):
            yield from interactions


def runs_of(entries: list[Document]) -> list[tuple[Document, str | None]]:
    """Return the run entries, each with the instructions that apply to it, or None.

    Converting a run needs them: they become its system message, and its note refers to messages by position.
    """
    instructions = None
    runs = []
    for entry in entries:
        instructions = entry.get("instructions", instructions)
        if entry["type"] == "run":
            runs.append((entry, instructions))
    return runs


def bare_runs(header: Document, entries: list[Document], last: int = 0) -> list[Document]:
    """Return the `last` runs in agno's form, oldest first, without copies of earlier messages. 0 returns all runs."""
    converter = RunConverter(header)
    return [converter.to_run(entry, instructions) for entry, instructions in runs_of(entries)[-last:]]


def make_ready(bare: Document, entry: Document) -> ReadyRun:
    """Serialise a run in agno's form. `entry` is the entry it was converted from."""
    data = orjson.dumps(bare, option=orjson.OPT_SORT_KEYS)
    return ReadyRun(bare["run_id"], data, {key: value for key, value in note_of(entry).items() if key in _COPIES})


def parse_ready(runs: list[ReadyRun]) -> list[Document]:
    """Parse the runs and return them as agno reads them, with all copies. The caller may change the result."""
    return complete_runs(orjson.loads(b"[%b]" % b",".join(run.data for run in runs)), runs)


def _hashes(runs: list[ReadyRun]) -> Iterator[tuple[str, int | None]]:
    """Yield the id and the `run_hash` of each run, including the member runs that agno keeps as runs of the session.

    If no run has copies to insert, runs without tool calls are hashed from their bytes, without parsing them.
    """
    if any(run.copies for run in runs):
        yield from ((run["run_id"], run_hash(run)) for run in parse_ready(runs))
        return
    for run in runs:
        yield run.run_id, run_hash(orjson.loads(run.data)) if _TOOL_CALL in run.data else hash(run.data)


def complete_runs(bare: list[Document], ready: list[ReadyRun]) -> list[Document]:
    """Return the runs as agno reads them: with copies of earlier messages, and with member runs before team runs.

    Inserts the messages into the runs in `bare`, in place. `ready` must hold the same runs in the same order.
    """
    runs: list[Document] = []
    own: dict[str, list[Document]] = {}
    for run, copies in zip(bare, (run.copies for run in ready), strict=True):
        own[run["run_id"]] = own_messages(run)
        if copies:
            messages = [
                history_copy(message) for run_id in copies.get("history", ()) for message in own.get(run_id, ())
            ]
            if messages:
                insert_history(run, messages)
            member_ids = copies.get("beside", ())
            members = [member for member in run.get("member_responses", ()) if member.get("run_id") in member_ids]
            runs += orjson.loads(orjson.dumps(members))
        runs.append(run)
    return runs
