"""Copy some sessions from one store to another: read them, write them together, and compare what is stored."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from localstore.errors import DocumentBroken, LocalstoreError, SessionNotFound, reason
from localstore.maintenance.copy_results import Copied, NotCopied
from localstore.maintenance.copy_sides import (
    Form,
    Found,
    Listed,
    Revision,
    Side,
    Source,
    Written,
    is_unchanged,
    merged_with,
    new,
    written,
)


@dataclass(frozen=True, slots=True)
class BatchCopied:
    """The result of a batch.

    `same` has the sessions that are the same on both sides now, with their revisions there.
    """

    done: Copied
    same: list[tuple[str, Revision, Revision]] = field(default_factory=list)


class BatchCopier:
    """Copies batches of sessions. With `dry_run`, nothing is written, and the results say what a copy would do."""

    def __init__(self, source: Source, target: Side, *, dry_run: bool) -> None:
        self._source = source
        self._target = target
        self._dry_run = dry_run

    def read(self, batch: Sequence[Listed]) -> list[Found]:
        """Read a batch."""
        return [*self._source.read(batch)]

    def write(self, batch: Sequence[Listed], found: Sequence[Found]) -> BatchCopied:
        """Copy a batch that was read."""
        result = BatchCopied(Copied(self._dry_run))
        forms = []
        for one, form in zip(batch, found, strict=True):
            if isinstance(form, Exception):
                _skip(result, one.session_id, form)
            elif form is not None:  # otherwise the session was deleted meanwhile
                forms.append(form)
        changed = []
        for form, done in zip(forms, self._planned(forms) if self._dry_run else self._target.write(forms), strict=True):
            if isinstance(done, Exception):
                _skip(result, form.session_id, done)
                continue
            _count(result.done, form, done)
            if done.state == "unchanged":
                _remember(result, form, done)
            else:
                changed.append((form, done))
        if not self._dry_run:
            self._verify(result, changed)
        return result

    def _planned(self, forms: Sequence[Form]) -> Iterator[Written | LocalstoreError | PermissionError]:
        """Yield what a copy would do with each session."""
        stored = self._target.read([Listed(form.session_id) for form in forms])
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

    def _verify(self, result: BatchCopied, changed: Sequence[tuple[Form, Written]]) -> None:
        """Compare what is stored with what was copied, and name each session that is not the same in both stores."""
        digests = self._target.digests([form.session_id for form, _ in changed])
        doubtful = []
        for form, done in changed:
            if digests.get(form.session_id) == form.digest:
                _remember(result, form, done)
            else:
                doubtful.append((form, done))
        stored = self._target.read([Listed(form.session_id) for form, _ in doubtful])
        for (form, done), there in zip(doubtful, stored, strict=True):
            if isinstance(there, Exception):
                _skip(result, form.session_id, there)
            elif there is None:
                _skip(result, form.session_id, SessionNotFound("It was deleted there right after it was copied."))
            elif there.digest != form.digest and not is_unchanged(there, merged_with(there, form)):
                problem = DocumentBroken("It was copied, but is not the same there. Copy again.")
                _skip(result, form.session_id, problem)
            else:
                _remember(result, form, done)


def copier(source: Source, target: Side, dry_run: bool) -> Callable[[Sequence[Listed]], BatchCopied]:
    """Return what copies a batch, in a process that was started for it."""
    batches = BatchCopier(source, target, dry_run=dry_run)
    return lambda batch: batches.write(batch, batches.read(batch))


def _count(counts: Copied, form: Form, done: Written) -> None:
    if done.state == "unchanged":
        counts.unchanged += 1
    else:
        (counts.added if done.state == "added" else counts.extended).append(form.session_id)
    counts.runs += done.runs
    counts.differences += done.differences


def _remember(result: BatchCopied, form: Form, done: Written) -> None:
    # What is different is named each time.
    if not done.differences and form.revision is not None and done.revision is not None:
        result.same.append((form.session_id, form.revision, done.revision))


def _skip(result: BatchCopied, session_id: str, error: Exception) -> None:
    result.done.skipped.append(NotCopied(reason(error), session_id))
