"""Copy sessions from one store to another, in batches, in this process or in several."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from localstore.maintenance.copy_batch import BatchCopied, BatchCopier, copier
from localstore.maintenance.copy_record import Record
from localstore.maintenance.copy_results import Copied, NotCopied
from localstore.maintenance.copy_sides import Listed, Side, Source
from localstore.maintenance.processes import shared
from localstore.models.filter import Filter
from localstore.models.progress import Progress

_Outcomes = Generator[tuple[int, BatchCopied], None, None]
"""The number of each batch, and what was done with it."""

_BATCH = 500
"""How many sessions are read and written together."""
_BATCH_BYTES = 16_000_000
"""How many bytes of documents are read and written together, unless a single one has more."""
_RECORDED = 50
"""After how many batches the record is stored."""
_WORTH_PROCESSES, _WORTH_BYTES = 10_000, 32_000_000
"""With fewer sessions and fewer bytes than these, starting other processes takes more time than they save."""


def copy(
    source: Source,
    target: Side,
    where: Filter,
    *,
    jobs: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Copy what `target` lacks of the sessions of `source` that match the filter. See `Storage.copy_to`.

    With more than one of the `jobs`, the source must be a `Side`. Raises ValueError if both are the same store.
    """
    if source.name == target.name:
        raise ValueError(f"{source.name} cannot be copied to itself. Name another store.")
    return _Copy(source, target, jobs, dry_run=dry_run).run(where, progress)


class _Copy:
    def __init__(self, source: Source, target: Side, jobs: int, *, dry_run: bool) -> None:
        self._source = source
        self._target = target
        self._jobs = jobs
        self._record = Record(source, target)
        self._done = Copied(dry_run)

    def run(self, where: Filter, progress: Progress | None) -> Copied:
        listed = [*self._source.listed(where)]
        if where:
            listed += self._sub_sessions(listed)
        for path, problem in ({} if where else self._source.unreadable()).items():
            self._done.skipped.append(NotCopied(problem, path=path))
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None and count:
                progress(done, len(listed))

        try:
            self._copy([*_batches(self._pending(listed, advance))], advance)
        finally:
            self._save_record()
        return self._done

    def _sub_sessions(self, listed: Sequence[Listed]) -> Iterator[Listed]:
        """Yield the sub-sessions of the listed sessions that are not among these."""
        known = {one.session_id for one in listed}
        for at in range(0, len(listed), _BATCH):
            where = Filter(part_of=tuple(one.session_id for one in listed[at : at + _BATCH]))
            yield from (one for one in self._source.listed(where) if one.session_id not in known)

    def _pending(self, listed: Sequence[Listed], advance: Callable[[int], None]) -> list[Listed]:
        """Return the sessions that can be read and that the record does not know as the same on both sides."""
        pending: list[Listed] = []
        for at in range(0, len(listed), _BATCH):
            some = listed[at : at + _BATCH]
            there = self._target.revisions(one.session_id for one in some if self._record.has_source(one))
            before = len(pending)
            for one in some:
                if one.problem is not None:
                    self._done.skipped.append(NotCopied(one.problem, one.session_id))
                elif self._record.is_same(one, there.get(one.session_id)):
                    self._done.unchanged += 1
                else:
                    pending.append(one)
            advance(len(some) - (len(pending) - before))
        return pending

    def _copy(self, batches: Sequence[list[Listed]], advance: Callable[[int], None]) -> None:
        results: dict[int, Copied] = {}
        outcomes = self._outcomes(batches)
        with closing(outcomes):
            for number, result in outcomes:
                results[number] = result.done
                for same in result.same:
                    self._record.add(*same)
                advance(len(batches[number]))
                if len(results) % _RECORDED == 0:
                    self._save_record()
        for _, done in sorted(results.items()):
            self._done.add(done)

    def _outcomes(self, batches: Sequence[list[Listed]]) -> _Outcomes:
        """Copy the batches, in this process or in several."""
        size = sum(one.size for batch in batches for one in batch)
        is_small = sum(map(len, batches)) < _WORTH_PROCESSES and size < _WORTH_BYTES
        return shared(
            batches,
            self._in_this_process,
            copier,
            (self._source, self._target, self._done.dry_run),
            min(self._jobs, len(batches)) if self._target.shares_writes and not is_small else 1,
            self._target.name,
        )

    def _in_this_process(self, batches: Iterator[tuple[int, list[Listed]]]) -> _Outcomes:
        """Copy the batches. The next one is read in another thread meanwhile: a database takes its time."""
        one = BatchCopier(self._source, self._target, dry_run=self._done.dry_run)
        with ThreadPoolExecutor(1) as thread:
            reading = ((number, batch, thread.submit(one.read, batch)) for number, batch in batches)
            coming = next(reading, None)
            while coming is not None:
                (number, batch, found), coming = coming, next(reading, None)
                yield number, one.write(batch, found.result())

    def _save_record(self) -> None:
        if not self._done.dry_run:
            self._record.save()


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
