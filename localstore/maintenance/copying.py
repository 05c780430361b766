"""Copy sessions from one store to another. A store is a folder or a database; each is a `Side` of the copy."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, Protocol

import orjson

from localstore.engine.merge import Merged, Version, merge
from localstore.engine.merged_rewrite import refuse_invalid
from localstore.errors import (
    Conflict,
    DocumentBroken,
    LocalstoreError,
    LockTimeout,
    NewerFormat,
    OlderFormat,
    SessionNotFound,
    UnstorableValue,
    reason,
)
from localstore.format.values import json_equal
from localstore.index.row import revision_of
from localstore.maintenance.copy_results import Copied, Difference, NotCopied
from localstore.models.filter import Filter
from localstore.models.progress import Progress

Entry = dict[str, Any]
Revision = str
"""A text that is another one whenever the content of a session is."""

OF_ONE_SESSION = (Conflict, DocumentBroken, LockTimeout, NewerFormat, OlderFormat, PermissionError, UnstorableValue)
"""The errors after which the next session may nevertheless be copied."""
REPLACED = "replaced by a copy of another store"
"""The reason for keeping what a store loses in a copy."""
_BATCH = 500
"""How many sessions are read and written together."""
_BATCH_BYTES = 16_000_000
"""How many bytes of documents are read and written together, unless a single one has more."""
_RECORDED = 50
"""After how many batches the record is stored."""


@dataclass(frozen=True, slots=True)
class Form:
    """A session as a store has it.

    `revision` is None where the content may change without a change of the revision. `document` is the ending and the
    bytes of its document, if it has one. `problem` is the error to raise if these bytes hold a value that plain values
    do not keep, such as a decimal of many digits: then only the bytes themselves may be copied.
    """

    header: dict[str, Any]
    entries: list[Entry]
    revision: Revision | None = None
    document: tuple[str, bytes] | None = None
    problem: DocumentBroken | None = None

    @property
    def version(self) -> Version:
        """The content as a merge takes it."""
        return Version(self.header, self.entries)

    @property
    def session_id(self) -> str:
        """The id of the session."""
        session_id: str = self.header["session_id"]
        return session_id

    @property
    def digest(self) -> bytes:
        """A digest of the content. Sessions with the same digest have the same values, keys and order."""
        return digest_of(map(orjson.dumps, [self.header, *self.entries]))


_Found = Form | LocalstoreError | PermissionError | None
"""What `Source.read` yields for a session."""
_Batch = tuple[int, list[str], list[_Found]]
"""The size of a batch, the ids of the sessions that may have something new, and what was read of each."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A session that may be copied, as its store lists it.

    `size` is about that of its content in bytes. `problem` says why it cannot be read, if it cannot.
    """

    session_id: str
    revision: Revision | None
    size: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a store did with a session. `runs` are new or longer than before."""

    state: Literal["added", "extended", "unchanged"]
    runs: int
    differences: tuple[Difference, ...] = ()
    revision: Revision | None = None


class Source(Protocol):
    """A store that is only read, the source of a copy. It may keep a record of the copies."""

    @property
    def name(self) -> str:
        """The folder, or the URL without its password."""
        ...

    def listed(self, where: Filter) -> Sequence[Listed]:
        """Return the sessions that match the filter, most recently updated first."""
        ...

    def unreadable(self) -> Mapping[str, str]:
        """Return the files in which the last listing could read no session, with the reasons."""
        ...

    def revisions(self, session_ids: Iterable[str]) -> dict[str, Revision | None]:
        """Return the revision of each of these sessions that the store has."""
        ...

    def read(self, session_ids: Sequence[str]) -> Iterator[Form | LocalstoreError | PermissionError | None]:
        """Yield each of these sessions: None if there is none, or the error if it cannot be read. Nothing changes."""
        ...

    def load_record(self, other: str, /) -> bytes | None:
        """Return what `save_record` stored under this name; None if there is nothing."""
        ...

    def save_record(self, other: str, record: bytes, /) -> bool:
        """Store the record of the copies to or from another store. Return False if this store cannot have one."""
        ...


