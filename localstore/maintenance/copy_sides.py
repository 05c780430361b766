"""What a store must offer to be one side of a copy: a folder and a database are a `Side`."""

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
    UnstorableValue,
)
from localstore.format.values import json_equal
from localstore.index.row import revision_of
from localstore.maintenance.copy_results import Difference
from localstore.models.filter import Filter

Entry = dict[str, Any]
Revision = str
"""A text that is another one whenever the content of a session is."""

OF_ONE_SESSION = (Conflict, DocumentBroken, LockTimeout, NewerFormat, OlderFormat, PermissionError, UnstorableValue)
"""The errors after which the next session may nevertheless be copied."""
REPLACED = "replaced by a copy of another store"
"""The reason for keeping what a store loses in a copy."""


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


Found = Form | LocalstoreError | PermissionError | None
"""What `Source.read` yields for a session."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A session that may be copied, as its store lists it.

    `size` is about that of its content in bytes. `problem` says why it cannot be read, if it cannot. `path` is that of
    a document that can be read at once if it still has this revision.
    """

    session_id: str
    revision: Revision | None = None
    size: int = 0
    problem: str | None = None
    path: str | None = None


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

    def read(self, sessions: Sequence[Listed]) -> Iterator[Found]:
        """Yield each of these sessions: None if there is none, or the error if it cannot be read. Nothing changes."""
        ...

    def load_record(self, other: str, /) -> bytes | None:
        """Return what `save_record` stored under this name; None if there is nothing."""
        ...

    def save_record(self, other: str, record: bytes, /) -> bool:
        """Store the record of the copies to or from another store. Return False if this store cannot have one."""
        ...


class Side(Source, Protocol):
    """One of the two stores of a copy. It can be pickled, and opens the store again in another process."""

    @property
    def shares_writes(self) -> bool:
        """Whether several processes store sessions faster than one. In a folder, they wait for each other."""
        ...

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
