"""Merge another store into this one, session by session. The other store is only read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from localstore.disk import trash_folder
from localstore.disk.document_file import DocumentFile
from localstore.engine.engine import Engine
from localstore.engine.merge import Version, merge
from localstore.errors import LocalstoreError
from localstore.maintenance.copy_results import Difference, NotCopied, Transferred
from localstore.maintenance.copy_sides import Form, Found, Listed, Revision, Side, Source
from localstore.maintenance.copying import copy
from localstore.models.filter import Filter
from localstore.models.progress import Progress


@dataclass(frozen=True, slots=True)
class StoresMerged(Transferred):
    """The result of a merge of another store into this one.

    `added` and `extended` are the ids of the sessions that are new here, and of those that got something new.
    `unchanged` is the number of sessions of which this store had everything. `runs` is the number of runs that are new
    or longer here.

    `deleted` are the ids of sessions that are in the trash here, with all that the other store has of them: they stay
    there. `returned` are those of which the other store has more: they are sessions again, with what the trash has of
    them, and are among `added`.

    `differences` names what both stores have in different forms, and `skipped` what was not merged, and why.
    """

    dry_run: bool
    added: list[str]
    extended: list[str]
    unchanged: int
    runs: int
    deleted: list[str]
    returned: list[str]
    differences: list[Difference] = field(default_factory=list)
    skipped: list[NotCopied] = field(default_factory=list)


def merge_from(
    other: Source, side: Side, engine: Engine, *, dry_run: bool = False, progress: Progress | None = None
) -> StoresMerged:
    """Merge the other store into this one. See `Storage.merge_from`.

    Args:
        other: The other store.
        side: This store.
        engine: The engine of this store.
        dry_run: If True, nothing is written.
        progress: Called with the number of sessions done so far and the total.

    Raises ValueError if both are the same store.
    """
    source = _WithoutDeleted(other, engine)
    done = copy(source, side, Filter(), dry_run=dry_run, progress=progress)
    differences = [replace(one, into="this store") for one in done.differences]
    return StoresMerged(
        dry_run,
        done.added,
        done.extended,
        done.unchanged,
        done.runs,
        source.deleted,
        [session_id for session_id in source.returned if session_id in set(done.added)],
        differences,
        done.skipped,
    )


class _WithoutDeleted:
    """The other store, without the sessions that were deleted in this one and did not change since."""

    def __init__(self, other: Source, engine: Engine) -> None:
        self._other = other
        self._engine = engine
        self._trash: dict[str, list[str]] | None = None
        self.deleted: list[str] = []
        self.returned: list[str] = []

    @property
    def name(self) -> str:
        """The name of the other store."""
        return self._other.name

    def listed(self, where: Filter) -> Sequence[Listed]:
        """Return the sessions of the other store."""
        return self._other.listed(where)

    def unreadable(self) -> Mapping[str, str]:
        """Return the files of the other store in which no session can be read."""
        return self._other.unreadable()

    def revisions(self, session_ids: Iterable[str]) -> dict[str, Revision | None]:
        """Return the revisions of sessions of the other store."""
        return self._other.revisions(session_ids)

    def read(self, sessions: Sequence[Listed]) -> Iterator[Found]:
        """Yield each of these sessions. A session that stays deleted counts as missing."""
        for one, form in zip(sessions, self._other.read(sessions), strict=True):
            yield form if form is None or isinstance(form, Exception) else self._unless_deleted(one.session_id, form)

    def _unless_deleted(self, session_id: str, form: Form) -> Form | None:
        paths = self._trashed(session_id)
        if not paths or self._engine.locate(session_id) is not None:
            return form
        for path in paths:
            before = _version_in(path)
            if before is None:
                continue
            merged = merge(before, form.version)
            if merged.header == before.header and merged.entries == before.entries:
                self.deleted.append(session_id)
                return None
        newest = _version_in(paths[0])
        self.returned.append(session_id)
        if newest is None:
            return form
        merged = merge(newest, form.version)
        same = merged.header == form.header and merged.entries == form.entries
        return form if same else Form(merged.header, merged.entries, problem=form.problem)

    def _trashed(self, session_id: str) -> list[str]:
        """Return the paths of the documents of a session in the trash of this store, newest first."""
        if self._trash is None:
            self._trash = {}
            for one in trash_folder.listing(self._engine.root):
                if one.session_id is not None:
                    self._trash.setdefault(one.session_id, []).append(one.path)
        return self._trash.get(session_id, [])

    def load_record(self, _: str, /) -> bytes | None:
        """Return None: the record of a merge is in this store."""
        return None

    def save_record(self, _: str, __: bytes, /) -> bool:
        """Return False: the record of a merge is in this store."""
        return False


def _version_in(path: str) -> Version | None:
    """Return the session in a document of the trash, or None if it cannot be read."""
    try:
        with DocumentFile(path) as file:
            parsed = file.parse()
    except (LocalstoreError, OSError):
        return None
    return Version(parsed.header, parsed.entries)