class Side(Source, Protocol):
    """One of the two stores of a copy."""

    def write(self, forms: Sequence[Form]) -> Iterator[Written | LocalstoreError | PermissionError]:
        """Add what the store lacks of each session, durably, and yield what was done, or the error if it was refused.

        A session that is there is merged, under its lock.
        """
        ...

    def refusal(self, form: Form) -> LocalstoreError | None:
        """Return the error with which `write` refuses a session that the store does not have; None if it takes it."""
        ...

    def digests(self, session_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the digests of those of these sessions that can be compared without being read; see `Form.digest`."""
        ...


class Copyable(Protocol):
    """A storage that `copy_to` takes."""

    def _copy_side(self) -> Side: ...


def copy(
    source: Source, target: Side, where: Filter, *, dry_run: bool = False, progress: Progress | None = None
) -> Copied:
    """Copy what `target` lacks of the sessions of `source` that match the filter. See `Storage.copy_to`.

    Raises ValueError if both are the same store.
    """
    if source.name == target.name:
        raise ValueError(f"{source.name} cannot be copied to itself. Name another store.")
    return _Copy(source, target, dry_run=dry_run).run(where, progress)


class _Copy:
    def __init__(self, source: Source, target: Side, *, dry_run: bool) -> None:
        self._source = source
        self._target = target
        self._record = Record(source, target)
        self._done = Copied(dry_run)

    def run(self, where: Filter, progress: Progress | None) -> Copied:
        listed = [*self._source.listed(where)]
        if where:
            listed += self._sub_sessions(listed)
        for path, problem in ({} if where else self._source.unreadable()).items():
            self._done.skipped.append(NotCopied(problem, path=path))
        try:
            count = 0
            for number, (size, session_ids, found) in enumerate(self._read_ahead(_batches(listed)), 1):
                self._copy(session_ids, found)
                count += size
                if progress is not None:
                    progress(count, len(listed))
                if not self._done.dry_run and number % _RECORDED == 0:
                    self._record.save()
        finally:
            if not self._done.dry_run:
                self._record.save()
        return self._done

    def _sub_sessions(self, listed: Sequence[Listed]) -> Iterator[Listed]:
        """Yield the sub-sessions of the listed sessions that are not among these."""
        known = {one.session_id for one in listed}
        for at in range(0, len(listed), _BATCH):
            where = Filter(part_of=tuple(one.session_id for one in listed[at : at + _BATCH]))
            yield from (one for one in self._source.listed(where) if one.session_id not in known)

    def _is_broken(self, one: Listed) -> bool:
        if one.problem is not None:
            self._done.skipped.append(NotCopied(one.problem, one.session_id))
        return one.problem is not None

    def _read_ahead(self, batches: Iterable[list[Listed]]) -> Iterator[_Batch]:
        """Yield the batches. The next one is read in another thread meanwhile: a database takes its time."""
        from concurrent.futures import Future, ThreadPoolExecutor

        coming: Future[_Batch] | None = None
        with ThreadPoolExecutor(1) as thread:
            for batch in batches:
                ids = self._pending([one for one in batch if not self._is_broken(one)])
                before, coming = coming, thread.submit(self._read, len(batch), ids)
                if before is not None:
                    yield before.result()
            if coming is not None:
                yield coming.result()

    def _read(self, size: int, session_ids: list[str]) -> _Batch:
        return size, session_ids, [*self._source.read(session_ids)]

    def _pending(self, batch: Sequence[Listed]) -> list[str]:
        """Return the ids of the sessions that the record does not know as the same on both sides."""
        there = self._target.revisions(one.session_id for one in batch if self._record.has_source(one))
        pending = [one.session_id for one in batch if not self._record.is_same(one, there.get(one.session_id))]
        self._done.unchanged += len(batch) - len(pending)
        return pending

    def _copy(self, session_ids: Sequence[str], found: Sequence[_Found]) -> None:
        """Copy some sessions."""
        forms = []
        for session_id, form in zip(session_ids, found, strict=True):
            if isinstance(form, Exception):
                self._skip(session_id, form)
            elif form is not None:  # otherwise the session was deleted meanwhile
                forms.append(form)
        written = self._planned(forms) if self._done.dry_run else self._target.write(forms)
        changed = []
        for form, done in zip(forms, written, strict=True):
            if isinstance(done, Exception):
                self._skip(form.session_id, done)
                continue
            self._count(form, done)
            if done.state == "unchanged":
                self._remember(form, done)
            else:
                changed.append((form, done))
        if not self._done.dry_run:
            self._verify(changed)

    def _planned(self, forms: Sequence[Form]) -> Iterator[Written | LocalstoreError | PermissionError]:
        """Yield what a copy would do with each session."""
        stored = self._target.read([form.session_id for form in forms])
        for form, there in zip(forms, stored, strict=True):
            if isinstance(there, Exception):
                yield there
                continue
            try:
                if there is not None:
                    yield written(there, merged_with(there, form))
                else:
                    yield self._target.refusal(form) or new(form)
            except LocalstoreError as error:
                yield error

    def _verify(self, changed: Sequence[tuple[Form, Written]]) -> None:
        """Compare what is stored with what was copied, and name each session that is not the same in both stores."""
        digests = self._target.digests([form.session_id for form, _ in changed])
        doubtful = []
        for form, done in changed:
            if digests.get(form.session_id) == form.digest:
                self._remember(form, done)
            else:
                doubtful.append((form, done))
        stored = self._target.read([form.session_id for form, _ in doubtful])
        for (form, done), there in zip(doubtful, stored, strict=True):
            if isinstance(there, Exception):
                self._skip(form.session_id, there)
            elif there is None:
                self._skip(form.session_id, SessionNotFound("It was deleted there right after it was copied."))
            elif there.digest != form.digest and not is_unchanged(there, merged_with(there, form)):
                self._skip(form.session_id, DocumentBroken("It was copied, but is not the same there. Copy again."))
            else:
                self._remember(form, done)

    def _count(self, form: Form, done: Written) -> None:
        if done.state == "unchanged":
            self._done.unchanged += 1
        else:
            (self._done.added if done.state == "added" else self._done.extended).append(form.session_id)
        self._done.runs += done.runs
        self._done.differences += done.differences

    def _remember(self, form: Form, done: Written) -> None:
        if not done.differences:  # those are named each time
            self._record.add(form, done.revision)

    def _skip(self, session_id: str, error: Exception) -> None:
        self._done.skipped.append(NotCopied(reason(error), session_id))


def _batches(listed: Sequence[Listed]) -> Iterator[list[Listed]]:
    """Yield the sessions in groups that fit into memory."""
    batch: list[Listed] = []
    size = 0
    for one in listed:
        if batch and (len(batch) == _BATCH or size + one.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch


class Record:
    """The revisions that sessions had on both sides when they were the same.

    A session that still has them need not be read. The record belongs to one machine and may be deleted at any time.
    """

    def __init__(self, source: Source, target: Side) -> None:
        self._sides = ((source, f"to {target.name}"), (target, f"from {source.name}"))
        self._revisions: dict[str, Sequence[Any]] = {}
        self._is_changed = False
        stored = next((record for side, other in self._sides if (record := side.load_record(other))), b"{}")
        try:
            revisions = orjson.loads(stored)
        except orjson.JSONDecodeError:
            return
        if isinstance(revisions, dict) and all(
            isinstance(pair, list) and len(pair) == 2 for pair in revisions.values()
        ):
            self._revisions = revisions

    def has_source(self, one: Listed) -> bool:
        """Return whether the source has the session as it was."""
        return one.revision is not None and self._revisions.get(one.session_id, (None,))[0] == one.revision

    def is_same(self, one: Listed, there: Revision | None) -> bool:
        """Return whether both sides have the session as it was; `there` is its revision in the target."""
        return self.has_source(one) and there is not None and self._revisions[one.session_id][1] == there

    def add(self, form: Form, there: Revision | None) -> None:
        """Note that a session is the same on both sides."""
        if form.revision is not None and there is not None:
            self._revisions[form.session_id] = (form.revision, there)
            self._is_changed = True

    def save(self) -> None:
        """Store the record in one of the two stores, if one can have it."""
        if self._is_changed:
            text = orjson.dumps(self._revisions)
            any(side.save_record(other, text) for side, other in self._sides)
            self._is_changed = False


def known_revision(fingerprint: Sequence[int]) -> Revision | None:
    """Return the revision of a session whose row has this fingerprint; None for [], that of a row without a file."""
    return revision_of(fingerprint) or None


def digest_of(texts: Iterable[bytes]) -> bytes:
    """Return the digest of a session: the SHA-256 of those of its header and each entry, as JSON texts.

    Databases compute it as well.
    """
    return sha256(b"".join([sha256(text).digest() for text in texts])).digest()


def new(form: Form, revision: Revision | None = None) -> Written:
    """Return what is done with a session that is not there yet. `revision` is the one that it gets."""
    runs = sum([entry["type"] == "run" for entry in form.entries])
    return Written("added", runs, revision=revision)


def merged_with(stored: Form, form: Form) -> Merged:
    """Return the merged session of what is stored and a form that is copied.

    Raises Conflict if they are two sessions that happen to have the same id, and the error of `form.problem`.
    """
    if any(stored.header.get(key) != form.header.get(key) for key in ("kind", "user_id")):
        raise Conflict(
            "Both stores have a session with this id, and they belong to different users or are of different kinds. "
            "Nothing was changed.",
            session_id=form.session_id,
        )
    merged = merge(stored.version, form.version)
    if not is_unchanged(stored, merged):
        if form.problem is not None:
            raise form.problem
        refuse_invalid(stored.version, merged, "The session in the other store")
    return merged


def is_unchanged(stored: Form, merged: Merged) -> bool:
    """Return whether the merged session is what is stored."""
    return (
        len(merged.entries) == len(stored.entries)
        and all(one is other for one, other in zip(merged.entries, stored.entries, strict=True))
        and json_equal(merged.header, stored.header)
    )


def written(stored: Form, merged: Merged) -> Written:
    """Return what is done when the merged session is written in place of what is stored."""
    differences = tuple(
        Difference(stored.session_id, one.what, "target" if one.taken == "ours" else "source")
        for one in merged.differences
    )
    if is_unchanged(stored, merged):
        return Written("unchanged", 0, differences)
    before = set(map(id, stored.entries))
    runs = sum(entry["type"] == "run" for entry in merged.entries if id(entry) not in before)
    return Written("extended", runs, differences)
